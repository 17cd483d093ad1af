use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_revision::language::{LanguageModel, LlamaDecoder};
use burn_revision::revision::*;

use crate::agreement::{assert_gradients_close, assert_products_close, device, numbers, reference};
use crate::tiny::{CAPTIONS, DIM, assert_same, batch, dataset, learner, measure, model, stage, weights};

/// The gradient by every weight of a module that has one, by path.
pub fn gradients<M: Module>(module: &M, grads: &Gradients) -> Vec<(String, TensorData)> {
    struct Visitor<'a> {
        grads: &'a Gradients,
        path: Vec<String>,
        found: Vec<(String, TensorData)>,
    }
    impl ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = param.val().grad(self.grads) {
                self.found.push((self.path.join("."), grad.into_data()));
            }
        }
    }
    let mut visitor = Visitor { grads, path: Vec::new(), found: Vec::new() };
    module.visit(&mut visitor);
    visitor.found
}

/// The model in training on a device, with what `trainable` leaves free.
fn in_training(trainable: Trainable, device: &Device) -> ReVision<LlamaDecoder> {
    let device = device.clone().autodiff();
    trainable.apply(model().fork(&device).train()).unwrap()
}

/// Pictures in front of all sequences go through the language model once, whatever their number of visual tokens: loss and
/// gradients are those of the spliced sequences.
#[test]
fn leading_pictures_give_the_loss_of_all_their_tokens() {
    let samples: Vec<Sample> = [vec![3, 4, 5], vec![6, 7, 8, 9, 10], vec![11]]
        .into_iter()
        .enumerate()
        .map(|(row, tokens)| {
            let mut sample = Sample::text("s", tokens);
            sample.image_at = Some(0);
            sample.embedding = Some(numbers(3, DIM, 4)[row * DIM..][..DIM].to_vec());
            sample
        })
        .collect();
    for trainable in [Trainable::Projector, Trainable::ProjectorAndLanguage] {
        let model = in_training(trainable, &device());
        let batch = Batch::new(&samples, 40, &device().autodiff());
        assert_eq!(batch.leading, 40);
        let whole = {
            let states = model.language.forward(model.splice(&batch), None);
            let [rows, time, width] = states.dims();
            let states = states.reshape([rows * time, width]).select(0, batch.predicting.clone());
            let logits = model.language.logits(states);
            CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, batch.targets.clone())
        };
        let loss = model.loss(&batch);
        assert_products_close(loss.to_data(), whole.to_data(), "loss");
        let [found, expected] = [loss, whole].map(|loss| gradients(&model, &loss.backward()));
        assert_gradients_close(found, expected);
    }
}

#[test]
fn the_loss_and_its_gradients_agree() {
    for trainable in [Trainable::Projector, Trainable::ProjectorAndLanguage] {
        let run = |device: &Device| {
            let model = in_training(trainable, device);
            let batch = batch(&dataset(0.1), &[0, 2, 3, 5], &device.clone().autodiff());
            let loss = model.loss(&batch);
            (loss.to_data(), gradients(&model, &loss.backward()))
        };
        let ((loss, found), (expected_loss, expected)) = (run(&device()), run(&reference()));
        assert_products_close(loss, expected_loss, "loss");
        let frozen = found.iter().all(|(path, _)| path.starts_with("projector."));
        assert_eq!(frozen, trainable == Trainable::Projector, "no gradient is computed for frozen weights");
        assert_gradients_close(found, expected);
    }
}

/// A step of AdamW over two micro-batches: its first step moves each weight by the learning rate, in the direction of its
/// gradient.
#[test]
fn one_training_step_agrees() {
    let run = |device: &Device| {
        let model = in_training(Trainable::ProjectorAndLanguage, device);
        let micro_batches =
            [[0, 1, 2], [3, 4, 5]].map(|items| batch(&dataset(0.0), &items, &device.clone().autodiff()));
        let labels: usize = micro_batches.iter().map(Batch::num_labels).sum();
        let mut gradients = GradientsAccumulator::new();
        for batch in &micro_batches {
            let loss = model.loss(batch) * (batch.num_labels() as f64 / labels as f64);
            gradients.accumulate(&model, GradientsParams::from_grads(loss.backward(), &model));
        }
        // An epsilon far above the rounding of gradients: else the signs of those that are nearly zero would decide.
        let mut optimizer = AdamWConfig::new().with_epsilon(1e-2).init();
        weights(&optimizer.step(1e-2, model, gradients.grads()))
    };
    let (found, expected) = (run(&device()), run(&reference()));
    assert_eq!(found.len(), expected.len());
    for (((path, found), (_, expected)), (_, before)) in
        found.into_iter().zip(expected).zip(weights(&model()))
    {
        assert_ne!(found, before, "{path} was trained");
        assert_products_close(found, expected, &path);
    }
}

#[test]
fn stage_1_leaves_every_bit_of_the_language_model() {
    let folder = tempfile::tempdir().unwrap();
    let before = model();
    let after = learner(stage(), folder.path()).fit(before.clone(), dataset(0.1), None).unwrap().model;
    assert_same(&before.language, &after.language);
    for ((path, old), (_, new)) in weights(&before.projector).iter().zip(&weights(&after.projector)) {
        assert_ne!(old, new, "{path}");
    }
}

#[test]
fn a_stage_learns_its_captions() {
    let folder = tempfile::tempdir().unwrap();
    let stage = StageConfig::finetune().with_learning_rate(1e-2).with_batch_size(6).with_max_steps(Some(60));
    let before = model();
    let after = learner(stage, folder.path()).fit(before.clone(), dataset(0.0), None).unwrap().model;
    let ((before, _), (after, captions)) = (measure(&before), measure(&after));
    assert!(after.nll < 0.2 * before.nll, "{before:?} {after:?}");
    assert_eq!(captions, CAPTIONS);
}
