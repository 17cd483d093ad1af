//! Matrices for the tests.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::partial::orthonormal_rows;
use super::products::matmul_transposed_a;

/// Standard normal values.
pub fn gaussian(count: usize, seed: u64) -> Vec<f64> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(&mut random)).collect()
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
