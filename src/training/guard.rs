use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::train::Interrupter;

use super::clipping::{global_norm, scaled_on_device, scaled_to, sum_of_squares};

/// Checks gradients before the optimizer applies them: clips by the global norm, and skips a step whose gradients are
/// not finite.
///
/// Burn clips each tensor by its own norm; this is the norm over all trained parameters together, as in
/// PyTorch's `clip_grad_norm_`. Skipped steps are counted, and a run that skips more than `max_skipped` of them is
/// stopped. Clones share the count.
#[derive(Clone)]
pub(crate) struct GradientGuard {
    max_norm: Option<f64>,
    max_skipped: usize,
    skipped: Arc<AtomicUsize>,
    interrupter: Interrupter,
}

impl fmt::Debug for GradientGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradientGuard")
            .field("max_norm", &self.max_norm)
            .field("max_skipped", &self.max_skipped)
            .field("skipped", &self.skipped())
            .finish()
    }
}

impl GradientGuard {
    /// Clips to `max_norm`, where there is one, and stops the run of `interrupter` after more than `max_skipped` skipped
    /// steps.
    pub fn new(max_norm: Option<f64>, max_skipped: usize, interrupter: Interrupter) -> Self {
        Self { max_norm, max_skipped, skipped: Arc::default(), interrupter }
    }

    /// The number of skipped steps so far.
    pub fn skipped(&self) -> usize {
        self.skipped.load(Ordering::SeqCst)
    }

    /// The number of steps that may be skipped.
    pub fn max_skipped(&self) -> usize {
        self.max_skipped
    }

    /// Whether more steps were skipped than the run allows.
    pub fn is_exhausted(&self) -> bool {
        self.skipped() > self.max_skipped
    }

    /// The gradients to apply to `module`: clipped, or `None` where their norm is not finite.
    pub fn check<M: Module>(&self, module: &M, grads: GradientsParams) -> Option<GradientsParams> {
        let norm = global_norm(module, &grads);
        if !self.accepts(norm) {
            return None;
        }
        Some(match self.max_norm {
            Some(max_norm) => scaled_to(module, grads, norm, max_norm),
            None => grads,
        })
    }

    /// `module` after a step of `optimizer` with gradients that it [`check`](Self::check)s: module and optimizer are as they
    /// were where the step is skipped.
    pub fn step<M: Module>(
        &self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        module: M,
        grads: GradientsParams,
    ) -> M {
        match self.check(&module, grads) {
            Some(grads) => optimizer.step(rate, module, grads),
            None => module,
        }
    }

    /// As [`step`](Self::step), for devices that work while their next work is queued: the norm is read behind the step and
    /// not before it, when the device would have nothing to do. Until then the weights and the optimizer's state are there
    /// twice.
    pub fn step_and_check<M: Module>(
        &self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        module: M,
        grads: GradientsParams,
    ) -> M {
        let Some(squares) = sum_of_squares(&module, &grads) else {
            return optimizer.step(rate, module, grads);
        };
        let (before, state_before) = (module.clone(), optimizer.clone());
        let grads = match self.max_norm {
            Some(max_norm) => scaled_on_device(&module, grads, squares.clone(), max_norm),
            None => grads,
        };
        let after = optimizer.step(rate, module, grads);
        if self.accepts(squares.into_scalar::<f64>().sqrt()) {
            return after;
        }
        *optimizer = state_before;
        before
    }

    /// Whether gradients of this norm are applied; counts those that are not.
    fn accepts(&self, norm: f64) -> bool {
        if norm.is_finite() {
            return true;
        }
        let skipped = self.skipped.fetch_add(1, Ordering::SeqCst) + 1;
        log::warn!("gradient norm is {norm}: the step is skipped ({skipped} so far)");
        if self.is_exhausted() {
            self.interrupter.stop(Some("too many steps without finite gradients"));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::adamw;
    use approx::assert_abs_diff_eq;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Tensor};

    fn gradients(scale: f32) -> (Linear, GradientsParams) {
        let device = Device::default().autodiff();
        let linear = LinearConfig::new(3, 2).init(&device);
        let grads = gradients_of(&linear, scale);
        (linear, grads)
    }

    fn gradients_of(linear: &Linear, scale: f32) -> GradientsParams {
        let device = Device::default().autodiff();
        let input = Tensor::<2>::from_data([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]], &device);
        let loss = (linear.forward(input) * scale).sum();
        GradientsParams::from_grads(loss.backward(), linear)
    }

