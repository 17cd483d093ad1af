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
    device: Device,
    /// From the first step on: the parameters of a resumed run have the identities in its checkpoint, which is read before.
    model: Arc<Mutex<Option<ReVision<L>>>>,
}

impl<L: LanguageModel> fmt::Debug for Replicas<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("count", &self.replicas.len()).finish()
    }
}

impl<L: LanguageModel> Replicas<L> {
    /// A replica on each of `devices`, which have autodiff.
    pub fn new(devices: &[Device]) -> Self {
        let replica = |device: &Device| Replica {
            worker: Worker::new("replica"),
            device: device.clone(),
            model: Arc::default(),
        };
        Self { replicas: devices.iter().map(replica).collect() }
    }

    /// The number of replicas.
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Has each replica compute one of `shares`, after it took over the trained weights of `model`, which is always the same but
    /// for these; answers come back on the device of `model`.
    ///
    /// # Panics
    ///
    /// Panics if there are not as many shares as replicas.
    pub fn start(&self, model: &ReVision<L>, shares: Vec<Vec<Batch>>, labels: usize) -> Vec<Pending<Share>> {
        assert_eq!(shares.len(), self.replicas.len(), "every replica has a share");
        let main = model.devices().first().cloned().unwrap_or_default().inner();
        let jobs = self.replicas.iter().zip(shares).filter(|(_, share)| !share.is_empty());
        jobs.map(|(replica, share)| {
            let (model, slot) = (model.clone(), replica.model.clone());
            let (main, device) = (main.clone(), replica.device.clone());
            replica.worker.start(move || {
                let mut slot = slot.lock().expect("a share that failed was the last");
                let replica = match slot.take() {
                    Some(replica) => follow(replica, &model),
                    None => fork_for_training(model, &device),
                };
                let replica = slot.insert(replica);
                Share::compute(replica, &share, labels).moved_to(&main, replica)
            })
        })
        .collect()
    }
}

/// `replica` with the trained weights of `model`.
fn follow<M: Module>(replica: M, model: &M) -> M {
    let mut follow = Follow(TrainedWeights::of(model));
    let replica = replica.map(&mut follow);
    assert!(follow.0.0.is_empty(), "a replica has all trained parameters of its model");
    replica
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
