//! Ridge solves, and functions of a symmetric matrix.

use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, MatMut, MatRef};

use super::eigen::{Eigen, symmetric_eigen};
use super::error::{LinalgError, require_finite};
use super::gram::mirror_upper;
use super::parallelism::all_threads;
use super::products::matmul;

/// `R (G + ridge I)⁻¹` for the symmetric `gram` of shape `[dim, dim]`, of which only the upper
/// triangle is read, and `rhs` of shape `[_, dim]`. Where `G + ridge I` is not numerically positive
/// definite, its pseudo-inverse stands in for the inverse.
///
/// It uses the eigenvalues, because the pivots of a Cholesky factor do not reveal a singular
/// matrix: a small one among them makes the next ones noise.
pub fn ridge_solve(gram: &[f64], rhs: &[f64], dim: usize, ridge: f64) -> Result<Vec<f64>, LinalgError> {
    assert_eq!(gram.len(), dim * dim, "the Gram matrix is not [{dim}, {dim}]");
    assert!(
        rhs.is_empty() || rhs.len().is_multiple_of(dim),
        "the right-hand side does not have {dim} columns"
    );
    require_finite(rhs)?;
    let eigen = symmetric_eigen(gram, dim)?;
    if rhs.is_empty() {
        return Ok(Vec::new());
    }
    let largest = eigen.values.iter().fold(0.0_f64, |largest, value| largest.max((value + ridge).abs()));
    let cutoff = dim as f64 * f64::EPSILON * largest;
    let invert = |value: f64| if (value + ridge).abs() > cutoff { (value + ridge).recip() } else { 0.0 };
    let inverse = symmetric_function(&eigen, dim, invert);
    Ok(matmul(rhs, [rhs.len() / dim, dim], &inverse, [dim, dim]))
}

/// `V f(Λ) Vᵀ`, exactly symmetric, for the eigenvalues `Λ` and eigenvectors `V` of a decomposition.
pub fn symmetric_function(eigen: &Eigen, dim: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let rank = eigen.values.len();
    let mut scaled = eigen.vectors.clone();
    for (row, &value) in scaled.chunks_exact_mut(dim.max(1)).zip(&eigen.values) {
        let factor = f(value);
        row.iter_mut().for_each(|component| *component *= factor);
    }
    let mut result = vec![0.0; dim * dim];
    triangular_matmul(
        MatMut::from_row_major_slice_mut(&mut result, dim, dim),
        BlockStructure::TriangularUpper,
        Accum::Replace,
        MatRef::from_row_major_slice(&eigen.vectors, rank, dim).transpose(),
        BlockStructure::Rectangular,
        MatRef::from_row_major_slice(&scaled, rank, dim),
        BlockStructure::Rectangular,
        1.0,
        all_threads(),
    );
    mirror_upper(&mut result, dim);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::products::matmul_transposed_a;
    use super::super::testing::{distance, gaussian, identity, planted};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The solution times the shifted Gram matrix gives the right-hand side back.
        #[test]
        fn solution_satisfies_the_equation(dim in 1_usize..150, rows in 0_usize..40, seed: u64) {
            let values: Vec<f64> = gaussian(dim, seed).iter().map(|value| value.abs()).collect();
            let (gram, rhs) = (planted(&values, seed), gaussian(rows * dim, seed ^ 1));
            let solution = ridge_solve(&gram, &rhs, dim, 0.1).unwrap();
            let mut shifted = gram;
            shifted.iter_mut().step_by(dim + 1).for_each(|value| *value += 0.1);
            let rebuilt = matmul(&solution, [rows, dim], &shifted, [dim, dim]);
            prop_assert!(distance(&rebuilt, &rhs) < 1e-12 * dim as f64);
        }

        /// Without a ridge, a singular Gram matrix is inverted on its span alone.
        #[test]
        fn singular_gram_uses_the_pseudo_inverse(dim in 2_usize..60, seed: u64) {
            let rank = dim.div_ceil(2);
            let mut values = vec![0.0; dim];
            (0..rank).for_each(|index| values[index] = 1.0 + index as f64);
            let gram = planted(&values, seed);
            let inverse = ridge_solve(&gram, &identity(dim), dim, 0.0).unwrap();
            values[..rank].iter_mut().for_each(|value| *value = value.recip());
            prop_assert!(distance(&inverse, &planted(&values, seed)) < 1e-12);
        }

        /// The square of the square root, and the exponential's inverse, behave as functions do.
        #[test]
        fn functions_compose(dim in 1_usize..120, seed: u64) {
            let values: Vec<f64> = gaussian(dim, seed).iter().map(|value| value.abs()).collect();
            let matrix = planted(&values, seed);
            let eigen = symmetric_eigen(&matrix, dim).unwrap();
            let root = symmetric_function(&eigen, dim, |value| value.max(0.0).sqrt());
            prop_assert!(distance(&matmul_transposed_a(&root, [dim, dim], &root, [dim, dim]), &matrix) < 1e-12);
            let (up, down) =
                (symmetric_function(&eigen, dim, f64::exp), symmetric_function(&eigen, dim, |value| (-value).exp()));
            prop_assert!(distance(&matmul(&up, [dim, dim], &down, [dim, dim]), &identity(dim)) < 1e-10);
            prop_assert!((0..dim * dim).all(|index| root[index] == root[index % dim * dim + index / dim]));
        }
    }

    /// Small matrices, whose last pivot would sometimes be rounding and yet far from zero.
    #[test]
    fn singular_matrices_of_any_orientation_are_detected() {
        for seed in (0..2000).chain([11511495022545063803]) {
            let gram = planted(&[1.0, 2.0, 0.0], seed);
            let inverse = ridge_solve(&gram, &identity(3), 3, 0.0).unwrap();
            assert!(distance(&inverse, &planted(&[1.0, 0.5, 0.0], seed)) < 1e-12, "{seed}");
        }
    }

    #[test]
    fn bad_input_is_refused() {
        assert_eq!(ridge_solve(&[f64::NAN], &[1.0], 1, 0.0), Err(LinalgError::NotFinite));
        assert_eq!(ridge_solve(&[1.0], &[f64::INFINITY], 1, 0.0), Err(LinalgError::NotFinite));
        assert_eq!(ridge_solve(&[0.0], &[1.0], 1, 0.0), Ok(vec![0.0]));
        assert_eq!(ridge_solve(&[-2.0], &[1.0], 1, 0.0), Ok(vec![-0.5]));
    }
}
