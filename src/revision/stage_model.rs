use std::fmt;
use std::sync::Arc;

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use super::parameters::count_parameters;
use super::replicas::Replicas;
use super::share::Share;
use super::{Batch, ReVision, Trainable};
use crate::device::is_cpu;
use crate::fused::in_pool;
use crate::language::LanguageModel;
use crate::training::{GradientGuard, LossOutput};

/// The input of one optimizer step: micro-batches whose gradients are averaged over all labelled tokens of the step, so
/// that the result does not depend on how the step was cut.
#[derive(Clone, Debug)]
pub(super) struct StepBatch {
    /// The micro-batches, each on the device whose turn it is, where they go through the model one after the other.
    pub micro_batches: Vec<Batch>,
}

impl StepBatch {
    /// The number of labelled tokens.
    pub fn num_labels(&self) -> usize {
        self.micro_batches.iter().map(Batch::num_labels).sum()
    }

    /// The number of positions that go through the model, visual tokens and padding included.
    pub fn num_tokens(&self) -> usize {
        self.micro_batches.iter().map(Batch::num_tokens).sum()
    }

    /// The micro-batches of each of so many devices, which take turns: neighbours are of similar length.
    fn shares(self, devices: usize) -> Vec<Vec<Batch>> {
        let mut shares = vec![Vec::new(); devices];
        for (number, micro) in self.micro_batches.into_iter().enumerate() {
            shares[number % devices].push(micro);
        }
        shares
    }
}

/// A [`ReVision`] in training, as burn-train's learner holds it during a stage.
///
/// Its record, and so a checkpoint, contains the parameters that the stage trains and no others: with a frozen language
/// model of 8 billion parameters, the few megabytes of the projector.
#[derive(Clone, Debug)]
pub(super) struct StageModel<L: LanguageModel> {
    model: ReVision<L>,
    trainable: Trainable,
    guard: GradientGuard,
    replicas: Arc<Replicas<L>>,
}

impl<L: LanguageModel> StageModel<L> {
    /// Puts `model` into training; its parts must be frozen already, see [`Trainable::apply`].
    pub fn new(model: ReVision<L>, trainable: Trainable, guard: GradientGuard) -> Self {
        let replicas = Arc::new(Replicas::new(&[]));
        Self { model, trainable, guard, replicas }
    }

    /// Shares steps with `devices`, which have autodiff.
    pub fn with_other_devices(self, devices: &[Device]) -> Self {
        Self { replicas: Arc::new(Replicas::new(devices)), ..self }
    }

    /// The model.
    pub fn into_inner(self) -> ReVision<L> {
        self.model
    }

    fn with(self, change: impl FnOnce(ReVision<L>) -> ReVision<L>) -> Self {
        Self { model: change(self.model), ..self }
    }
}

impl<L: LanguageModel> fmt::Display for StageModel<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReVision of {} parameters, training {:?}", self.model.num_params(), self.trainable)
    }
}

/// The parameters are those of the model, with the paths `projector...` and `language...`; only the record differs.
impl<L: LanguageModel> Module for StageModel<L> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with(|model| model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|model| model.to_device(device))
    }

    fn train(self) -> Self {
        self.with(Module::train)
    }

    fn valid(&self) -> Self {
        let (trainable, guard, replicas) = (self.trainable, self.guard.clone(), self.replicas.clone());
        Self { model: self.model.valid(), trainable, guard, replicas }
    }

    fn materialize(self) -> Self {
        self.with(Module::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.model.visit(visitor);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.with(|model| model.map(mapper))
    }

    fn into_record(self) -> ModuleRecord {
        let group = self.trainable.group();
        self.model.into_record_group(group)
    }

    fn try_load_record(self, record: ModuleRecord) -> Result<Self, RecordError> {
        let expected = count_parameters(&self.model, self.trainable.group());
        if record.len() != expected {
            let found = record.len();
            return Err(RecordError::Validation(format!(
                "expected {expected} trained tensors, found {found}"
            )));
        }
        let model = self.model.try_load_record(record.allow_partial(true))?;
        Ok(Self { model, ..self })
    }
}

impl<L: LanguageModel> TrainStep for StageModel<L> {
    type Input = StepBatch;
    type Output = LossOutput;

    fn step(&self, batch: StepBatch) -> TrainOutput<LossOutput> {
        let (labels, tokens) = (batch.num_labels(), batch.num_tokens());
        let mut shares = batch.shares(1 + self.replicas.len());
        let own = shares.remove(0);
        let others = self.replicas.start(&self.model, shares, labels);
        let own = in_pool(&self.model.device(), || Share::compute(&self.model, &own, labels));
        // In the order of the devices, so that a run repeats itself.
        let step = others.into_iter().fold(own, |sum, other| sum.add(other.wait(), &self.model));
        let loss = step.loss.expect("a step has at least one micro-batch");
        TrainOutput { grads: step.gradients, item: LossOutput::new(loss).over(labels, tokens) }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, rate: ModuleLearningRate, grads: GradientsParams) -> Self {
        let guard = self.guard.clone();
        // A processor has computed the norm when it is asked for. Where a whole language model is trained, a second state of
        // the optimizer would be half as much memory again, and the step is short beside what is before it.
        let is_queued = self.model.devices().first().is_some_and(|device| !is_cpu(device));
        let is_small = matches!(self.trainable, Trainable::Projector | Trainable::ProjectorAndLora);
        in_pool(&self.model.device(), move || match is_queued && is_small {
            true => guard.step_and_check(optim, rate, self, grads),
            false => guard.step(optim, rate, self, grads),
        })
    }
}

