//! Leading eigenpairs of a positive semidefinite matrix by randomised subspace iteration.

use std::ops::ControlFlow;

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_householder,
};
use faer::linalg::matmul::matmul as faer_matmul;
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::{Accum, Conj, Mat, MatMut, MatRef};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::eigen::{Eigen, orient_rows, symmetric_eigen};
use super::error::{LinalgError, require_finite};
use super::gram::{add_gram_double, mirror_upper};
use super::parallelism::{all_threads, fixed_parts};
use super::products::{matmul, matmul_transposed_b};

/// Below this dimension the full decomposition is the faster one.
const FULL_BELOW: usize = 64;
/// Above this share of the dimension, as its reciprocal, so is it for a wanted rank.
const FULL_ABOVE: usize = 20;
/// Rows of one pass over the data: few enough that the second product finds them in the cache.
const PASS_CHUNK: usize = 512;
/// Residual of a converged pair, relative to its eigenvalue.
const TOLERANCE: f64 = 1e-11;
/// Residual that rounding allows, relative to the largest eigenvalue.
const ROUNDING: f64 = 1e-13;
/// Greatest ratio by which a filter may amplify one wanted direction over another before rounding
/// drowns the weaker one.
const AMPLIFICATION: f64 = 1e6;
/// Greatest degree of a filter between two orthonormalisations.
const MAX_DEGREE: usize = 12;

/// The `rank` leading eigenpairs of a symmetric positive semidefinite `[dim, dim]` matrix, both
/// triangles of which are read; residuals reach 1e-11 of the eigenvalue or 1e-13 of the largest one.
/// Decomposes in full where `rank` exceeds a twentieth of `dim` or the spectrum decays too slowly.
pub fn leading_eigen(matrix: &[f64], dim: usize, rank: usize, seed: u64) -> Result<Eigen, LinalgError> {
    assert_eq!(matrix.len(), dim * dim, "the matrix is not [{dim}, {dim}]");
    require_finite(matrix)?;
    if worth_iterating(dim, rank) {
        let apply = |block: &[f64]| matmul(block, [block.len() / dim, dim], matrix, [dim, dim]);
        if let Some(eigen) = subspace_iteration(apply, dim, rank, seed)? {
            return Ok(eigen);
        }
    }
    Ok(truncated(symmetric_eigen(matrix, dim)?, dim, rank))
}

/// The `rank` leading eigenpairs of `Xᵀ X / n` for the centred `[n, dim]` rows `X`. The product is
/// formed only where [`leading_eigen`] would decompose in full.
pub fn leading_eigen_of_rows(rows: &[f64], dim: usize, rank: usize, seed: u64) -> Result<Eigen, LinalgError> {
    assert!(rows.is_empty() || rows.len().is_multiple_of(dim), "the rows do not have {dim} columns");
    require_finite(rows)?;
    let n = rows.len() / dim.max(1);
    let weight = (n.max(1) as f64).recip();
    if n > 0 && worth_iterating(dim, rank) {
        let apply = |block: &[f64]| apply_covariance(rows, block, dim);
        if let Some(eigen) = subspace_iteration(apply, dim, rank, seed)? {
            return Ok(eigen);
        }
    }
    let mut covariance = vec![0.0; dim * dim];
    add_gram_double(&mut covariance, rows, dim);
    covariance.iter_mut().for_each(|value| *value *= weight);
    mirror_upper(&mut covariance, dim);
    Ok(truncated(symmetric_eigen(&covariance, dim)?, dim, rank))
}

/// `B Xᵀ X / n` for a `[_, dim]` block `B` and the rows `X`.
fn apply_covariance(rows: &[f64], block: &[f64], dim: usize) -> Vec<f64> {
    let count = block.len() / dim;
    let weight = dim as f64 / rows.len() as f64;
    let mut image = vec![0.0; block.len()];
    for rows in rows.chunks(PASS_CHUNK * dim) {
        let x = MatRef::from_row_major_slice(rows, rows.len() / dim, dim);
        let scores = matmul_transposed_b(block, [count, dim], rows, [x.nrows(), dim]);
        let scores = MatRef::from_row_major_slice(&scores, count, x.nrows());
        let target = MatMut::from_row_major_slice_mut(&mut image, count, dim);
        faer_matmul(target, Accum::Add, scores, x, weight, all_threads());
    }
    image
}

/// Whether an iteration can beat the full decomposition.
fn worth_iterating(dim: usize, rank: usize) -> bool {
    dim >= FULL_BELOW && rank <= dim / FULL_ABOVE
}

