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
use pulp::{Arch, Simd, WithSimd};

use super::kernel::{Numbers, exp, tensor};
use super::narrow::in_float32;
use super::parts::{Parts, of_parts, over_threads};

pub(super) fn forward(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
    let [out] = in_float32([gate, up], |inputs| {
        let shape = inputs[0].shape();
        let width = shape.iter().last().copied().unwrap_or(1);
        let inputs = inputs.map(Numbers::new);
        let [gate, up] = inputs.each_ref().map(Numbers::as_slice);
        [tensor(of_parts(gate.len(), width, 2 * width, &Rows { gate, up }), shape)]
    });
    out
}

/// The gradients by `gate` and by `up`, which have the exponential in common.
fn backward(gate: FlexTensor, up: FlexTensor, grad: FlexTensor) -> [FlexTensor; 2] {
    in_float32([gate, up, grad], |inputs| {
        let shape = inputs[0].shape();
        let inputs = inputs.map(Numbers::new);
        let [gate, up, grad] = inputs.each_ref().map(Numbers::as_slice);
        let gradients = over_threads([(gate.len(), PART); 2], |part, [of_gate, of_up]| {
            let [gate, up, grad] = [gate, up, grad].map(|values| &values[part * PART..][..of_gate.len()]);
            Arch::new().dispatch(OfBoth { gate, up, grad, of_gate, of_up });
        });
        gradients.map(|values| tensor(values, shape.clone()))
    })
}

/// Numbers that a thread takes at once.
const PART: usize = 1 << 13;

struct OfBoth<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    grad: &'a [f32],
    of_gate: &'a mut [f32],
    of_up: &'a mut [f32],
}

impl WithSimd for OfBoth<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let len = self.of_gate.len();
        let (gate, up, grad) = (&self.gate[..len], &self.up[..len], &self.grad[..len]);
        let of_up = &mut self.of_up[..len];
        for at in 0..len {
            let sigmoid = sigmoid(gate[at]);
            let share = grad[at] * sigmoid;
            of_up[at] = share * gate[at];
            self.of_gate[at] = share * up[at] * (1.0 + gate[at] * (1.0 - sigmoid));
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

struct Rows<'a> {
    gate: &'a [f32],
    up: &'a [f32],
}

impl Parts for Rows<'_> {
    #[inline(always)]
    fn write(&self, row: usize, out: &mut [f32]) {
        let [gate, up] = [self.gate, self.up].map(|values| &values[row * out.len()..][..out.len()]);
        for (at, out) in out.iter_mut().enumerate() {
            *out = gate[at] * sigmoid(gate[at]) * up[at];
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
