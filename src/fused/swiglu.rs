//! SwiGLU (arXiv 2002.05202) without its products, `silu(gate) * up`, in one pass.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};

use super::kernel::{Numbers, Parts, exp, tensor, write_parts};

pub(super) fn forward(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
    element_by_element([gate, up], Forward)
}

/// The gradients by `gate` and by `up`.
fn backward(gate: FlexTensor, up: FlexTensor, grad: FlexTensor) -> [FlexTensor; 2] {
    [element_by_element([gate.clone(), up, grad.clone()], OfGate), element_by_element([gate, grad], OfUp)]
}

/// A number from the numbers at the same place of `N` tensors.
trait Element<const N: usize>: Sync {
    fn of(&self, inputs: [f32; N]) -> f32;
}

struct Forward;

impl Element<2> for Forward {
    #[inline(always)]
    fn of(&self, [gate, up]: [f32; 2]) -> f32 {
        gate * sigmoid(gate) * up
    }
}

struct OfGate;

impl Element<3> for OfGate {
    #[inline(always)]
    fn of(&self, [gate, up, grad]: [f32; 3]) -> f32 {
        let sigmoid = sigmoid(gate);
        grad * up * sigmoid * (1.0 + gate * (1.0 - sigmoid))
    }
}

struct OfUp;

impl Element<2> for OfUp {
    #[inline(always)]
    fn of(&self, [gate, grad]: [f32; 2]) -> f32 {
        grad * gate * sigmoid(gate)
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// A tensor of the shape of all `inputs`.
fn element_by_element<const N: usize>(inputs: [FlexTensor; N], element: impl Element<N>) -> FlexTensor {
    let shape = inputs[0].shape();
    let width = shape.iter().last().copied().unwrap_or(1);
    let inputs = inputs.map(Numbers::new);
    let rows = Rows { inputs: inputs.each_ref().map(Numbers::as_slice), element };
    let mut out = vec![0.0; rows.inputs[0].len()];
    write_parts(&mut out, width, N * width, &rows);
    tensor(out, shape)
}

struct Rows<'a, const N: usize, E> {
    inputs: [&'a [f32]; N],
    element: E,
}

impl<const N: usize, E: Element<N>> Parts for Rows<'_, N, E> {
    #[inline(always)]
    fn write(&self, row: usize, out: &mut [f32]) {
        let inputs = self.inputs.map(|values| &values[row * out.len()..][..out.len()]);
        for (at, out) in out.iter_mut().enumerate() {
            *out = self.element.of(inputs.map(|values| values[at]));
        }
    }
}

/// [`forward`] with its backward pass.
pub(super) fn tracked<C: CheckpointStrategy>(
    gate: FloatTensor<Autodiff<Flex, C>>,
    up: FloatTensor<Autodiff<Flex, C>>,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct SwiGlu;

    impl Backward<Flex, 2> for SwiGlu {
        type State = [NodeId; 2];

        fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
            let grad = grads.consume::<Flex>(&ops.node);
            let [gate, up] = ops.state.map(|node| checkpointer.retrieve_node_output::<FlexTensor>(node));
            for (node, gradient) in ops.parents.into_iter().zip(backward(gate, up, grad)) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, gradient);
                }
            }
        }
    }

    #[derive(Debug)]
    struct Again([NodeId; 2]);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, out: NodeId) {
            let [gate, up] = [0, 1].map(|at| states.get_state::<FlexTensor>(&self.0[at]));
            states.save(out, forward(gate, up));
        }
    }

    let again = Again([gate.id(), up.id()]);
    match SwiGlu
        .prepare::<C>([gate.node(), up.node()])
        .memory_bound()
        .retro_forward(again)
        .parents([&gate, &up])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let state = [prep.checkpoint(&gate), prep.checkpoint(&up)];
            prep.finish(state, forward(gate.into_primitive(), up.into_primitive()))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(gate.into_primitive(), up.into_primitive())),
    }
}