impl<L: LanguageModel> InferenceStep for StageModel<L> {
    type Input = StepBatch;
    type Output = LossOutput;

    fn step(&self, batch: StepBatch) -> LossOutput {
        let labels = batch.num_labels() as f64;
        let losses = batch
            .micro_batches
            .iter()
            .map(|micro| self.model.loss(micro) * (micro.num_labels() as f64 / labels));
        let loss = losses.reduce(|total, loss| total + loss).expect("a step has at least one micro-batch");
        LossOutput::new(loss).over(batch.num_labels(), batch.num_tokens())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::parameters::fork_for_training;
    use crate::revision::testing::{VISUAL_TOKENS, dataset, model, weights};
    use approx::assert_abs_diff_eq;
    use burn::module::Param;
    use burn::optim::AdamWConfig;
    use burn::tensor::Tensor;
    use burn::train::Interrupter;

    fn guard(max_norm: Option<f64>) -> GradientGuard {
        GradientGuard::new(max_norm, 5, Interrupter::new())
    }

    fn in_training(trainable: Trainable, guard: GradientGuard) -> StageModel<crate::language::LlamaDecoder> {
        let model = trainable.apply(model().train()).unwrap().fork(&Device::default().autodiff());
        StageModel::new(model, trainable, guard)
    }

    fn step_batch(micro_batches: &[&[usize]], device: &Device) -> StepBatch {
        let data = dataset(0.0);
        let batch = |items: &&[usize]| data.batch(items, VISUAL_TOKENS, (0, 0), device).unwrap();
        StepBatch { micro_batches: micro_batches.iter().map(batch).collect() }
    }

    #[test]
    fn a_step_does_not_depend_on_how_it_is_cut_into_micro_batches() {
        let model = in_training(Trainable::ProjectorAndLanguage, guard(None));
        let device = Device::default().autodiff();
        let step = |micro_batches: &[&[usize]]| TrainStep::step(&model, step_batch(micro_batches, &device));
        let (whole, cut) = (step(&[&[0, 1, 2, 3, 4, 5]]), step(&[&[0], &[1, 2, 3, 4], &[5]]));
        let inner = model.clone().into_inner();
        let mut compared = 0;
        struct Compare<'a>(&'a GradientsParams, &'a GradientsParams, &'a mut usize);
        impl ModuleVisitor for Compare<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let (a, b) = (self.0.get::<D>(param.id).unwrap(), self.1.get::<D>(param.id).unwrap());
                let scale = a.clone().abs().max().into_scalar::<f64>();
                assert_abs_diff_eq!(
                    (a - b).abs().max().into_scalar::<f64>(),
                    0.0,
                    epsilon = 1e-5 * scale.max(1e-3)
                );
                *self.2 += 1;
            }
        }
        inner.visit(&mut Compare(&whole.grads, &cut.grads, &mut compared));
        assert_eq!(compared, weights(&inner).len());
    }

    #[test]
    fn a_batch_without_finite_gradients_changes_no_weight_and_is_counted() {
        let device = Device::default().autodiff();
        let guard = guard(Some(1.0));
        let model = in_training(Trainable::Projector, guard.clone());
        let before = weights(&model);
        let mut optimizer = AdamWConfig::new().init();
        let mut batch = step_batch(&[&[0, 1]], &device);
        let visual = &mut batch.micro_batches[0].visual;
        *visual = visual.take().map(|visual| visual * f32::NAN);
        let output = TrainStep::step(&model, batch);
        let model = model.optimize(&mut optimizer, 1e-2.into(), output.grads);
        assert_eq!(before, weights(&model));
        assert_eq!(guard.skipped(), 1);

        let output = TrainStep::step(&model, step_batch(&[&[0, 1]], &device));
        let model = model.optimize(&mut optimizer, 1e-2.into(), output.grads);
        let changed = before.iter().zip(weights(&model)).filter(|((_, old), (_, new))| old != new).count();
        assert_eq!(changed, weights(&model.into_inner().projector).len());
    }

    /// What backward computes again is what forward computed.
    #[test]
    fn gradients_are_the_same_with_gradient_checkpointing() {
        for trainable in [Trainable::Projector, Trainable::ProjectorAndLanguage] {
            let model = trainable.apply(model().train()).unwrap();
            let gradients = |device: Device| {
                let stage =
                    StageModel::new(fork_for_training(model.clone(), &device), trainable, guard(None));
                let step = TrainStep::step(&stage, step_batch(&[&[0, 2], &[1, 3, 4]], &device));
                let mut collected = Collect(step.grads, Vec::new());
                stage.visit(&mut collected);
                (step.item.loss.into_scalar::<f64>(), collected.1)
            };
            let plain = gradients(Device::default().autodiff());
            let again = gradients(Device::default().autodiff().gradient_checkpointing());
            assert!(!plain.1.is_empty());
            assert_eq!(plain, again);
        }

        struct Collect(GradientsParams, Vec<burn::tensor::TensorData>);
        impl ModuleVisitor for Collect {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.1.extend(self.0.remove::<D>(param.id).map(Tensor::into_data));
            }
        }
    }

    #[test]
    fn validation_and_training_compute_the_same_loss() {
        let model = in_training(Trainable::Projector, guard(None));
        let batch = |device: &Device| step_batch(&[&[0, 2, 4]], device);
        let train = TrainStep::step(&model, batch(&Device::default().autodiff())).item;
        let valid = InferenceStep::step(&model.valid(), batch(&Device::default()));
        let [train, valid] = [train, valid].map(|output| output.loss.into_scalar::<f64>());
        assert_abs_diff_eq!(train, valid, epsilon = 1e-5);
    }
}
