//! Eigendecomposition of a dense symmetric matrix.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{ColMut, MatMut, MatRef};

use super::error::{LinalgError, require_finite};
use super::parallelism::fixed_parts;

/// Eigenvalues of a symmetric matrix with their eigenvectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigen {
    /// Eigenvalues in descending order.
    pub values: Vec<f64>,
    /// Unit eigenvectors, row-major `[dim, dim]`: row `k` belongs to `values[k]`.
    pub vectors: Vec<f64>,
}

/// Decomposes the symmetric `[dim, dim]` matrix, of which only the upper triangle is read. The
/// component of largest magnitude of each eigenvector (the first one on ties) is positive.
pub fn symmetric_eigen(matrix: &[f64], dim: usize) -> Result<Eigen, LinalgError> {
    let mut values = vec![0.0; dim];
    let mut vectors = vec![0.0; dim * dim];
    decompose(matrix, dim, &mut values, Some(&mut vectors))?;
    values.reverse();
    reverse_rows(&mut vectors, dim);
    orient_rows(&mut vectors, dim);
    Ok(Eigen { values, vectors })
}

/// Eigenvalues of the symmetric `[dim, dim]` matrix in descending order; only the upper triangle is
/// read.
pub fn symmetric_eigenvalues(matrix: &[f64], dim: usize) -> Result<Vec<f64>, LinalgError> {
    let mut values = vec![0.0; dim];
    decompose(matrix, dim, &mut values, None)?;
    values.reverse();
    Ok(values)
}

/// Runs faer on the upper triangle: ascending eigenvalues and, in the rows of `vectors`, their
/// eigenvectors.
fn decompose(
    matrix: &[f64],
    dim: usize,
    values: &mut [f64],
    vectors: Option<&mut Vec<f64>>,
) -> Result<(), LinalgError> {
    assert_eq!(matrix.len(), dim * dim, "the matrix is not [{dim}, {dim}]");
    if dim == 0 {
        return Ok(());
    }
    let (scaled, scale) = normalised_upper(matrix, dim)?;
    let wanted = if vectors.is_some() { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
    let par = fixed_parts();
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(dim, wanted, par, Default::default()));
    // faer reads the lower triangle; read column by column, a row-major upper triangle is one.
    self_adjoint_evd(
        MatRef::from_column_major_slice(&scaled, dim, dim),
        ColMut::from_slice_mut(values).as_diagonal_mut(),
        vectors.map(|vectors| MatMut::from_column_major_slice_mut(vectors, dim, dim)),
        par,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| LinalgError::NoConvergence)?;
    values.iter_mut().for_each(|value| *value /= scale);
    require_finite(values)
}

/// The upper triangle times the power of two that brings its largest magnitude into `[1, 2)`, and
/// that power. faer's divide-and-conquer step has absolute tolerances: where the norm is far above or
/// below one, it silently loses most digits.
fn normalised_upper(matrix: &[f64], dim: usize) -> Result<(Vec<f64>, f64), LinalgError> {
    let mut largest = 0.0_f64;
    for row in 0..dim {
        let upper = &matrix[row * dim + row..(row + 1) * dim];
        require_finite(upper)?;
        largest = upper.iter().fold(largest, |largest, value| largest.max(value.abs()));
    }
    let exponent = if largest > 0.0 { -largest.log2().floor() } else { 0.0 };
    // Powers beyond these are not normal numbers.
    let scale = exponent.clamp(-1000.0, 1000.0).exp2();
    let mut scaled = vec![0.0; dim * dim];
    for row in 0..dim {
        let upper = row * dim + row..(row + 1) * dim;
        let values = scaled[upper.clone()].iter_mut().zip(&matrix[upper]);
        values.for_each(|(scaled, value)| *scaled = value * scale);
    }
    Ok((scaled, scale))
}

/// Reverses the order of the rows of a `[_, dim]` matrix in place.
fn reverse_rows(rows: &mut [f64], dim: usize) {
    let count = rows.len() / dim.max(1);
    let (front, back) = rows.split_at_mut(count.div_ceil(2) * dim);
    let last_first = back.chunks_exact_mut(dim.max(1)).rev();
    front.chunks_exact_mut(dim.max(1)).zip(last_first).for_each(|(a, b)| a.swap_with_slice(b));
}

