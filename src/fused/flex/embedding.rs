//! Rows of a matrix by their numbers, with a gradient that is laid out once: Burn's is copied to where it is aligned, and that
//! of a vocabulary is as large as a fifth of a small language model.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};

use super::kernel::{Numbers, tensor};

/// `[numbers, width]` of a matrix `[rows, width]`.
pub(super) fn forward(matrix: FlexTensor, numbers: &[usize]) -> FlexTensor {
    let [_, width]: [usize; 2] = matrix.shape().dims();
    let matrix = Numbers::new(matrix);
    let mut rows = Vec::with_capacity(numbers.len() * width);
    for number in numbers {
        rows.extend_from_slice(&matrix.as_slice()[number * width..][..width]);
    }
    tensor(rows, [numbers.len(), width])
}

/// The gradient by the matrix, to which each of its rows adds up what its copies have.
fn backward(shape: [usize; 2], numbers: &[usize], grad: FlexTensor) -> FlexTensor {
    let [rows, width] = shape;
    let grad = Numbers::new(grad);
    let mut sums = vec![0.0; rows * width];
    for (number, grad) in numbers.iter().zip(grad.as_slice().chunks_exact(width)) {
        for (sum, grad) in sums[number * width..][..width].iter_mut().zip(grad) {
            *sum += grad;
        }
    }
    tensor(sums, shape)
}

/// [`forward`] with its backward pass.
pub(super) fn tracked<C: CheckpointStrategy>(
    matrix: FloatTensor<Autodiff<Flex, C>>,
    numbers: Vec<usize>,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct Embedding;

    impl Backward<Flex, 1> for Embedding {
        type State = ([usize; 2], Arc<Vec<usize>>);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (shape, numbers) = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |grad| backward(shape, &numbers, grad));
        }
    }

    match Embedding.prepare::<C>([matrix.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let rows = forward(matrix.primitive().clone(), &numbers);
            prep.finish((matrix.primitive().shape().dims(), Arc::new(numbers)), rows)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(matrix.into_primitive(), &numbers)),
    }
}