    #[test]
    fn the_norm_is_over_all_parameters_together() {
        let (linear, grads) = gradients(1.0);
        let mut squares = 0.0;
        for value in grads.get::<2>(linear.weight.id).unwrap().into_data().iter::<f64>() {
            squares += value * value;
        }
        for value in grads.get::<1>(linear.bias.as_ref().unwrap().id).unwrap().into_data().iter::<f64>() {
            squares += value * value;
        }
        assert_abs_diff_eq!(global_norm(&linear, &grads), squares.sqrt(), epsilon = 1e-5);
    }

    #[test]
    fn clipping_shortens_and_keeps_the_direction() {
        let (linear, grads) = gradients(1.0);
        let before = grads.get::<2>(linear.weight.id).unwrap();
        let norm = global_norm(&linear, &grads);
        let guard = GradientGuard::new(Some(norm / 4.0), 0, Interrupter::new());
        let clipped = guard.check(&linear, grads).unwrap();
        assert_abs_diff_eq!(global_norm(&linear, &clipped), norm / 4.0, epsilon = 1e-4);
        let after = clipped.get::<2>(linear.weight.id).unwrap();
        assert!((after * 4.0 - before).abs().max().into_scalar::<f64>() < 1e-4);
    }

    #[test]
    fn short_gradients_pass_unchanged() {
        let (linear, grads) = gradients(1.0);
        let before = grads.get::<2>(linear.weight.id).unwrap().into_data();
        let guard = GradientGuard::new(Some(1e6), 0, Interrupter::new());
        let after = guard.check(&linear, grads).unwrap();
        assert_eq!(after.get::<2>(linear.weight.id).unwrap().into_data(), before);
    }

    #[test]
    fn bad_steps_are_counted_and_end_the_run_past_the_limit() {
        let interrupter = Interrupter::new();
        let guard = GradientGuard::new(Some(1.0), 1, interrupter.clone());
        for (count, stops) in [(1, false), (2, true)] {
            let (linear, grads) = gradients(f32::NAN);
            assert!(guard.check(&linear, grads).is_none());
            assert_eq!((guard.skipped(), interrupter.should_stop()), (count, stops));
        }
    }

    /// To the bit: with short gradients, with clipped ones, and with some that are not finite before the optimizer has a state
    /// and when it has one, which the steps behind them show.
    #[test]
    fn a_step_that_is_checked_behind_is_the_step_that_is_checked_before() {
        let (start, _) = gradients(1.0);
        let weights = |linear: &Linear| {
            (linear.weight.val().into_data(), linear.bias.as_ref().unwrap().val().into_data())
        };
        for max_norm in [None, Some(1e6), Some(0.37)] {
            for scales in [[1.0, -2.0, 0.5, 3.0], [f32::NAN, 1.0, f32::INFINITY, 2.0]] {
                let run = |behind: bool| {
                    let interrupter = Interrupter::new();
                    let guard = GradientGuard::new(max_norm, 1, interrupter.clone());
                    let mut optimizer = adamw(0.1, 0.999).unwrap();
                    let mut linear = start.clone();
                    let mut path = Vec::new();
                    for scale in scales {
                        let before = weights(&linear);
                        let grads = gradients_of(&linear, scale);
                        let rate = || 1e-2.into();
                        linear = match behind {
                            true => guard.step_and_check(&mut optimizer, rate(), linear, grads),
                            false => guard.step(&mut optimizer, rate(), linear, grads),
                        };
                        assert_eq!(before == weights(&linear), !scale.is_finite(), "{scale}");
                        path.push(weights(&linear));
                    }
                    (path, guard.skipped(), interrupter.should_stop())
                };
                let (expected, found) = (run(false), run(true));
                assert_eq!(expected.1, scales.iter().filter(|scale| !scale.is_finite()).count());
                assert_eq!(expected, found, "{max_norm:?} {scales:?}");
            }
        }
    }
}
