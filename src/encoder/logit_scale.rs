//! The inverse temperature of the contrastive loss.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Configuration of the scale of the logits, the inverse temperature `1/tau`.
///
/// The scale influences the gap: the embeddings of the two towers start far apart, and in a training of given length a
/// high scale leaves more of that distance than a low one, with which the loss decreases only if the clouds approach.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::encoder::{DualEncoderConfig, ImageTowerConfig, LogitScaleConfig, TextTowerConfig};
///
/// let image = ImageTowerConfig::new(vec![16], vec![4], 8);
/// let text = TextTowerConfig::new(100, 16, 32, 1, 4, 8);
/// let encoder = DualEncoderConfig::new(image, text)
///     .with_logit_scale(LogitScaleConfig::Learned { init: 14.3, max: 100.0 })
///     .init(&Device::default());
/// assert!((encoder.logit_scale().into_scalar::<f32>() - 14.3).abs() < 1e-4);
/// ```
#[derive(Config, Debug, PartialEq)]
pub enum LogitScaleConfig {
    /// A constant value.
    Fixed(f64),
    /// Learned, starting at `init` and bounded by `max`, as in CLIP (14.3 and 100).
    Learned {
        /// The initial value.
        init: f64,
        /// The largest value.
        max: f64,
    },
}

/// The scale of the logits, a parameter for its logarithm.
#[derive(Module, Debug)]
pub(super) struct LogitScale {
    log_scale: Param<Tensor<1>>,
    log_max: f64,
    learned: bool,
}

impl LogitScaleConfig {
    fn bounds(&self) -> (f64, f64) {
        match *self {
            Self::Fixed(value) => (value, value),
            Self::Learned { init, max } => (init, max),
        }
    }

    /// Whether there is such a scale; otherwise what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.bounds() {
            (init, max) if 0.0 < init && init <= max && max.is_finite() => Ok(()),
            (init, max) => {
                Err(format!("logit scale: needs 0 < init <= max, found init {init} and max {max}"))
            }
        }
    }

    /// Initializes the scale on `device`.
    ///
    /// # Panics
    ///
    /// If a value is not positive and finite, or `init` is above `max`.
    pub(super) fn init(&self, device: &Device) -> LogitScale {
        if let Err(detail) = self.check() {
            panic!("{detail}");
        }
        let (init, max) = self.bounds();
        let learned = matches!(self, Self::Learned { .. });
        let log_scale = Tensor::<1>::from_data([init.ln()], device);
        LogitScale {
            log_scale: Param::from_tensor(log_scale).set_require_grad(learned),
            log_max: max.ln(),
            learned,
        }
    }
}

impl LogitScale {
    /// The scale, at most `max`.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`; without a gradient if the scale is fixed
    pub fn forward(&self) -> Tensor<1> {
        let log_scale = self.log_scale.val();
        if self.learned { log_scale.clamp_max(self.log_max).exp() } else { log_scale.detach().exp() }
    }

    /// The scale with a learned value above `max` set back to it.
    ///
    /// Above the clamp of [`forward`](Self::forward) the gradient is zero, and a value that an optimizer step moved there
    /// could never decrease again.
    pub(super) fn clamped(mut self) -> Self {
        if self.learned {
            let max = self.log_max;
            self.log_scale = self.log_scale.map(|value| value.clamp_max(max).detach().require_grad());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    fn with_log(scale: LogitScale, log: f64) -> LogitScale {
        let log_scale = scale.log_scale.map(|value| value.full_like(log).require_grad());
        LogitScale { log_scale, ..scale }
    }

    #[test]
    fn a_learned_scale_is_bounded_by_its_maximum() {
        let device = Device::default().autodiff();
        let scale = LogitScaleConfig::Learned { init: 14.3, max: 100.0 }.init(&device);
        assert_abs_diff_eq!(scale.forward().into_scalar::<f32>(), 14.3, epsilon = 1e-4);
        let scale = with_log(scale, 9.0);
        assert_abs_diff_eq!(scale.forward().into_scalar::<f32>(), 100.0, epsilon = 1e-3);
    }

    #[test]
    fn a_scale_above_its_maximum_can_decrease_again() {
        let device = Device::default().autodiff();
        let scale = LogitScaleConfig::Learned { init: 14.3, max: 100.0 }.init(&device);
        let gradient = |scale: &LogitScale| {
            let grads = scale.forward().backward();
            scale.log_scale.val().grad(&grads).unwrap().into_scalar::<f32>()
        };
        let above = with_log(scale, 9.0);
        assert_eq!(gradient(&above), 0.0);
        assert_abs_diff_eq!(gradient(&above.clamped()), 100.0, epsilon = 1e-2);
    }

    #[test]
    fn a_fixed_scale_has_no_gradient_even_when_unfrozen() {
        let device = Device::default().autodiff();
        let scale = LogitScaleConfig::Fixed(50.0).init(&device).unfreeze();
        let weight = Tensor::<1>::from_data([2.0], &device).require_grad();
        let grads = (scale.forward() * weight).sum().backward();
        assert!(scale.log_scale.val().grad(&grads).is_none());
    }

    #[test]
    #[should_panic(expected = "found init 200 and max 100")]
    fn an_init_above_the_maximum_panics() {
        LogitScaleConfig::Learned { init: 200.0, max: 100.0 }.init(&Device::default());
    }
}
