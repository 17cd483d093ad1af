//! Products of rows with a matrix of half precision, widened block by block in the cache: Burn's widens all of a matrix on one
//! thread (`matmul_bf16` in `ops/matmul.rs` of burn-flex 0.22.1), and a frozen model is made of such matrices.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use rayon::prelude::*;

use super::Stored;
use super::few_rows::Order;
use super::narrow::{Widen, of_numbers, rounded_numbers, widened_numbers};
use super::parts::over_threads;

/// Outputs that a thread computes at once, at most.
const OUTPUTS: usize = 256;

/// Inputs whose products are added at once: with [`OUTPUTS`], a block of the matrix that stays in the cache.
const INPUTS: usize = 512;

/// Outputs that a thread computes at once, at least: fewer take longer to lay out than to compute.
const FEWEST: usize = 64;

/// `[rows, outputs]` for `x`, `[rows, inputs]`, and a matrix of the same type.
pub(super) fn product<E: Stored>(x: FlexTensor, matrix: FlexTensor, order: Order) -> FlexTensor {
    let [x, matrix] =
        [x, matrix].map(|tensor| if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() });
    let [rows, inputs] = x.shape().dims();
    let outputs = matrix.shape().num_elements() / inputs;
    let [x, matrix] =
        [&x, &matrix].map(|tensor| tensor.as_slice::<E>().expect("a contiguous tensor of its type"));
    let x = widened_numbers(x);
    let product = Product { x: &x, rows, inputs, matrix, outputs, order };
    of_numbers(product.compute(), [rows, outputs])
}

struct Product<'a, E> {
    x: &'a [f32],
    rows: usize,
    inputs: usize,
    matrix: &'a [E],
    outputs: usize,
    order: Order,
}

impl<E: Stored> Product<'_, E> {
    fn compute(&self) -> Vec<E> {
        let Self { rows, outputs, .. } = *self;
        // As many parts for each thread.
        let threads = rayon::current_num_threads();
        let parts = outputs.div_ceil(OUTPUTS).next_multiple_of(threads);
        let width = outputs.div_ceil(parts).next_multiple_of(16).max(FEWEST);
        let starts: Vec<usize> = (0..outputs).step_by(width).collect();
        let parts: Vec<Vec<E>> = starts
            .into_par_iter()
            .with_max_len(1)
            .map(|start| rounded_numbers(&self.part(start, width.min(outputs - start))))
            .collect();
        let [product] = over_threads([(rows * outputs, outputs)], |row, [out]| {
            for (out, part) in out.chunks_mut(width).zip(&parts) {
                out.copy_from_slice(&part[row * out.len()..][..out.len()]);
            }
        });
        product
    }

    /// The products with some outputs, `[rows, count]`.
    fn part(&self, start: usize, count: usize) -> Vec<f32> {
        let Self { x, rows, inputs, matrix, outputs, order } = *self;
        let mut out = vec![0.0; rows * count];
        let mut room = vec![0.0; INPUTS.min(inputs) * count];
        for first in (0..inputs).step_by(INPUTS) {
            let depth = INPUTS.min(inputs - first);
            let block = &mut room[..depth * count];
            // From row to row of the matrix.
            let (lines, from, stride) = match order {
                Order::OfInputs => (count, first * outputs + start, outputs),
                Order::OfOutputs => (depth, start * inputs + first, inputs),
            };
            for (line, block) in block.chunks_exact_mut(lines).enumerate() {
                Arch::new().dispatch(Widen(&matrix[from + line * stride..][..lines], block));
            }
            let block = match order {
                Order::OfInputs => MatRef::from_row_major_slice(block, depth, count),
                Order::OfOutputs => MatRef::from_row_major_slice(block, count, depth).transpose(),
            };
            let end = (rows - 1) * inputs + first + depth;
            let x = MatRef::from_row_major_slice_with_stride(&x[first..end], rows, depth, inputs);
            let out = MatMut::from_row_major_slice_mut(&mut out, rows, count);
            matmul(out, if first == 0 { Accum::Replace } else { Accum::Add }, x, block, 1.0, Par::Seq);
        }
        out
    }
}
