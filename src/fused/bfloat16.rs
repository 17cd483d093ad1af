//! Products of matrices of bfloat16 by the instructions that some processors have for them (AVX-512 BF16: AMD since Zen 4, Intel's
//! servers since Cooper Lake), of twice the speed of float32: `gemmkit` adds them up in float32 and rounds once. Elsewhere, and in
//! float16, it takes twice as long as the widened blocks of `product.rs`.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, bf16};
use gemmkit::{MatMut, MatRef, Parallelism, gemm};

use super::matrices::{Lines, in_lines};
use super::narrow::of_numbers;

/// `[rows, columns]` of `[rows, depth]` and `[depth, columns]`, none of them zero; `None` where they are not of bfloat16, or the
/// processor has no instructions for that.
pub(super) fn product(left: &FlexTensor, right: &FlexTensor) -> Option<FlexTensor> {
    if left.dtype() != DType::BF16 || !has_instructions() {
        return None;
    }
    let [left, right] = [left, right].map(|matrix| in_lines(matrix.clone()));
    let [left, right] = [&left, &right].map(|matrix| {
        let Lines { numbers, shape: [rows, columns], strides } = Lines::<bf16>::new(matrix);
        let [of_rows, of_columns] = strides.map(|stride| stride as isize);
        MatRef::new(numbers, rows, columns, of_rows, of_columns)
    });
    let shape = [left.rows(), right.cols()];
    let mut values = vec![bf16::ZERO; shape[0] * shape[1]];
    let out = MatMut::from_row_major(&mut values, shape[0], shape[1]);
    gemm(bf16::ONE, left, right, bf16::ZERO, out, Parallelism::Rayon(rayon::current_num_threads()));
    Some(of_numbers(values, shape))
}

#[cfg(target_arch = "x86_64")]
fn has_instructions() -> bool {
    is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_instructions() -> bool {
    false
}
