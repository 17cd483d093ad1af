//! A dual encoder in training, measured by a tracker.

use std::fmt;
use std::sync::{Arc, Mutex};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use super::{DualEncoder, GapTracker, PairBatch};
use crate::training::LossOutput;

/// A [`DualEncoder`] in training, as burn-train's learner holds it, with the tracker that measures it after its steps.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    encoder: DualEncoder,
    tracking: Arc<Mutex<Tracking>>,
}

/// The number of steps so far, and the tracker that measures the encoder after some of them.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    steps: usize,
    tracker: Option<GapTracker>,
}

impl Tracking {
    pub fn new(tracker: Option<GapTracker>) -> Self {
        Self { steps: 0, tracker }
    }

    /// A measurement that fails does not end the training: the tracker keeps the error.
    fn observe(&mut self, encoder: &DualEncoder) {
        let step = self.steps;
        if let Some(tracker) = self.tracker.as_mut().filter(|tracker| tracker.is_due(step))
            && let Err(error) = tracker.observe(step, &encoder.valid()).map(|_| ())
        {
            tracker.fail(step, &error);
        }
    }

    /// The tracker with its records.
    pub fn finish(self) -> Option<GapTracker> {
        self.tracker
    }
}

impl Tracked {
    /// Measures the encoder before its first step, where there is a tracker.
    pub fn new(encoder: DualEncoder, tracking: Arc<Mutex<Tracking>>) -> Self {
        tracking.lock().expect("no measurement panicked").observe(&encoder);
        Self { encoder, tracking }
    }

    /// The encoder.
    pub fn into_inner(self) -> DualEncoder {
        self.encoder
    }

    fn with(self, change: impl FnOnce(DualEncoder) -> DualEncoder) -> Self {
        Self { encoder: change(self.encoder), tracking: self.tracking }
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dual encoder of {} parameters", self.encoder.num_params())
    }
}

/// Parameters and record are those of the encoder.
impl Module for Tracked {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.encoder.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with(|encoder| encoder.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|encoder| encoder.to_device(device))
    }

    fn train(self) -> Self {
        self.with(Module::train)
    }

    fn valid(&self) -> Self {
        Self { encoder: self.encoder.valid(), tracking: self.tracking.clone() }
    }

    fn materialize(self) -> Self {
        self.with(Module::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.encoder.visit(visitor);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.with(|encoder| encoder.map(mapper))
    }

    fn into_record(self) -> ModuleRecord {
        self.encoder.into_record()
    }

    fn try_load_record(self, record: ModuleRecord) -> Result<Self, RecordError> {
        let Self { encoder, tracking } = self;
        Ok(Self { encoder: encoder.try_load_record(record)?, tracking })
    }
}

impl TrainStep for Tracked {
    type Input = PairBatch;
    type Output = LossOutput;

    fn step(&self, batch: PairBatch) -> TrainOutput<LossOutput> {
        let loss = self.encoder.forward(batch);
        TrainOutput::new(self, loss.backward(), LossOutput::new(loss))
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let stepped = optimizer.step(lr, self, grads).with(DualEncoder::with_scale_clamped);
        let mut tracking = stepped.tracking.lock().expect("no measurement panicked");
        tracking.steps += 1;
        tracking.observe(&stepped.encoder);
        drop(tracking);
        stepped
    }
}

impl InferenceStep for Tracked {
    type Input = PairBatch;
    type Output = LossOutput;

    fn step(&self, batch: PairBatch) -> LossOutput {
        LossOutput::new(self.encoder.forward(batch))
    }
}
