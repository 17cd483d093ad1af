//! The norm of a tensor on flex, and scaling by it, over threads.

use burn::backend::Flex;
use burn::tensor::Tensor;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::kernel::{LANES, Numbers, dot, tensor, whole};

/// Numbers that a thread takes at once.
const PART: usize = 1 << 15;

/// `[1]`, always the same for the same numbers: of each part in float32, of all parts in float64.
pub(crate) fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let x = Numbers::new(x.try_into_primitive::<Flex>().expect("a tensor of flex"));
    let parts = x.as_slice().par_chunks(PART).map(|part| Arch::new().dispatch(Squares(part)));
    let parts: Vec<f32> = parts.collect();
    let sum = parts.into_iter().map(f64::from).sum::<f64>();
    Tensor::from_primitive::<Flex>(tensor(vec![sum as f32], [1]))
}

struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        dot::<LANES, _>(self.0, self.0)
    }
}

pub(crate) fn scaled<const D: usize>(x: Tensor<D>, factor: f32) -> Tensor<D> {
    let mut x = whole(x.try_into_primitive::<Flex>().expect("a tensor of flex"));
    let values = x.storage_mut::<f32>();
    values.par_chunks_mut(PART).for_each(|part| Arch::new().dispatch(Scaled(part, factor)));
    Tensor::from_primitive::<Flex>(x)
}

struct Scaled<'a>(&'a mut [f32], f32);

impl WithSimd for Scaled<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for value in self.0 {
            *value *= self.1;
        }
    }
}
