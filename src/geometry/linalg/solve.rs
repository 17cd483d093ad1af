//! Ridge solves, and functions of a symmetric matrix.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, MatMut, MatRef};

use super::eigen::{Eigen, symmetric_eigen};
use super::error::{LinalgError, require_finite};
use super::gram::mirror_upper;
use super::parallelism::{all_threads, fixed_parts};
use super::products::matmul;

/// `R (G + ridge I)⁻¹` for the symmetric `gram` of shape `[dim, dim]`, of which only the upper
/// triangle is read, and `rhs` of shape `[_, dim]`. Where `G + ridge I` is not numerically positive
/// definite, its pseudo-inverse stands in for the inverse.
pub fn ridge_solve(gram: &[f64], rhs: &[f64], dim: usize, ridge: f64) -> Result<Vec<f64>, LinalgError> {
    assert_eq!(gram.len(), dim * dim, "the Gram matrix is not [{dim}, {dim}]");
    assert!(
        rhs.is_empty() || rhs.len().is_multiple_of(dim),
        "the right-hand side does not have {dim} columns"
    );
    let mut shifted = gram.to_vec();
    shifted.iter_mut().step_by(dim + 1).for_each(|value| *value += ridge);
    mirror_upper(&mut shifted, dim);
    require_finite(&shifted)?;
    require_finite(rhs)?;
    if rhs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = rhs.len() / dim;
    if let Some(factor) = cholesky_factor(&shifted, dim) {
        let mut solution = rhs.to_vec();
        llt::solve::solve_in_place(
            MatRef::from_column_major_slice(&factor, dim, dim),
            MatMut::from_column_major_slice_mut(&mut solution, dim, rows),
            fixed_parts(),
            MemStack::new(&mut []),
        );
        return Ok(solution);
    }
    let eigen = symmetric_eigen(&shifted, dim)?;
    let largest = eigen.values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let cutoff = relative_cutoff(dim) * largest;
    let invert = |value: f64| if value.abs() > cutoff { value.recip() } else { 0.0 };
    let inverse = symmetric_function(&eigen, dim, invert);
    Ok(matmul(rhs, [rows, dim], &inverse, [dim, dim]))
}

/// `V f(Λ) Vᵀ`, exactly symmetric, for the eigenvalues `Λ` and eigenvectors `V` at hand: a truncated
/// decomposition gives the function restricted to its span.
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

/// The column-major lower Cholesky factor, or nothing where a pivot is not positive or is lost in
/// the rounding of the largest one.
fn cholesky_factor(matrix: &[f64], dim: usize) -> Option<Vec<f64>> {
    let mut factor = matrix.to_vec();
    let par = fixed_parts();
    let scratch = llt::factor::cholesky_in_place_scratch::<f64>(dim, par, Default::default());
    llt::factor::cholesky_in_place(
        MatMut::from_column_major_slice_mut(&mut factor, dim, dim),
        Default::default(),
        par,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    let pivots = || factor.iter().step_by(dim + 1).map(|root| root * root);
    let largest = pivots().fold(0.0, f64::max);
    pivots().all(|pivot| pivot > relative_cutoff(dim) * largest).then_some(factor)
}

/// Share of the largest eigenvalue below which an eigenvalue is rounding noise.
fn relative_cutoff(dim: usize) -> f64 {
    dim as f64 * f64::EPSILON
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

    #[test]
    fn bad_input_is_refused() {
        assert_eq!(ridge_solve(&[f64::NAN], &[1.0], 1, 0.0), Err(LinalgError::NotFinite));
        assert_eq!(ridge_solve(&[1.0], &[f64::INFINITY], 1, 0.0), Err(LinalgError::NotFinite));
        assert_eq!(ridge_solve(&[0.0], &[1.0], 1, 0.0), Ok(vec![0.0]));
        assert_eq!(ridge_solve(&[-2.0], &[1.0], 1, 0.0), Ok(vec![-0.5]));
    }
}
