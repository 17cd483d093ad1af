//! The normal distribution wrapped around the circle.

use std::f64::consts::PI;

use super::blocks::wrap_one;

/// Windings that are summed on either side; the next one weighs less than 1e-17 at the largest variance that is of use.
const WINDINGS: i32 = 3;

/// `d/dphi log q(phi | mu, v)` of the wrapped normal with mean `mu` and variance `v`, at `phi - mu = delta`:
///
/// ```text
/// - sum_n (delta + 2 pi n) / v  w_n / sum_n w_n,   w_n = exp(-(delta + 2 pi n)^2 / (2 v))
/// ```
pub(super) fn score(delta: f64, variance: f64) -> f64 {
    let delta = wrap_one(delta);
    // Relative to the largest weight, that of no winding: none underflows that matters.
    let (mut weights, mut sum) = (0.0, 0.0);
    for winding in -WINDINGS..=WINDINGS {
        let at = delta + 2.0 * PI * f64::from(winding);
        let weight = ((delta * delta - at * at) / (2.0 * variance)).exp();
        weights += weight;
        sum += weight * at;
    }
    -sum / (weights * variance)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    fn log_density(delta: f64, variance: f64) -> f64 {
        let exponent = |n: i32| -(delta + 2.0 * PI * f64::from(n)).powi(2) / (2.0 * variance);
        let largest = (-60..=60).map(exponent).fold(f64::NEG_INFINITY, f64::max);
        largest + (-60..=60).map(|n| (exponent(n) - largest).exp()).sum::<f64>().ln()
    }

    #[test]
    fn it_is_the_derivative_of_the_log_density() {
        for variance in [0.005, 0.1, 1.0, 2.0, 6.0] {
            for step in -31..=31 {
                let delta = f64::from(step) / 10.0;
                let h = 1e-5;
                let numeric =
                    (log_density(delta + h, variance) - log_density(delta - h, variance)) / (2.0 * h);
                // Of a density of two humps, differences lose digits.
                assert_relative_eq!(score(delta, variance), numeric, epsilon = 1e-5, max_relative = 1e-5);
            }
        }
    }

    #[test]
    fn it_is_periodic_and_odd() {
        for delta in [0.3, 1.7, 3.0] {
            assert_relative_eq!(score(delta, 0.4), score(delta - 4.0 * PI, 0.4), max_relative = 1e-12);
            assert_relative_eq!(score(delta, 0.4), -score(-delta, 0.4), max_relative = 1e-12);
        }
    }
}
