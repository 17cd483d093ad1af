//! Products of matrices of bfloat16 by the instructions that some processors have for them (AVX-512 BF16: AMD since Zen 4, Intel's
//! servers since Cooper Lake), of twice the speed of float32: `gemmkit` adds them up in float32 and rounds once. Elsewhere, and in
//! float16, it takes twice as long as the widened blocks of `widened.rs`.

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

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{Device, Distribution, Tensor};

    use super::super::few_rows::Order;
    use super::super::widened;
    use super::*;

    /// Where the processor has instructions for bfloat16: what they compute is what is computed without them, also where it is not finite.
    #[test]
    fn products_are_the_same_with_instructions_and_without() {
        let device = Device::default();
        for (rows, inputs, outputs) in
            [(1, 1, 1), (9, 31, 5), (64, 576, 192), (33, 1030, 70), (130, 64, 1000)]
        {
            for order in [Order::OfInputs, Order::OfOutputs] {
                let shape = match order {
                    Order::OfInputs => [inputs, outputs],
                    Order::OfOutputs => [outputs, inputs],
                };
                let [x, matrix] = [[rows, inputs], shape]
                    .map(|shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device));
                let infinite = x.clone().slice_fill([0..1, 0..1], f32::INFINITY);
                let unknown = matrix.clone().slice_fill([0..1, 0..1], f32::NAN);
                for (x, matrix) in [(x.clone(), matrix.clone()), (infinite, matrix), (x, unknown)] {
                    let [x, matrix] = [x, matrix].map(|tensor| {
                        tensor.cast(DType::BF16).try_into_primitive::<Flex>().expect("a tensor of flex")
                    });
                    let right = match order {
                        Order::OfInputs => matrix.clone(),
                        Order::OfOutputs => matrix.transpose(0, 1),
                    };
                    let Some(found) = product(&x, &right) else {
                        return;
                    };
                    let expected = widened::product::<bf16>(x, matrix, order);
                    let [found, expected] =
                        [found, expected].map(|it| Tensor::<2>::from_primitive::<Flex>(it).into_data());
                    assert_eq!(found.shape(), expected.shape());
                    for (found, expected) in found.iter::<f32>().zip(expected.iter::<f32>()) {
                        let is_near = (found - expected).abs() <= expected.abs() / 128.0 + 1e-4;
                        let is_same = found == expected || found.is_nan() && expected.is_nan();
                        assert!(is_near || is_same, "{found} for {expected}");
                    }
                }
            }
        }
    }
}
