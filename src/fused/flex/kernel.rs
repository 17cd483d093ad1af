//! What the kernels share: tensors as numbers, sums and exponentials that compilers turn into vector instructions.

use burn::backend::DispatchTensorKind;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape, Tensor, TensorData};

use super::Stored;

/// Sums that do not wait for each other: a power of two.
pub(super) const LANES: usize = 32;

/// Whether tensors are of flex, with autodiff or without, and of one type that is computed with in one pass.
pub(crate) fn are_fused<const N: usize, const D: usize>(tensors: [&Tensor<D>; N]) -> bool {
    let dtype = tensors[0].dtype();
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
        && tensors.into_iter().all(|tensor| tensor.dtype() == dtype && is_flex(tensor))
}

/// Whether a tensor is one of flex in float32, with autodiff or without.
pub(crate) fn is_single<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_flex(tensor)
}

fn is_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    let is_flex = |kind: &DispatchTensorKind| matches!(kind, DispatchTensorKind::Flex(_));
    match &tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Autodiff(inner) => is_flex(inner),
        kind => is_flex(kind),
    }
}

/// The numbers of a tensor in the order of its dimensions, copied only where they lie in another.
pub(super) struct Numbers(FlexTensor);

impl Numbers {
    pub(super) fn new(tensor: FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        self.0.as_slice().expect("a contiguous tensor of float32")
    }
}

/// A tensor that is all of its storage.
pub(super) fn whole(tensor: FlexTensor) -> FlexTensor {
    let len = tensor.storage::<f32>().len();
    let is_whole = tensor.as_slice::<f32>().is_some_and(|values| values.len() == len);
    if is_whole { tensor } else { tensor.to_contiguous() }
}

/// A tensor of float32.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The sum of products, of `LANES` sums that do not wait for each other.
#[inline(always)]
pub(super) fn dot<const LANES: usize, E: Stored>(a: &[f32], b: &[E]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane].widen(), sums[lane]);
        }
    }
    let mut sum = total(sums);
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = a.mul_add(b.widen(), sum);
    }
    sum
}

/// The sum.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for values in whole {
        for lane in 0..LANES {
            sums[lane] += values[lane];
        }
    }
    let mut sum = total(sums);
    for value in rest {
        sum += value;
    }
    sum
}

/// The largest number; NaN is passed over.
#[inline(always)]
pub(crate) fn highest(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut found = [f32::NEG_INFINITY; LANES];
    for values in whole {
        for lane in 0..LANES {
            found[lane] = larger(values[lane], found[lane]);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            found[lane] = larger(found[lane + width], found[lane]);
        }
    }
    let mut highest = found[0];
    for value in rest {
        highest = larger(*value, highest);
    }
    highest
}

#[inline(always)]
fn larger(value: f32, than: f32) -> f32 {
    if value > than { value } else { than }
}

/// The sum of `exp(value - shift)`.
#[inline(always)]
pub(super) fn sum_exp(values: &[f32], shift: f32) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for values in whole {
        for lane in 0..LANES {
            sums[lane] += exp(values[lane] - shift);
        }
    }
    let mut sum = total(sums);
    for value in rest {
        sum += exp(value - shift);
    }
    sum
}

/// The sum of sums, as a tree: vectors are added as long as there are any. Plain loops, since what iterators call may be compiled
/// apart from them.
#[inline(always)]
fn total<const LANES: usize>(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// `e^x` to within two units in the last place from -87 to 88, where it stays what it is at these ends; NaN for NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`: a polynomial in `r`, times a power of two that is made of its bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which is then in the last bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // The logarithm of two, in a part with few bits, whose multiples are exact, and the rest.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const TERMS: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2[1], n.mul_add(-LN_2[0], x));
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum.mul_add(r, *term);
    }
    sum * f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exponentials_have_the_digits_of_float32(x in -87.0f32..88.0) {
            let exact = (x as f64).exp();
            prop_assert!((exp(x) as f64 / exact - 1.0).abs() < 2.5e-7, "{x}: {} for {exact}", exp(x));
        }

        #[test]
        fn sums_do_not_depend_on_their_parts(values in prop::collection::vec(-9.0f32..9.0, 0..200)) {
            let exact: f64 = values.iter().map(|value| (*value as f64).powi(2)).sum();
            prop_assert!((dot::<LANES, _>(&values, &values) as f64 - exact).abs() <= 1e-5 * exact + 1e-6);
            let exact: f64 = values.iter().map(|value| (*value as f64 - 1.0).exp()).sum();
            prop_assert!((sum_exp(&values, 1.0) as f64 - exact).abs() <= 1e-5 * exact);
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(highest(&values), largest);
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY) > 1e38);
        assert!(sum_exp(&[0.0, f32::NAN], 0.0).is_nan());
        assert!(dot::<LANES, _>(&[0.0, f32::NAN], &[1.0; 2]).is_nan());
    }
}
