//! Principal angles between subspaces, and the spectral norm.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{ColMut, MatRef};

use super::error::{LinalgError, require_finite};
use super::parallelism::fixed_parts;
use super::products::{matmul, matmul_transposed_b};

/// Principal angles in radians, ascending, between the spans of the orthonormal rows of `u` and of
/// `v`, both with `dim` columns; as many as the smaller span has dimensions. Angles below π/4 come
/// from their sines, the others from their cosines (Björck & Golub 1973), so that none loses digits.
pub fn principal_angles(u: &[f64], v: &[f64], dim: usize) -> Result<Vec<f64>, LinalgError> {
    let (larger, smaller) = if u.len() >= v.len() { (u, v) } else { (v, u) };
    let [p, q] = [larger, smaller].map(|rows| rows.len() / dim.max(1));
    assert!(larger.len() == p * dim && smaller.len() == q * dim, "the rows do not have {dim} columns");
    let overlap = matmul_transposed_b(smaller, [q, dim], larger, [p, dim]);
    let cosines = singular_values(&overlap, [q, p])?;
    let mut outside = matmul(&overlap, [q, p], larger, [p, dim]);
    outside.iter_mut().zip(smaller).for_each(|(inside, value)| *inside = value - *inside);
    let sines = singular_values(&outside, [q, dim])?;
    let angle = |(cosine, sine): (&f64, &f64)| {
        if cosine * cosine >= 0.5 { sine.min(1.0).asin() } else { cosine.min(1.0).acos() }
    };
    let mut angles: Vec<f64> = cosines.iter().zip(sines.iter().rev()).map(angle).collect();
    angles.sort_by(f64::total_cmp);
    Ok(angles)
}

/// Largest singular value of a `[m, n]` matrix.
pub fn spectral_norm(matrix: &[f64], shape: [usize; 2]) -> Result<f64, LinalgError> {
    Ok(singular_values(matrix, shape)?.first().copied().unwrap_or(0.0))
}

/// Singular values of a `[m, n]` matrix in descending order.
pub fn singular_values(matrix: &[f64], [m, n]: [usize; 2]) -> Result<Vec<f64>, LinalgError> {
    require_finite(matrix)?;
    let mut values = vec![0.0; m.min(n)];
    if values.is_empty() {
        return Ok(values);
    }
    let (par, none) = (fixed_parts(), ComputeSvdVectors::No);
    let mut memory = MemBuffer::new(svd_scratch::<f64>(m, n, none, none, par, Default::default()));
    svd(
        MatRef::from_row_major_slice(matrix, m, n),
        ColMut::from_slice_mut(&mut values).as_diagonal_mut(),
        None,
        None,
        par,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| LinalgError::NoConvergence)?;
    require_finite(&values)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::super::testing::{gaussian, planted, random_frame};
    use super::*;

    /// Frames of `angles.len()` rows in `dim` dimensions, at the given principal angles.
    fn rotated_frames(angles: &[f64], dim: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let rank = angles.len();
        let frame = random_frame(2 * rank, dim, seed);
        let (u, normal) = frame.split_at(rank * dim);
        let rotated = |index: usize| {
            let (sine, cosine) = angles[index / dim].sin_cos();
            cosine * u[index] + sine * normal[index]
        };
        (u.to_vec(), (0..rank * dim).map(rotated).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Planted angles from 1e-12 to a right angle are found, in any basis of the second span.
        #[test]
        fn planted_angles_are_found(
            mut angles in prop::collection::vec(
                prop_oneof![(-12.0..0.0).prop_map(|e: f64| 10_f64.powf(e)), 0.0..FRAC_PI_2, Just(FRAC_PI_2), Just(0.0)],
                1..12,
            ),
            extra in 0_usize..20,
            seed: u64,
        ) {
            let (rank, dim) = (angles.len(), 2 * angles.len() + extra);
            let (u, v) = rotated_frames(&angles, dim, seed);
            let basis = random_frame(rank, rank, seed ^ 1);
            let v = matmul(&basis, [rank, rank], &v, [rank, dim]);
            angles.sort_by(f64::total_cmp);
            for found in [principal_angles(&u, &v, dim).unwrap(), principal_angles(&v, &u, dim).unwrap()] {
                for (found, expected) in found.iter().zip(&angles) {
                    assert_abs_diff_eq!(*found, *expected, epsilon = 1e-14 * 50.0);
                }
            }
        }

        /// A span within another one is at angle zero, and there are as many angles as dimensions of
        /// the smaller span.
        #[test]
        fn contained_spans_are_at_angle_zero(p in 1_usize..20, q in 0_usize..20, extra in 0_usize..20, seed: u64) {
            let (dim, q) = (p + extra, q.min(p));
            let u = random_frame(p, dim, seed);
            let angles = principal_angles(&u, &u[..q * dim], dim).unwrap();
            prop_assert_eq!(angles.len(), q);
            prop_assert!(angles.iter().all(|&angle| angle < 1e-14));
        }

        /// The spectral norm of a symmetric matrix is its largest eigenvalue in magnitude.
        #[test]
        fn spectral_norm_is_the_largest_magnitude(dim in 1_usize..90, seed: u64) {
            let values = gaussian(dim, seed);
            let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            let norm = spectral_norm(&planted(&values, seed), [dim, dim]).unwrap();
            assert_abs_diff_eq!(norm, largest, epsilon = 1e-12 * largest);
        }
    }

    #[test]
    fn bad_input_is_refused() {
        assert_eq!(spectral_norm(&[1.0, f64::NAN], [1, 2]), Err(LinalgError::NotFinite));
        assert_eq!(principal_angles(&[f64::INFINITY, 0.0], &[1.0, 0.0], 2), Err(LinalgError::NotFinite));
        assert_eq!(spectral_norm(&[], [0, 3]), Ok(0.0));
        assert_eq!(spectral_norm(&[0.0; 6], [2, 3]), Ok(0.0));
    }
}