/// Keeps the `rank` leading pairs.
fn truncated(mut eigen: Eigen, dim: usize, rank: usize) -> Eigen {
    eigen.values.truncate(rank);
    eigen.vectors.truncate(rank * dim);
    eigen
}

/// Subspace iteration from a random start (Halko, Martinsson & Tropp 2011) with a Chebyshev filter
/// (Zhou & Saad 2007) on the operator `apply`, which maps each row of a `[_, dim]` block; nothing
/// where the work would exceed that of the full decomposition.
fn subspace_iteration(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    dim: usize,
    rank: usize,
    seed: u64,
) -> Result<Option<Eigen>, LinalgError> {
    let count = (2 * rank + 8).min(dim);
    let mut budget = 8 + 2 * dim / count;
    let mut random = StdRng::seed_from_u64(seed);
    let start: Vec<f64> = (0..count * dim).map(|_| StandardNormal.sample(&mut random)).collect();
    let mut basis = orthonormal_rows(apply(&start), dim);
    loop {
        let image = apply(&basis);
        let projected = matmul_transposed_b(&basis, [count, dim], &image, [count, dim]);
        let ritz = symmetric_eigen(&projected, count)?;
        let rotate = |block: &[f64]| matmul(&ritz.vectors, [count, count], block, [count, dim]);
        let (vectors, images) = (rotate(&basis), rotate(&image));
        if converged(&ritz.values, &vectors, &images, dim, rank) {
            let mut eigen = Eigen { values: ritz.values, vectors };
            orient_rows(&mut eigen.vectors, dim);
            return Ok(Some(truncated(eigen, dim, rank)));
        }
        match chebyshev_filter(&apply, vectors, images, &ritz.values, &mut budget) {
            ControlFlow::Continue(filtered) => basis = orthonormal_rows(filtered, dim),
            ControlFlow::Break(()) => return Ok(None),
        }
    }
}

/// Whether the residual `A v - θ v` of each of the first `rank` Ritz pairs is small enough.
fn converged(values: &[f64], vectors: &[f64], images: &[f64], dim: usize, rank: usize) -> bool {
    let rounding = ROUNDING * values.first().map_or(0.0, |value| value.abs());
    let pairs = vectors.chunks_exact(dim).zip(images.chunks_exact(dim)).zip(values);
    pairs.take(rank).all(|((vector, image), &value)| {
        let squares = image.iter().zip(vector).map(|(image, vector)| (image - value * vector).powi(2));
        squares.sum::<f64>().sqrt() <= (TOLERANCE * value).max(rounding)
    })
}

/// Applies to each row the Chebyshev polynomial that stays within one on the unwanted spectrum,
/// from zero to the smallest Ritz value, and grows fastest above it. Breaks when `budget`, the
/// number of operator products left, runs out.
fn chebyshev_filter(
    apply: impl Fn(&[f64]) -> Vec<f64>,
    vectors: Vec<f64>,
    images: Vec<f64>,
    values: &[f64],
    budget: &mut usize,
) -> ControlFlow<(), Vec<f64>> {
    let largest = values[0];
    let edge = values[values.len() - 1].max(1e-12 * largest).max(f64::MIN_POSITIVE);
    let reach = (2.0 * largest / edge - 1.0).max(1.0).acosh();
    let degree = (AMPLIFICATION.acosh() / reach).clamp(1.0, MAX_DEGREE as f64) as usize;
    if *budget < degree {
        return ControlFlow::Break(());
    }
    *budget -= degree;
    let mut previous = vectors;
    let mut current: Vec<f64> =
        images.iter().zip(&previous).map(|(image, vector)| 2.0 / edge * image - vector).collect();
    for _ in 1..degree {
        let image = apply(&current);
        let terms = previous.iter_mut().zip(&current).zip(&image);
        terms.for_each(|((old, now), image)| *old = 2.0 * (2.0 / edge * image - now) - *old);
        std::mem::swap(&mut previous, &mut current);
    }
    ControlFlow::Continue(current)
}

