//! Matrices for the tests.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_householder,
};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::{Conj, Mat, MatMut};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::parallelism::fixed_parts;
use super::products::matmul_transposed_a;

/// Standard normal values.
pub fn gaussian(count: usize, seed: u64) -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(&mut random)).collect()
}

/// Orthonormal rows with the span of the rows of a `[_, dim]` block of at most `dim` rows; where
/// those are dependent, further directions complete them.
fn orthonormal_rows(mut block: Vec<f64>, dim: usize) -> Vec<f64> {
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

/// Random orthonormal `[rank, dim]` rows.
pub fn random_frame(rank: usize, dim: usize, seed: u64) -> Vec<f64> {
    orthonormal_rows(gaussian(rank * dim, seed), dim)
}

/// A symmetric matrix with the given eigenvalues and random eigenvectors.
pub fn planted(values: &[f64], seed: u64) -> Vec<f64> {
    let dim = values.len();
    let frame = random_frame(dim, dim, seed);
    let scaled: Vec<f64> =
        frame.iter().enumerate().map(|(index, value)| value * values[index / dim]).collect();
    matmul_transposed_a(&frame, [dim, dim], &scaled, [dim, dim])
}

/// Largest absolute difference of two slices of equal length.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The identity matrix.
pub fn identity(dim: usize) -> Vec<f64> {
    let mut matrix = vec![0.0; dim * dim];
    matrix.iter_mut().step_by(dim + 1).for_each(|value| *value = 1.0);
    matrix
}
