//! Products of rows with a matrix, and their gradients: of float32 by [`matrices`](super::matrices), of bfloat16 by the processor's
//! instructions where it has any ([`bfloat16`]), else of half precision by [`widened`] blocks.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, bf16, f16};

use super::bfloat16;
use super::few_rows::Order;
use super::matrices::product;
use super::narrow::in_float32;
use super::widened;

/// `[rows, outputs]` for `x`, `[rows, inputs]`, and a matrix of the same type, in float32 or half precision.
pub(super) fn forward(x: FlexTensor, matrix: FlexTensor, order: Order) -> FlexTensor {
    let right = || match order {
        Order::OfInputs => matrix.clone(),
        Order::OfOutputs => matrix.transpose(0, 1),
    };
    match x.dtype() {
        DType::BF16 => {
            bfloat16::product(&x, &right()).unwrap_or_else(|| widened::product::<bf16>(x, matrix, order))
        }
        DType::F16 => widened::product::<f16>(x, matrix, order),
        _ => product(x, right()),
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
