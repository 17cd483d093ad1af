use std::fmt;

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use super::stage::count_parameters;
use super::{Batch, ReVision, Trainable};
use crate::language::LanguageModel;
use crate::training::{GradientGuard, LossOutput};

/// A [`ReVision`] in training: what burn-train's learner holds during a stage.
///
/// Its record, and so a checkpoint, contains the parameters that the stage trains and no others: beside an 8-billion
/// parameter language model that is frozen, the projector's few megabytes.
#[derive(Clone, Debug)]
pub struct StageModel<L: LanguageModel> {
    model: ReVision<L>,
    trainable: Trainable,
    guard: GradientGuard,
}

impl<L: LanguageModel> StageModel<L> {
    /// Puts `model` into training; its parts must be frozen already, see [`Trainable::apply`].
    pub fn new(model: ReVision<L>, trainable: Trainable, guard: GradientGuard) -> Self {
        Self { model, trainable, guard }
    }

    /// The model.
    pub fn inner(&self) -> &ReVision<L> {
        &self.model
    }

    /// The model, out of training.
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

/// Everything is the model's own, so that paths are `projector...` and `language...`; only the record differs.
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
        Self { model: self.model.valid(), trainable: self.trainable, guard: self.guard.clone() }
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
        let Self { model, trainable, guard } = self;
        let model = model.try_load_record(record.allow_partial(true))?;
        Ok(Self { model, trainable, guard })
    }
}

impl<L: LanguageModel> TrainStep for StageModel<L> {
    type Input = Batch;
    type Output = LossOutput;

    fn step(&self, batch: Batch) -> TrainOutput<LossOutput> {
        let labels = batch.num_labels() as f64;
        let mut gradients = GradientsAccumulator::new();
        let mut total: Option<Tensor<1>> = None;
        for micro in &batch.micro {
            // Weighted by labels, the parts add up to the mean over the whole step.
            let loss = self.model.loss(micro) * (micro.num_labels() as f64 / labels);
            // In front of a frozen language model, a part without pictures has nothing to learn from.
            if loss.is_tracked() {
                gradients.accumulate(self, GradientsParams::from_grads(loss.backward(), self));
            }
            let loss = loss.without_autodiff();
            total = Some(total.map_or(loss.clone(), |total| total + loss));
        }
        let loss = total.expect("a step has at least one part");
        let item = LossOutput::new(loss).over(batch.num_labels(), batch.num_tokens());
        TrainOutput { grads: gradients.grads(), item }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, rate: ModuleLearningRate, grads: GradientsParams) -> Self {
        match self.guard.check(&self, grads) {
            Some(grads) => optim.step(rate, self, grads),
            None => self,
        }
    }
}

impl<L: LanguageModel> InferenceStep for StageModel<L> {
    type Input = Batch;
    type Output = LossOutput;

    fn step(&self, batch: Batch) -> LossOutput {
        let labels = batch.num_labels() as f64;
        let losses =
            batch.micro.iter().map(|micro| self.model.loss(micro) * (micro.num_labels() as f64 / labels));
        let loss = losses.reduce(|total, loss| total + loss).expect("a step has at least one part");
        LossOutput::new(loss).over(batch.num_labels(), batch.num_tokens())
    }
}
