use burn::optim::{AdamW, AdamWConfig, AdamWState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

#[cfg(feature = "flex")]
use super::flex::update;

/// Burn's [`AdamW`] (arXiv 1711.05101), with the same states and the same numbers; where the backend is flex and the numbers
/// are float32, in one pass over threads instead of a dozen on one.
#[derive(Clone)]
pub(crate) struct FusedAdamW {
    composed: AdamW,
    #[cfg(feature = "flex")]
    settings: update::Settings,
}

impl FusedAdamW {
    pub(crate) fn new(betas: [f32; 2], epsilon: f32, weight_decay: f32) -> Self {
        let config = AdamWConfig::new().with_beta_1(betas[0]).with_beta_2(betas[1]);
        Self {
            composed: config.with_epsilon(epsilon).with_weight_decay(weight_decay).build(),
            #[cfg(feature = "flex")]
            settings: update::Settings { betas, epsilon, weight_decay },
        }
    }
}

impl Optimizer for FusedAdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        #[cfg(feature = "flex")]
        let state = match state {
            Some(state) if update::is_possible(&weights, &gradient, &state) => {
                let (weights, state) = update::step(self.settings, rate, weights, gradient, state);
                return (weights, Some(state));
            }
            // The first step makes the state.
            state => state,
        };
        self.composed.step(rate, weights, gradient, state)
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamW::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Distribution, TensorData};

    /// Bit for bit, over sizes that fill threads and that do not, with decay and without.
    #[test]
    fn steps_are_those_of_burn() {
        let device = Device::default();
        for (rows, decay, dtype) in
            [(3, 0.0, DType::F32), (3, 0.1, DType::F32), (700, 0.1, DType::F32), (5, 0.1, DType::BF16)]
        {
            let fused = FusedAdamW::new([0.9, 0.95], 1e-8, decay);
            let random = |_: usize| {
                Tensor::<2>::random([rows, 41], Distribution::Normal(0.0, 1.0), &device).cast(dtype)
            };
            let start = random(0);
            let gradients: Vec<Tensor<2>> = (0..4).map(random).collect();
            let run = |step: &dyn Fn(
                Tensor<2>,
                Tensor<2>,
                Option<AdamWState<2>>,
            ) -> (Tensor<2>, Option<AdamWState<2>>)| {
                let mut at = (start.clone(), None);
                for gradient in &gradients {
                    at = step(at.0, gradient.clone(), at.1);
                }
                let state = at.1.expect("there were steps").momentum;
                let tensors: [TensorData; 3] = [at.0, state.moment_1, state.moment_2].map(Tensor::into_data);
                (tensors, state.time)
            };
            let ours = run(&|weights, gradient, state| fused.step(1e-2, weights, gradient, state));
            let burns = run(&|weights, gradient, state| fused.composed.step(1e-2, weights, gradient, state));
            assert_eq!(ours, burns, "{rows} rows, decay {decay}");
        }
    }

    #[test]
    fn a_gradient_that_lies_otherwise_is_read_as_it_is_meant() {
        let device = Device::default();
        let fused = FusedAdamW::new([0.9, 0.999], 1e-8, 0.0);
        let random = || Tensor::<2>::random([6, 4], Distribution::Normal(0.0, 1.0), &device);
        let (weights, gradient) = (random(), random());
        let (_, state) = fused.step(1e-2, weights.clone(), gradient.clone(), None);
        let view = Tensor::<2>::from_data(gradient.clone().transpose().into_data(), &device).transpose();
        let (by_view, _) = fused.step(1e-2, weights.clone(), view, state.clone());
        let (expected, _) = fused.step(1e-2, weights, gradient, state);
        assert_eq!(by_view.into_data(), expected.into_data());
    }
}
