//! Steps on several devices. Backends on processors have one, which is named several times here: its replicas
//! share what is frozen, and have threads, trained weights, and graphs of their own.

use approx::assert_abs_diff_eq;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{Interrupter, TrainStep};

use super::parameters::fork_for_training;
use super::stage_model::{StageModel, StepBatch};
use super::testing::{VISUAL_TOKENS, dataset, model, weights};
use super::*;
use crate::language::LlamaDecoder;
use crate::training::{GradientGuard, adamw};

const ALL: [Trainable; 4] =
    [Trainable::Projector, Trainable::ProjectorAndLanguage, Trainable::ProjectorAndLora, Trainable::Language];

fn guard() -> GradientGuard {
    GradientGuard::new(Some(0.5), 5, Interrupter::new())
}

fn in_training(model: &ReVision<LlamaDecoder>, trainable: Trainable) -> ReVision<LlamaDecoder> {
    fork_for_training(trainable.apply(model.clone().train()).unwrap(), &Device::default().autodiff())
}

/// A model to train, with adapters where they are trained.
fn start(trainable: Trainable) -> ReVision<LlamaDecoder> {
    match trainable {
        Trainable::ProjectorAndLora => LoraConfig::new().with_rank(2).attach(model()).unwrap(),
        _ => model(),
    }
}

fn on_devices(
    model: ReVision<LlamaDecoder>,
    trainable: Trainable,
    devices: usize,
) -> StageModel<LlamaDecoder> {
    StageModel::new(model, trainable, guard())
        .with_other_devices(&vec![Device::default().autodiff(); devices - 1])
}

fn step_batch(micro_batches: &[&[usize]]) -> StepBatch {
    let (data, device) = (dataset(0.0), Device::default().autodiff());
    let batch = |items: &&[usize]| data.batch(items, VISUAL_TOKENS, (0, 0), &device).unwrap();
    StepBatch { micro_batches: micro_batches.iter().map(batch).collect() }
}

/// Loss and gradients of a step.
fn step(stage: &StageModel<LlamaDecoder>, micro_batches: &[&[usize]]) -> (f64, Vec<TensorData>) {
    struct Collect(GradientsParams, Vec<TensorData>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(self.0.remove::<D>(param.id).map(Tensor::into_data));
        }
    }
    let output = TrainStep::step(stage, step_batch(micro_batches));
    let mut gradients = Collect(output.grads, Vec::new());
    stage.visit(&mut gradients);
    (output.item.loss.into_scalar::<f64>(), gradients.1)
}

/// Shares of one size and of several, and devices without one.
#[test]
fn a_step_does_not_depend_on_how_many_devices_share_it() {
    for trainable in ALL {
        let model = in_training(&start(trainable), trainable);
        for micro_batches in [&[&[0usize, 1][..], &[2, 3], &[4], &[5]][..], &[&[0, 1, 2], &[3]], &[&[5]]] {
            let one = step(&on_devices(model.clone(), trainable, 1), micro_batches);
            assert!(!one.1.is_empty());
            for devices in [2, 3, 4] {
                let several = step(&on_devices(model.clone(), trainable, devices), micro_batches);
                assert_abs_diff_eq!(several.0, one.0, epsilon = 1e-6);
                assert_eq!(several.1.len(), one.1.len());
                for (several, one) in several.1.iter().zip(&one.1) {
                    let scale = one.iter::<f32>().fold(1e-3, |most: f32, value| most.max(value.abs()));
                    for (several, one) in several.iter::<f32>().zip(one.iter::<f32>()) {
                        assert_abs_diff_eq!(several, one, epsilon = 1e-5 * scale);
                    }
                }
            }
        }
    }
}

/// Gradients are added up in the order of one device then, so that nothing else may differ: weights that a replica has not
/// taken over would show, and so would clipping by another norm.
#[test]
fn steps_of_two_devices_with_a_micro_batch_each_are_those_of_one_to_the_bit() {
    for trainable in ALL {
        let model = in_training(&start(trainable), trainable);
        let run = |devices: usize| {
            let mut stage = on_devices(model.clone(), trainable, devices);
            let mut optimizer = adamw(0.01, 0.999).unwrap();
            let mut losses = Vec::new();
            for micro_batches in [[&[0usize, 1, 2][..], &[3, 4]], [&[5], &[0, 3]], [&[1, 2], &[4, 5]]] {
                let output = TrainStep::step(&stage, step_batch(&micro_batches));
                losses.push(output.item.loss.into_data());
                stage = stage.optimize(&mut optimizer, 1e-2.into(), output.grads);
            }
            (losses, weights(&stage.into_inner()))
        };
        let (one, two) = (run(1), run(2));
        assert_ne!(one.1, weights(&model));
        assert_eq!(two, one, "{trainable:?}");
    }
}

#[test]
fn a_share_without_finite_gradients_changes_no_weight() {
    let trainable = Trainable::Projector;
    let mut stage = on_devices(in_training(&model(), trainable), trainable, 2);
    let before = weights(&stage);
    let mut optimizer = adamw(0.0, 0.999).unwrap();
    let mut batch = step_batch(&[&[0, 1], &[2, 3]]);
    let visual = &mut batch.micro_batches[1].visual;
    *visual = visual.take().map(|visual| visual * f32::NAN);
    let output = TrainStep::step(&stage, batch);
    stage = stage.optimize(&mut optimizer, 1e-2.into(), output.grads);
    assert_eq!(weights(&stage), before);

    let output = TrainStep::step(&stage, step_batch(&[&[0, 1], &[2, 3]]));
    stage = stage.optimize(&mut optimizer, 1e-2.into(), output.grads);
    assert_ne!(weights(&stage), before);
}
