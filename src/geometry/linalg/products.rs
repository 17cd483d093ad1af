//! Products of dense row-major matrices.

use faer::linalg::matmul::matmul as faer_matmul;
use faer::traits::ComplexField;
use faer::traits::math_utils::{one, zero};
use faer::{Accum, MatMut, MatRef};

use super::parallelism::all_threads;

/// `A B` for `a` of shape `[m, k]` and `b` of shape `[k, n]`.
pub fn matmul(a: &[f64], [m, k]: [usize; 2], b: &[f64], [k_b, n]: [usize; 2]) -> Vec<f64> {
    assert_eq!(k, k_b, "inner dimensions differ");
    product(MatRef::from_row_major_slice(a, m, k), MatRef::from_row_major_slice(b, k, n))
}

/// `A Bᵀ` for `a` of shape `[m, k]` and `b` of shape `[n, k]`.
pub fn matmul_transposed_b(a: &[f64], [m, k]: [usize; 2], b: &[f64], [n, k_b]: [usize; 2]) -> Vec<f64> {
    assert_eq!(k, k_b, "inner dimensions differ");
    product(MatRef::from_row_major_slice(a, m, k), MatRef::from_row_major_slice(b, n, k).transpose())
}

/// `Aᵀ B` for `a` of shape `[k, m]` and `b` of shape `[k, n]`.
pub fn matmul_transposed_a(a: &[f64], [k, m]: [usize; 2], b: &[f64], [k_b, n]: [usize; 2]) -> Vec<f64> {
    assert_eq!(k, k_b, "inner dimensions differ");
    product(MatRef::from_row_major_slice(a, k, m).transpose(), MatRef::from_row_major_slice(b, k, n))
}

/// `A B` in float32, for `a` of shape `[m, k]` and `b` of shape `[k, n]`.
pub fn matmul_single(a: &[f32], [m, k]: [usize; 2], b: &[f32], [k_b, n]: [usize; 2]) -> Vec<f32> {
    assert_eq!(k, k_b, "inner dimensions differ");
    product(MatRef::from_row_major_slice(a, m, k), MatRef::from_row_major_slice(b, k, n))
}

/// As [`matmul_single`] on the calling thread alone, for work that is spread over the threads already.
pub fn matmul_sequential(a: &[f32], [m, k]: [usize; 2], b: &[f32], [k_b, n]: [usize; 2]) -> Vec<f32> {
    assert_eq!(k, k_b, "inner dimensions differ");
    let mut out = vec![0.0; m * n];
    let target = MatMut::from_row_major_slice_mut(&mut out, m, n);
    let (a, b) = (MatRef::from_row_major_slice(a, m, k), MatRef::from_row_major_slice(b, k, n));
    faer_matmul(target, Accum::Replace, a, b, 1.0, faer::Par::Seq);
    out
}

/// `A B` for two matrices of shape `[dim, dim]`.
pub fn square_product(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    matmul(a, [dim, dim], b, [dim, dim])
}

/// The row-major product of two matrices of any layout.
fn product<T: ComplexField>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> Vec<T> {
    let (m, n) = (a.nrows(), b.ncols());
    let mut out = vec![zero::<T>(); m * n];
    let target = MatMut::from_row_major_slice_mut(&mut out, m, n);
    faer_matmul(target, Accum::Replace, a, b, one::<T>(), all_threads());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{distance, gaussian};
    use super::*;

    /// The transpose of a `[rows, columns]` matrix.
    fn transpose(matrix: &[f64], [rows, columns]: [usize; 2]) -> Vec<f64> {
        (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// All three products agree with the sum that defines them.
        #[test]
        fn products_match_the_definition(m in 0_usize..40, k in 0_usize..40, n in 0_usize..40, seed: u64) {
            let (a, b) = (gaussian(m * k, seed), gaussian(k * n, seed ^ 1));
            let entry = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
            let expected: Vec<f64> = (0..m * n).map(|index| entry(index / n, index % n)).collect();
            let (a_t, b_t) = (transpose(&a, [m, k]), transpose(&b, [k, n]));
            prop_assert!(distance(&matmul(&a, [m, k], &b, [k, n]), &expected) < 1e-12);
            prop_assert!(distance(&matmul_transposed_b(&a, [m, k], &b_t, [n, k]), &expected) < 1e-12);
            prop_assert!(distance(&matmul_transposed_a(&a_t, [k, m], &b, [k, n]), &expected) < 1e-12);
        }
    }
}
