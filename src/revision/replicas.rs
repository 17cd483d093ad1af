//! Training on several devices, in data parallelism within a step: each has a replica of the model and computes the gradients
//! of its share of the micro-batches, and the first adds them up and updates the weights.
//!
//! It is below burn-train, for which a step is a step. Of its own strategies, `ddp` adds up gradients within each backward
//! pass, and so needs equally many passes on all devices, where here the data decide: a share of the last batch may be empty,
//! a micro-batch without pictures has no pass, and the loss has one for each part of the labels. `multi` copies all of the
//! model to the other devices in each step, and what is frozen of it is most of it.

use std::fmt;
use std::sync::{Arc, Mutex};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::parameters::fork_for_training;
use super::share::Share;
use super::{Batch, ReVision};
use crate::language::LanguageModel;
use crate::training::{Pending, Worker};

/// The replicas on the devices other than the first, each with a thread that computes on it.
pub(super) struct Replicas<L: LanguageModel> {
    replicas: Vec<Replica<L>>,
}

struct Replica<L: LanguageModel> {
    worker: Worker,
    model: Arc<Mutex<ReVision<L>>>,
}

impl<L: LanguageModel> fmt::Debug for Replicas<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("count", &self.replicas.len()).finish()
    }
}

impl<L: LanguageModel> Replicas<L> {
    /// Copies of `model`, which is in training, on each of `devices`, which have autodiff.
    pub fn new(model: &ReVision<L>, devices: &[Device]) -> Self {
        let replica = |device: &Device| Replica {
            worker: Worker::new("replica"),
            model: Arc::new(Mutex::new(fork_for_training(model.clone(), device))),
        };
        Self { replicas: devices.iter().map(replica).collect() }
    }

    /// The number of replicas.
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Has each replica compute one of `shares`, after it took over the trained weights of `model`; answers come back on the
    /// device of `model`.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many shares as replicas.
    pub fn start(&self, model: &ReVision<L>, shares: Vec<Vec<Batch>>, labels: usize) -> Vec<Pending<Share>> {
        assert_eq!(shares.len(), self.replicas.len(), "every replica has a share");
        let main = model.devices().first().cloned().unwrap_or_default().inner();
        let jobs = self.replicas.iter().zip(shares).filter(|(_, share)| !share.is_empty());
        jobs.map(|(replica, share)| {
            let (trained, main, model) = (TrainedWeights::of(model), main.clone(), replica.model.clone());
            replica.worker.start(move || {
                let mut model = model.lock().expect("a share that failed was the last");
                *model = model.clone().map(&mut Follow(trained));
                Share::compute(&model, &share, labels).to_device(&main, &*model)
            })
        })
        .collect()
    }
}

/// The weights that a model trains, without autodiff.
struct TrainedWeights(
    /// By parameter, as gradients are.
    GradientsParams,
);

impl TrainedWeights {
    fn of<M: Module>(model: &M) -> Self {
        let mut trained = Self(GradientsParams::new());
        model.visit(&mut trained);
        trained
    }
}

impl ModuleVisitor for TrainedWeights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.0.register(param.id, param.base().inner());
        }
    }
}

/// Puts trained weights in the place of those before, on the device where these are.
struct Follow(TrainedWeights);

impl ModuleMapper for Follow {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(weights) = self.0.0.remove::<D>(param.id) else { return param };
        param.map(|before| {
            let strategy = before.gradient_checkpointing_strategy();
            let weights = Tensor::from_inner(weights.to_device(&before.device().inner()));
            match strategy {
                Some(strategy) => weights.with_gradient_checkpointing_strategy(strategy),
                None => weights,
            }
            .require_grad()
        })
    }
}
