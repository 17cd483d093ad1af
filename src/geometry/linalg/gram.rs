//! Accumulation of the scatter matrix `Xᵀ X` over many rows.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, MatMut, MatRef};

use super::parallelism::all_threads;

/// Rows per single-precision product: long enough that adding each product to the scatter is cheap,
/// short enough that rounding within it stays far below that of the input.
const SINGLE_CHUNK: usize = 4096;

/// Adds `Xᵀ X` of the centred `[_, dim]` rows to the upper triangle of `scatter`, multiplying in
/// single precision within chunks of rows and adding the chunks up in double precision.
pub fn add_gram_single(scatter: &mut [f64], rows: &[f32], dim: usize) {
    add_gram_single_chunked(scatter, rows, dim, SINGLE_CHUNK);
}

/// [`add_gram_single`] with a given number of rows per chunk.
pub fn add_gram_single_chunked(scatter: &mut [f64], rows: &[f32], dim: usize, chunk: usize) {
    check_shapes(scatter.len(), rows.len(), dim);
    let mut product = vec![0.0_f32; scatter.len()];
    for rows in rows.chunks((chunk * dim).max(1)) {
        let x = MatRef::from_row_major_slice(rows, rows.len() / dim, dim);
        matmul(
            MatMut::from_row_major_slice_mut(&mut product, dim, dim),
            BlockStructure::TriangularUpper,
            Accum::Replace,
            x.transpose(),
            BlockStructure::Rectangular,
            x,
            BlockStructure::Rectangular,
            1.0_f32,
            all_threads(),
        );
        for row in 0..dim {
            let upper = row * dim + row..(row + 1) * dim;
            let sums = scatter[upper.clone()].iter_mut();
            sums.zip(&product[upper]).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }
}

/// Adds `Xᵀ X` of the centred `[_, dim]` rows to the upper triangle of `scatter`, in double
/// precision throughout.
pub fn add_gram_double(scatter: &mut [f64], rows: &[f64], dim: usize) {
    check_shapes(scatter.len(), rows.len(), dim);
    if rows.is_empty() {
        return;
    }
    let x = MatRef::from_row_major_slice(rows, rows.len() / dim, dim);
    matmul(
        MatMut::from_row_major_slice_mut(scatter, dim, dim),
        BlockStructure::TriangularUpper,
        Accum::Add,
        x.transpose(),
        BlockStructure::Rectangular,
        x,
        BlockStructure::Rectangular,
        1.0,
        all_threads(),
    );
}

/// Copies the upper triangle of a `[dim, dim]` matrix onto its lower one.
pub fn mirror_upper(matrix: &mut [f64], dim: usize) {
    for row in 1..dim {
        for column in 0..row {
            matrix[row * dim + column] = matrix[column * dim + row];
        }
    }
}

/// Panics where the scatter is not square or the rows do not fill whole rows.
fn check_shapes(scatter: usize, rows: usize, dim: usize) {
    assert_eq!(scatter, dim * dim, "the scatter is not [{dim}, {dim}]");
    assert!(rows.is_multiple_of(dim), "the rows do not have {dim} columns");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::eigen::symmetric_eigenvalues;
    use super::super::products::matmul_transposed_a;
    use super::super::testing::{distance, gaussian};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Both kernels add `Xᵀ X` to the upper triangle, chunk by chunk and call by call, and leave
        /// the lower one alone.
        #[test]
        fn scatter_matches_the_product(n in 0_usize..300, dim in 1_usize..80, cut in 0_usize..300, seed: u64) {
            let rows = gaussian(n * dim, seed).iter().map(|&value| value as f32).collect::<Vec<_>>();
            let wide: Vec<f64> = rows.iter().map(|&value| f64::from(value)).collect();
            let expected = matmul_transposed_a(&wide, [n, dim], &wide, [n, dim]);
            let (mut single, mut double) = (vec![0.0; dim * dim], vec![0.0; dim * dim]);
            let cut = cut.min(n) * dim;
            for (rows, wide) in [(&rows[..cut], &wide[..cut]), (&rows[cut..], &wide[cut..])] {
                add_gram_single_chunked(&mut single, rows, dim, 64);
                add_gram_double(&mut double, wide, dim);
            }
            prop_assert!((1..dim).all(|row| single[row * dim..row * dim + row].iter().all(|&value| value == 0.0)));
            mirror_upper(&mut single, dim);
            mirror_upper(&mut double, dim);
            let scale = n.max(1) as f64;
            prop_assert!(distance(&single, &expected) < 1e-5 * scale);
            prop_assert!(distance(&double, &expected) < 1e-13 * scale);
        }
    }

    /// Eigenvalues of the single-precision scatter of a decaying spectrum stay within 1e-6 of the
    /// double-precision ones, the smallest of them included.
    #[test]
    fn single_precision_keeps_six_digits_of_every_eigenvalue() {
        let (n, dim) = (6000, 96);
        let decay = |index: usize| 0.95_f64.powi((index % dim) as i32);
        let rows =
            gaussian(n * dim, 3).into_iter().enumerate().map(|(index, value)| (value * decay(index)) as f32);
        let rows: Vec<f32> = rows.collect();
        let wide: Vec<f64> = rows.iter().map(|&value| f64::from(value)).collect();
        let (mut single, mut double) = (vec![0.0; dim * dim], vec![0.0; dim * dim]);
        add_gram_single(&mut single, &rows, dim);
        add_gram_double(&mut double, &wide, dim);
        let single = symmetric_eigenvalues(&single, dim).unwrap();
        let double = symmetric_eigenvalues(&double, dim).unwrap();
        assert!(single.iter().zip(&double).all(|(a, b)| (a / b - 1.0).abs() < 1e-6));
    }
}
