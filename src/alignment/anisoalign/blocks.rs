//! Circular blocks: pairs of coordinates of the frame in polar form (arXiv 2605.07825, Sec. 4).

use std::f64::consts::PI;

use burn::tensor::Tensor;

/// Radii and phases of coordinates `[n, r]`, of which the first half are the `a_k` and the second half the `b_k`:
/// `rho = sqrt(a^2 + b^2 + eps)` and `theta = atan2(b, a)`, both `[n, r / 2]`.
pub(super) fn polar(coordinates: Tensor<2>, eps: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let blocks = coordinates.dims()[1] / 2;
    let a = coordinates.clone().narrow(1, 0, blocks);
    let b = coordinates.narrow(1, blocks, blocks);
    let radius = (a.clone() * a.clone() + b.clone() * b.clone() + eps).sqrt();
    (radius, b.atan2(a))
}

/// The coordinates of radii and phases; the inverse of [`polar`] but for its `eps`.
pub(super) fn cartesian(radius: Tensor<2>, phase: Tensor<2>) -> Tensor<2> {
    Tensor::cat(vec![radius.clone() * phase.clone().cos(), radius * phase.sin()], 1)
}

/// Phases brought back to `[-pi, pi]`, without a trace in gradients.
pub(super) fn wrap(phase: Tensor<2>) -> Tensor<2> {
    let turns = (phase.clone() / (2.0 * PI)).detach().round();
    phase - turns * (2.0 * PI)
}

/// As [`wrap`], for one phase.
pub(super) fn wrap_one(phase: f64) -> f64 {
    phase - (phase / (2.0 * PI)).round() * 2.0 * PI
}

/// As [`polar`], for rows of coordinates on the host, in float64: all radii, then all phases.
pub(super) fn polar_rows(coordinates: &[f32], rank: usize, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let blocks = rank / 2;
    let rows = coordinates.chunks_exact(rank);
    let pairs = rows.flat_map(|row| row[..blocks].iter().zip(&row[blocks..]));
    pairs
        .map(|(&a, &b)| {
            let (a, b) = (f64::from(a), f64::from(b));
            ((a * a + b * b + eps).sqrt(), b.atan2(a))
        })
        .unzip()
}

/// `kappa = sqrt((e^{a_rho} - 1)^2 + 4 e^{a_rho} sin^2(a_theta / 2))`: no block moves by more than `kappa rho` where
/// its phase moves by at most `a_theta` and the logarithm of its radius by at most `a_rho` (arXiv 2605.07825, App. A).
pub(super) fn kappa(phase_bound: f64, radius_bound: f64) -> f64 {
    let growth = radius_bound.exp();
    ((growth - 1.0).powi(2) + 4.0 * growth * (phase_bound / 2.0).sin().powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use burn::tensor::{Device, Distribution};
    use rand::RngExt;

    use super::*;
    use crate::random::seeded_rng;

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn polar_and_back_is_the_identity() {
        let device = Device::default();
        let rows = Tensor::<2>::random([40, 6], Distribution::Normal(0.0, 1.0), &device);
        let eps = Tensor::<2>::full([1, 1], 1e-12, &device);
        let (radius, phase) = polar(rows.clone(), eps);
        let (host_radius, host_phase) = polar_rows(&values(rows.clone()), 6, 1e-12);
        for (a, b) in values(radius.clone()).iter().zip(host_radius) {
            assert_abs_diff_eq!(f64::from(*a), b, epsilon = 1e-6);
        }
        for (a, b) in values(phase.clone()).iter().zip(host_phase) {
            assert_abs_diff_eq!(f64::from(*a), b, epsilon = 1e-6);
        }
        assert!((cartesian(radius, phase) - rows).abs().max().into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn wrapping_keeps_the_angle_and_leaves_what_is_within_alone() {
        let device = Device::default();
        let phases = Tensor::<2>::random([30, 5], Distribution::Uniform(-12.0, 12.0), &device);
        let wrapped = wrap(phases.clone());
        assert!(wrapped.clone().abs().max().into_scalar::<f64>() <= PI + 1e-6);
        assert!((wrapped.clone().cos() - phases.clone().cos()).abs().max().into_scalar::<f32>() < 1e-5);
        assert!((wrapped.clone().sin() - phases.sin()).abs().max().into_scalar::<f32>() < 1e-5);
        assert_eq!(values(wrap(wrapped.clone())), values(wrapped));
    }

    /// `|s e^{i D} - 1| <= kappa` over all admissible `s` and `D`, met at a corner.
    #[test]
    fn kappa_bounds_every_admissible_move_and_is_met() {
        let mut rng = seeded_rng(5, &[]);
        for (phase, radius) in [(0.1, 0.1), (1.0, 0.3), (0.0, 0.2), (3.0, 0.0), (0.4, 1.5)] {
            let moved = |shift: f64, growth: f64| {
                let s = growth.exp();
                (s * shift.cos() - 1.0).hypot(s * shift.sin())
            };
            let bound = kappa(phase, radius);
            for _ in 0..2000 {
                let draw = |rng: &mut rand::rngs::Xoshiro256PlusPlus| 2.0 * rng.random::<f64>() - 1.0;
                assert!(moved(phase * draw(&mut rng), radius * draw(&mut rng)) <= bound + 1e-12);
            }
            assert_abs_diff_eq!(moved(phase, radius), bound, epsilon = 1e-12);
        }
    }
}
