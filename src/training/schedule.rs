use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;

use crate::{Error, Result};

/// A learning rate that rises linearly to `learning_rate` over the first `warmup_ratio` of `steps` and then
/// falls to zero along half a cosine.
///
/// # Errors
///
/// [`Error::Config`] for a learning rate outside (0, 1] or a ratio outside [0, 1).
pub(crate) fn cosine_with_warmup(
    learning_rate: f64,
    steps: usize,
    warmup_ratio: f64,
) -> Result<ModuleLrScheduler> {
    if !learning_rate.is_finite() {
        return Err(Error::config("learning_rate", format!("must be in (0, 1], found {learning_rate}")));
    }
    if !(0.0..1.0).contains(&warmup_ratio) {
        return Err(Error::config("warmup_ratio", format!("must be in [0, 1), found {warmup_ratio}")));
    }
    let warmup = (steps as f64 * warmup_ratio).ceil() as usize;
    let cosine = CosineAnnealingLrSchedulerConfig::new(learning_rate, (steps - warmup.min(steps)).max(1));
    let scheduler = if warmup == 0 {
        cosine.init()
    } else {
        // Burn's linear schedule starts above zero, so the first step already learns.
        let rise = LinearLrSchedulerConfig::new(learning_rate / warmup as f64, learning_rate, warmup);
        SequentialLrSchedulerConfig::new(vec![LrSchedulerConfig::Linear(rise), cosine.into()], vec![warmup])
            .init()
    };
    scheduler.map_err(|detail| Error::config("learning_rate", format!("{detail}, found {learning_rate}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    fn rates(steps: usize, warmup_ratio: f64) -> Vec<f64> {
        let mut scheduler = cosine_with_warmup(0.1, steps, warmup_ratio).unwrap();
        (0..steps).map(|_| scheduler.step().base()).collect()
    }

    #[test]
    fn rises_to_the_peak_and_falls_towards_zero() {
        let rates = rates(100, 0.1);
        assert!(rates[..10].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
        assert_abs_diff_eq!(rates[10], 0.1, epsilon = 1e-12);
        assert!(rates[0] > 0.0);
        assert!(rates[99] < 1e-4);
    }

    #[test]
    fn without_warmup_the_first_step_is_the_peak() {
        assert_eq!(rates(10, 0.0)[0], 0.1);
    }

    #[test]
    fn impossible_settings_are_refused() {
        assert!(cosine_with_warmup(0.0, 10, 0.0).is_err());
        assert!(cosine_with_warmup(2.0, 10, 0.1).is_err());
        assert!(cosine_with_warmup(f64::NAN, 10, 0.1).is_err());
        assert!(cosine_with_warmup(0.1, 10, 1.0).is_err());
    }
}
