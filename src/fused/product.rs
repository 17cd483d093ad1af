//! Products of rows with a matrix, and their gradients. Where the processor has no instructions for them, matrices of half precision
//! are widened block by block in the cache: Burn's widens all of a matrix on one thread (`matmul_bf16` in `ops/matmul.rs` of
//! burn-flex 0.22.1), and a frozen model is made of such matrices.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{DType, bf16, f16};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use rayon::prelude::*;

use super::Stored;
use super::bfloat16;
use super::few_rows::Order;
use super::matrices::product;
use super::narrow::{Widen, in_float32, of_numbers, rounded_numbers, widened_numbers};
use super::parts::over_threads;

/// Outputs that a thread computes at once, at most.
const OUTPUTS: usize = 256;

/// Inputs whose products are added at once: with [`OUTPUTS`], a block of the matrix that stays in the cache.
const INPUTS: usize = 512;

/// Outputs that a thread computes at once, at least: fewer take longer to lay out than to compute.
const FEWEST: usize = 64;

/// `[rows, outputs]` for `x`, `[rows, inputs]`, and a matrix of the same type, in float32 or half precision.
pub(super) fn forward(x: FlexTensor, matrix: FlexTensor, order: Order) -> FlexTensor {
    let right = || match order {
        Order::OfInputs => matrix.clone(),
        Order::OfOutputs => matrix.transpose(0, 1),
    };
    match x.dtype() {
        DType::BF16 => bfloat16::product(&x, &right()).unwrap_or_else(|| in_half::<bf16>(x, matrix, order)),
        DType::F16 => in_half::<f16>(x, matrix, order),
        _ => product(x, right()),
    }
}

/// [`forward`] in half precision, widened.
pub(super) fn in_half<E: Stored>(x: FlexTensor, matrix: FlexTensor, order: Order) -> FlexTensor {
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

/// The gradient by the matrix, in its order.
fn of_matrix(x: FlexTensor, grad: FlexTensor, order: Order) -> FlexTensor {
    let (left, right) = match order {
        Order::OfInputs => (x, grad),
        Order::OfOutputs => (grad, x),
    };
    let left = left.transpose(0, 1);
    bfloat16::product(&left, &right).unwrap_or_else(|| {
        let [gradient] = in_float32([left, right], |[left, right]| [product(left, right)]);
        gradient
    })
}

/// [`forward`] with its backward pass.
pub(super) fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    matrix: FloatTensor<Autodiff<Flex, C>>,
    order: Order,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct RowProduct;

    #[derive(Clone, Debug)]
    struct Kept {
        /// Where the gradient by the matrix is asked for.
        x: Option<NodeId>,
        /// Where that by the rows is.
        matrix: Option<NodeId>,
        order: Order,
    }

    impl Backward<Flex, 2> for RowProduct {
        type State = Kept;

        fn backward(self, ops: Ops<Kept, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
            let grad = grads.consume::<Flex>(&ops.node);
            let Kept { x, matrix, order } = ops.state;
            let [by_x, by_matrix] = ops.parents;
            let [x, matrix] = [x, matrix]
                .map(|node| node.map(|node| checkpointer.retrieve_node_output::<FlexTensor>(node)));
            if let (Some(node), Some(x)) = (by_matrix, x) {
                grads.register::<Flex>(node.id, of_matrix(x, grad.clone(), order));
            }
            if let (Some(node), Some(matrix)) = (by_x, matrix) {
                grads.register::<Flex>(node.id, forward(grad, matrix, order.reversed()));
            }
        }
    }

    match RowProduct.prepare::<C>([x.node(), matrix.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = Kept {
                x: matrix.is_tracked().then(|| prep.checkpoint(&x)),
                matrix: x.is_tracked().then(|| prep.checkpoint(&matrix)),
                order,
            };
            prep.finish(kept, forward(x.into_primitive(), matrix.into_primitive(), order))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(x.into_primitive(), matrix.into_primitive(), order)),
    }
}
