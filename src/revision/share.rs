use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use super::{Batch, ReVision};
use crate::language::LanguageModel;

/// What some micro-batches of a step add to its gradients and to its loss. Weighted by their labels, the micro-batches add up
/// to the mean over the whole step, however and wherever they were computed.
pub(super) struct Share {
    pub gradients: GradientsParams,
    /// `[1]`, without autodiff; absent without micro-batches.
    pub loss: Option<Tensor<1>>,
}

impl Share {
    /// Runs `micro_batches` of a step with so many `labels` through `model`, one after the other.
    pub fn compute<L: LanguageModel>(model: &ReVision<L>, micro_batches: &[Batch], labels: usize) -> Self {
        let mut gradients = GradientsAccumulator::new();
        let mut total: Option<Tensor<1>> = None;
        for micro in micro_batches {
            let loss = model.loss(micro) * (micro.num_labels() as f64 / labels as f64);
            // With a frozen language model, a micro-batch without pictures has no gradient.
            if loss.is_tracked() {
                gradients.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
            }
            let loss = loss.without_autodiff();
            total = Some(total.map_or(loss.clone(), |total| total + loss));
        }
        Self { gradients: gradients.grads(), loss: total }
    }

    /// The share on another device, without autodiff.
    pub fn moved_to<M: Module>(self, device: &Device, model: &M) -> Self {
        Self {
            gradients: self.gradients.to_device(device, model),
            loss: self.loss.map(|loss| loss.to_device(device)),
        }
    }

    /// Both shares together.
    pub fn add<M: Module>(self, other: Self, model: &M) -> Self {
        let mut gradients = GradientsAccumulator::new();
        gradients.accumulate(model, self.gradients);
        gradients.accumulate(model, other.gradients);
        let loss = match (self.loss, other.loss) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        Self { gradients: gradients.grads(), loss }
    }
}