/// Orthonormal rows with the span of the rows of a `[_, dim]` block of at most `dim` rows; where
/// those are dependent, further directions complete them.
pub fn orthonormal_rows(mut block: Vec<f64>, dim: usize) -> Vec<f64> {
    let count = block.len() / dim.max(1);
    if count == 0 {
        return block;
    }
    let par = fixed_parts();
    let width = recommended_block_size::<f64>(dim, count);
    let mut coefficients = Mat::<f64>::zeros(width, count);
    let mut memory = MemBuffer::new(StackReq::any_of(&[
        qr_in_place_scratch::<f64>(dim, count, width, par, Default::default()),
        apply_scratch::<f64>(dim, width, count),
    ]));
    let stack = MemStack::new(&mut memory);
    let mut factor = MatMut::from_column_major_slice_mut(&mut block, dim, count);
    qr_in_place(factor.as_mut(), coefficients.as_mut(), par, stack, Default::default());
    let mut rows = vec![0.0; count * dim];
    rows.iter_mut().step_by(dim + 1).for_each(|value| *value = 1.0);
    let target = MatMut::from_column_major_slice_mut(&mut rows, dim, count);
    apply_householder(factor.as_ref(), coefficients.as_ref(), Conj::No, target, par, stack);
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::angles::principal_angles;
    use super::super::products::matmul_transposed_a;
    use super::super::testing::{distance, gaussian, identity, planted};
    use super::*;

    /// A decaying spectrum of the given kind, with a wider gap after the first `rank` values.
    fn spectrum(kind: u8, dim: usize, rank: usize) -> Vec<f64> {
        let value = |k: usize| match kind {
            0 => 0.7_f64.powi(k as i32),
            1 => (1.0 + k as f64).recip(),
            2 => (1.0 + k as f64).powi(-3),
            _ => f64::from(k < rank),
        };
        (0..dim).map(|k| value(k) * if k < rank { 1.0 } else { 0.8 }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Planted values and the span of their vectors are found, as the full decomposition does.
        #[test]
        fn partial_agrees_with_full(kind in 0_u8..4, dim in 1_usize..300, rank in 0_usize..15, seed: u64) {
            let rank = rank.min(dim);
            let values = spectrum(kind, dim, rank);
            let matrix = planted(&values, seed);
            let eigen = leading_eigen(&matrix, dim, rank, seed).unwrap();
            for (found, expected) in eigen.values.iter().zip(&values) {
                prop_assert!((found - expected).abs() < 1e-10 * expected + 1e-14, "{} {}", found, expected);
            }
            let overlaps = matmul_transposed_b(&eigen.vectors, [rank, dim], &eigen.vectors, [rank, dim]);
            prop_assert!(distance(&overlaps, &identity(rank)) < 1e-12);
            if kind != 0 {
                let full = symmetric_eigen(&matrix, dim).unwrap();
                let angles = principal_angles(&eigen.vectors, &full.vectors[..rank * dim], dim).unwrap();
                prop_assert!(angles.iter().all(|&angle| angle < 1e-8), "{:?}", angles);
            }
        }

        /// The covariance of rows, wide or tall, decomposes as if it had been formed.
        #[test]
        fn rows_agree_with_their_covariance(n in 1_usize..200, dim in 1_usize..300, rank in 1_usize..12) {
            let rank = rank.min(dim);
            let decay = |index: usize| (1.0 + (index % dim) as f64).powi(-1);
            let rows: Vec<f64> = gaussian(n * dim, 7).iter().enumerate().map(|(i, x)| x * decay(i)).collect();
            let mut covariance = matmul_transposed_a(&rows, [n, dim], &rows, [n, dim]);
            covariance.iter_mut().for_each(|value| *value /= n as f64);
            let expected = symmetric_eigen(&covariance, dim).unwrap();
            let eigen = leading_eigen_of_rows(&rows, dim, rank, 11).unwrap();
            prop_assert!(distance(&eigen.values, &expected.values[..rank]) < 1e-12 * expected.values[0]);
            prop_assert_eq!(leading_eigen_of_rows(&rows, dim, rank, 11).unwrap(), eigen);
        }
    }

    #[test]
    fn iteration_converges_without_the_full_solver() {
        let (dim, rank) = (400, 10);
        for kind in 0..4 {
            let matrix = planted(&spectrum(kind, dim, rank), 1);
            let apply = |block: &[f64]| matmul(block, [block.len() / dim, dim], &matrix, [dim, dim]);
            assert!(subspace_iteration(apply, dim, rank, 2).unwrap().is_some(), "spectrum {kind}");
        }
    }

    #[test]
    fn degenerate_input_is_handled() {
        let dim = 100;
        assert_eq!(leading_eigen(&vec![0.0; dim * dim], dim, 5, 1).unwrap().values, vec![0.0; 5]);
        assert_eq!(leading_eigen_of_rows(&[], dim, 5, 1).unwrap().values, vec![0.0; 5]);
        assert_eq!(leading_eigen(&vec![f64::NAN; dim * dim], dim, 5, 1), Err(LinalgError::NotFinite));
        assert_eq!(leading_eigen_of_rows(&vec![f64::INFINITY; dim], dim, 5, 1), Err(LinalgError::NotFinite));
    }
}
