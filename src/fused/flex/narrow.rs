//! Tensors of half precision: widened, computed with in float32, and rounded once.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape, TensorData, bf16, f16};
use pulp::{Arch, Simd, WithSimd};

use super::Stored;
use super::kernel::{Numbers, tensor};
use super::parts::over_threads;

/// Numbers that a thread converts at once.
const PART: usize = 1 << 14;

/// Work on tensors of one type in float32, with results in that type.
pub(super) fn in_float32<const INPUTS: usize, const OUTPUTS: usize>(
    inputs: [FlexTensor; INPUTS],
    work: impl FnOnce([FlexTensor; INPUTS]) -> [FlexTensor; OUTPUTS],
) -> [FlexTensor; OUTPUTS] {
    match inputs[0].dtype() {
        DType::BF16 => work(inputs.map(widened::<bf16>)).map(rounded::<bf16>),
        DType::F16 => work(inputs.map(widened::<f16>)).map(rounded::<f16>),
        _ => work(inputs),
    }
}

/// The same numbers in float32. A view stays one of the same storage, unless that is much larger.
pub(super) fn widened<E: Stored>(half: FlexTensor) -> FlexTensor {
    let is_most = half.storage::<E>().len() <= 2 * half.layout().num_elements();
    let half = if is_most { half } else { half.to_contiguous() };
    let storage = half.storage::<E>();
    let values = converted(storage, |from, to| Arch::new().dispatch(Widen(from, to)));
    let len = values.len();
    tensor(values, [len]).with_layout(half.layout().clone())
}

/// The nearest numbers of a type.
pub(super) fn rounded<E: Stored>(single: FlexTensor) -> FlexTensor {
    let shape = single.shape();
    of_numbers(rounded_numbers::<E>(Numbers::new(single).as_slice()), shape)
}

/// The nearest numbers of a type.
pub(super) fn rounded_numbers<E: Stored>(values: &[f32]) -> Vec<E> {
    converted(values, |from, to| Arch::new().dispatch(Round(from, to)))
}

/// The numbers in float32.
pub(super) fn widened_numbers<E: Stored>(values: &[E]) -> Vec<f32> {
    converted(values, |from, to| Arch::new().dispatch(Widen(from, to)))
}

/// A tensor of numbers of any type.
pub(super) fn of_numbers<E: Stored>(values: Vec<E>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn converted<A: Sync, B: Copy + Default + Send>(
    values: &[A],
    convert: impl Fn(&[A], &mut [B]) + Sync,
) -> Vec<B> {
    let [converted] = over_threads([(values.len(), PART)], |part, [to]| {
        convert(&values[part * PART..][..to.len()], to);
    });
    converted
}

/// Writes the numbers in float32.
pub(super) struct Widen<'a, E>(pub(super) &'a [E], pub(super) &'a mut [f32]);

impl<E: Stored> WithSimd for Widen<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (from, to) in self.0.iter().zip(self.1) {
            *to = from.widen();
        }
    }
}

/// Writes the nearest numbers.
struct Round<'a, E>(&'a [f32], &'a mut [E]);

impl<E: Stored> WithSimd for Round<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (from, to) in self.0.iter().zip(self.1) {
            *to = E::narrow(*from);
        }
    }
}