/// Flips each row so that its component of largest magnitude, the first one on ties, is positive.
fn orient_rows(rows: &mut [f64], dim: usize) {
    for row in rows.chunks_exact_mut(dim.max(1)) {
        let largest =
            row.iter().fold(0.0_f64, |best, value| if value.abs() > best.abs() { *value } else { best });
        if largest < 0.0 {
            row.iter_mut().for_each(|value| *value = -*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::super::products::{matmul_transposed_a, matmul_transposed_b};
    use super::super::solve::symmetric_function;
    use super::super::testing::{distance, gaussian, identity, planted};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// A Gram matrix of any rank and scale is rebuilt from orthonormal eigenvectors, and the traces agree.
        #[test]
        fn decomposition_rebuilds_the_matrix(
            dim in 1_usize..300,
            rank in 1_usize..300,
            exponent in -60_i32..60,
            seed: u64,
        ) {
            let mut x = gaussian(rank * dim, seed);
            x.iter_mut().for_each(|value| *value *= f64::from(exponent).exp2());
            let matrix = matmul_transposed_a(&x, [rank, dim], &x, [rank, dim]);
            let eigen = symmetric_eigen(&matrix, dim).unwrap();
            let scale = eigen.values[0];
            prop_assert!(eigen.values.is_sorted_by(|a, b| a >= b));
            prop_assert!(distance(&symmetric_function(&eigen, dim, |value| value), &matrix) < 1e-12 * scale);
            let overlaps = matmul_transposed_b(&eigen.vectors, [dim, dim], &eigen.vectors, [dim, dim]);
            prop_assert!(distance(&overlaps, &identity(dim)) < 1e-12);
            let values = symmetric_eigenvalues(&matrix, dim).unwrap();
            prop_assert!(distance(&values, &eigen.values) < 1e-12 * scale);
            let trace: f64 = matrix.iter().step_by(dim + 1).sum();
            assert_abs_diff_eq!(trace, values.iter().sum::<f64>(), epsilon = 1e-12 * trace);
        }

        /// Planted eigenvalues, negative and repeated ones too, are found.
        #[test]
        fn planted_values_are_found(
            mut values in prop::collection::vec((-3_i8..4).prop_map(f64::from), 1..200),
            seed: u64,
        ) {
            let matrix = planted(&values, seed);
            values.sort_by(|a, b| b.total_cmp(a));
            prop_assert!(distance(&symmetric_eigenvalues(&matrix, values.len()).unwrap(), &values) < 1e-12);
        }

        /// Signs follow the convention, and a second run gives the same bits.
        #[test]
        fn signs_are_deterministic(dim in 1_usize..150, seed: u64) {
            let matrix = planted(&gaussian(dim, seed), seed);
            let eigen = symmetric_eigen(&matrix, dim).unwrap();
            for row in eigen.vectors.chunks_exact(dim) {
                let largest = row.iter().fold(0.0_f64, |best, value| best.max(value.abs()));
                prop_assert_eq!(row.iter().find(|value| value.abs() == largest), Some(&largest));
            }
            prop_assert_eq!(symmetric_eigen(&matrix, dim).unwrap(), eigen);
        }

        /// Only the upper triangle counts, at any scale of the entries.
        #[test]
        fn lower_triangle_and_scale_do_not_matter(dim in 2_usize..140, exponent in -1000_i32..990) {
            let matrix = planted(&gaussian(dim, 5), 6);
            let expected = symmetric_eigenvalues(&matrix, dim).unwrap();
            let scale = f64::from(exponent).exp2();
            let mut scaled: Vec<f64> = matrix.iter().map(|value| value * scale).collect();
            (1..dim).for_each(|row| scaled[row * dim..row * dim + row].fill(f64::NAN));
            let values: Vec<f64> =
                symmetric_eigen(&scaled, dim).unwrap().values.iter().map(|value| value / scale).collect();
            prop_assert!(distance(&values, &expected) < 1e-11);
        }
    }

    #[test]
    fn small_and_degenerate_matrices_decompose() {
        assert!(symmetric_eigen(&[], 0).unwrap().values.is_empty());
        assert_eq!(symmetric_eigen(&[-2.0], 1), Ok(Eigen { values: vec![-2.0], vectors: vec![1.0] }));
        for dim in [2, 129, 400] {
            assert_eq!(symmetric_eigen(&vec![0.0; dim * dim], dim).unwrap().values, vec![0.0; dim]);
            assert_eq!(symmetric_eigen(&identity(dim), dim).unwrap().values, vec![1.0; dim]);
            let ones = symmetric_eigen(&vec![1.0; dim * dim], dim).unwrap();
            assert_abs_diff_eq!(ones.values[0], dim as f64, epsilon = 1e-12 * dim as f64);
            assert_abs_diff_eq!(ones.values[1], 0.0, epsilon = 1e-12 * dim as f64);
        }
    }

    #[test]
    fn values_that_are_not_finite_are_refused() {
        for (dim, bad) in [(1, f64::NAN), (3, f64::INFINITY), (200, f64::NAN), (200, f64::NEG_INFINITY)] {
            let mut matrix = identity(dim);
            matrix[dim - 1] = bad;
            assert_eq!(symmetric_eigen(&matrix, dim), Err(LinalgError::NotFinite));
            assert_eq!(symmetric_eigenvalues(&matrix, dim), Err(LinalgError::NotFinite));
        }
        let huge = vec![f64::MAX; 400 * 400];
        assert_eq!(symmetric_eigen(&huge, 400), Err(LinalgError::NotFinite));
    }
}
