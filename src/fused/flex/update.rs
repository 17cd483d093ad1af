//! A step of AdamW on flex, in one pass.

use burn::backend::Flex;
use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate};
use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::kernel::{Numbers, is_single, whole};

/// Numbers that a thread takes at once.
const PART: usize = 1 << 15;

/// The settings of AdamW.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) betas: [f32; 2],
    pub(crate) epsilon: f32,
    pub(crate) weight_decay: f32,
}

/// Whether all tensors of a step are flex's in float32, and the state is of this AdamW.
pub(crate) fn is_possible<const D: usize>(
    weights: &Tensor<D>,
    gradient: &Tensor<D>,
    state: &AdamWState<D>,
) -> bool {
    let momentum = &state.momentum;
    let all = [weights, gradient, &momentum.moment_1, &momentum.moment_2];
    momentum.max_moment_2.is_none() && all.into_iter().all(is_single)
}

/// The weights and the state after a step that [`is_possible`].
pub(crate) fn step<const D: usize>(
    settings: Settings,
    rate: LearningRate,
    weights: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
) -> (Tensor<D>, AdamWState<D>) {
    let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state.momentum;
    let [weights, gradient, moment_1, moment_2] = [weights, gradient, moment_1, moment_2]
        .map(|tensor| tensor.try_into_primitive::<Flex>().expect("tensors of flex"));
    // In their place, where nobody else has them.
    let [mut weights, mut moment_1, mut moment_2] = [weights, moment_1, moment_2].map(whole);
    let gradient = Numbers::new(gradient);
    let [beta_1, beta_2] = settings.betas;
    let time = time + 1;
    let factors = Factors {
        betas: settings.betas,
        epsilon: settings.epsilon,
        bias: [1.0 - beta_1.powi(time as i32), 1.0 - beta_2.powi(time as i32)],
        kept: (1.0 - rate * settings.weight_decay as f64) as f32,
        rate: rate as f32,
    };
    weights
        .storage_mut::<f32>()
        .par_chunks_mut(PART)
        .zip(moment_1.storage_mut::<f32>().par_chunks_mut(PART))
        .zip(moment_2.storage_mut::<f32>().par_chunks_mut(PART))
        .zip(gradient.as_slice().par_chunks(PART))
        .for_each(|(((weights, moment_1), moment_2), gradient)| {
            Arch::new().dispatch(Part { weights, moments: [moment_1, moment_2], gradient, factors })
        });
    let [moment_1, moment_2] = [moment_1, moment_2].map(Tensor::from_primitive::<Flex>);
    let momentum = AdaptiveMomentumState::new(time, moment_1, moment_2);
    (Tensor::from_primitive::<Flex>(weights), AdamWState::new(momentum))
}

#[derive(Clone, Copy)]
struct Factors {
    betas: [f32; 2],
    epsilon: f32,
    /// What the moments are divided by, since they began at zero.
    bias: [f32; 2],
    /// The share of a weight that its decay leaves.
    kept: f32,
    rate: f32,
}

struct Part<'a> {
    weights: &'a mut [f32],
    moments: [&'a mut [f32]; 2],
    gradient: &'a [f32],
    factors: Factors,
}

impl WithSimd for Part<'_> {
    type Output = ();

    /// In the order in which Burn computes it, so that the numbers are the same.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Factors { betas, epsilon, bias, kept, rate } = self.factors;
        let [moment_1, moment_2] = self.moments;
        let len = self.weights.len();
        let (moment_1, moment_2) = (&mut moment_1[..len], &mut moment_2[..len]);
        let gradient = &self.gradient[..len];
        for at in 0..len {
            let gradient = gradient[at];
            moment_1[at] = moment_1[at] * betas[0] + gradient * (1.0 - betas[0]);
            moment_2[at] = moment_2[at] * betas[1] + gradient * gradient * (1.0 - betas[1]);
            let delta = (moment_1[at] / bias[0]) / ((moment_2[at] / bias[1]).sqrt() + epsilon);
            self.weights[at] = self.weights[at] * kept - delta * rate;
        }
    }
}
