//! A dual encoder whose training is watched.

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

/// What burn-train's learner holds: the encoder, and who looks at it after each step.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    encoder: DualEncoder,
    watch: Arc<Mutex<Watch>>,
}

/// The steps so far, and a tracker for some of them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    steps: usize,
    tracker: Option<GapTracker>,
}

impl Watch {
    pub fn new(tracker: Option<GapTracker>) -> Self {
        Self { steps: 0, tracker }
    }

    /// A measurement that fails must not end the training: the tracker keeps why.
    fn observe(&mut self, encoder: &DualEncoder) {
        let step = self.steps;
        if let Some(tracker) = self.tracker.as_mut().filter(|tracker| tracker.is_due(step))
            && let Err(error) = tracker.observe(step, &encoder.valid()).map(|_| ())
        {
            tracker.fail(step, &error);
        }
    }

    /// The tracker with what it has measured.
    pub fn finish(self) -> Option<GapTracker> {
        self.tracker
    }
}

impl Tracked {
    /// Begins to watch: the encoder is measured before its first step.
    pub fn new(encoder: DualEncoder, watch: Arc<Mutex<Watch>>) -> Self {
        watch.lock().expect("no measurement panicked").observe(&encoder);
        Self { encoder, watch }
    }

    /// The encoder.
    pub fn into_inner(self) -> DualEncoder {
        self.encoder
    }

    fn with(self, change: impl FnOnce(DualEncoder) -> DualEncoder) -> Self {
        Self { encoder: change(self.encoder), watch: self.watch }
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dual encoder of {} parameters", self.encoder.num_params())
    }
}

/// Everything is the encoder's own.
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
        Self { encoder: self.encoder.valid(), watch: self.watch.clone() }
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
        let Self { encoder, watch } = self;
        Ok(Self { encoder: encoder.try_load_record(record)?, watch })
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
        let mut watch = stepped.watch.lock().expect("no measurement panicked");
        watch.steps += 1;
        watch.observe(&stepped.encoder);
        drop(watch);
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
