//! Rotary positions (arXiv 2104.09864) in the rotate-half layout, and the order in which attention reads heads, in one pass.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};

use super::kernel::{Numbers, tensor};
use super::narrow::in_float32;
use super::parts::{Parts, of_parts};

/// Rotates the heads `[batch, time, heads, dim]` by the angles of `cos` and `sin`, `[batch or 1, 1, time, dim / 2]`:
/// `[batch, heads, time, dim]`.
pub(super) fn forward(heads: FlexTensor, cos: FlexTensor, sin: FlexTensor) -> FlexTensor {
    let [batch, time, count, dim] = heads.shape().dims();
    let [out] = in_float32([heads, cos, sin], |inputs| {
        [tensor(rotate(inputs, [count, time], 1.0), [batch, count, time, dim])]
    });
    out
}

/// The gradient by the heads: the rotation back, in the order that they had.
fn backward(grad: FlexTensor, cos: FlexTensor, sin: FlexTensor) -> FlexTensor {
    let [batch, count, time, dim] = grad.shape().dims();
    let [out] = in_float32([grad, cos, sin], |inputs| {
        [tensor(rotate(inputs, [time, count], -1.0), [batch, time, count, dim])]
    });
    out
}

/// Rotates heads by angles, their cosines and sines, times `sign`, and swaps two dimensions, which are `order` afterwards.
fn rotate(inputs: [FlexTensor; 3], order: [usize; 2], sign: f32) -> Vec<f32> {
    let [_, _, _, dim] = inputs[0].shape().dims();
    let inputs = inputs.map(Numbers::new);
    let [values, cos, sin] = inputs.each_ref().map(Numbers::as_slice);
    let heads = Heads { values, cos, sin, order, sign };
    of_parts(heads.values.len(), dim, 2 * dim, &heads)
}

struct Heads<'a> {
    values: &'a [f32],
    cos: &'a [f32],
    sin: &'a [f32],
    order: [usize; 2],
    sign: f32,
}

impl Parts for Heads<'_> {
    #[inline(always)]
    fn write(&self, row: usize, out: &mut [f32]) {
        let (dim, half) = (out.len(), out.len() / 2);
        let [outer, inner] = self.order;
        let (sequence, at) = (row / (outer * inner), row % (outer * inner));
        let (at_outer, at_inner) = (at / inner, at % inner);
        let from = ((sequence * inner + at_inner) * outer + at_outer) * dim;
        let (first, second) = self.values[from..][..dim].split_at(half);
        // Forward, positions are the inner dimension afterwards; back, the outer.
        let (time, at) = if self.sign > 0.0 { (inner, at_inner) } else { (outer, at_outer) };
        // All sequences have the same angles where there is one row of them.
        let angle = (sequence * time * half) % self.cos.len() + at * half;
        let (cos, sin) = (&self.cos[angle..][..half], &self.sin[angle..][..half]);
        let (out_first, out_second) = out.split_at_mut(half);
        let second = &second[..half];
        let out_second = &mut out_second[..half];
        for at in 0..half {
            let (cos, sin) = (cos[at], self.sign * sin[at]);
            out_first[at] = first[at] * cos - second[at] * sin;
            out_second[at] = second[at] * cos + first[at] * sin;
        }
    }
}

/// [`forward`] with its backward pass; the angles are constants.
pub(super) fn tracked<C: CheckpointStrategy>(
    heads: FloatTensor<Autodiff<Flex, C>>,
    cos: FlexTensor,
    sin: FlexTensor,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct Rotary;

    impl Backward<Flex, 1> for Rotary {
        type State = [FlexTensor; 2];

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let [cos, sin] = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |grad| backward(grad, cos, sin));
        }
    }

    #[derive(Debug)]
    struct Again(NodeId, [FlexTensor; 2]);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, out: NodeId) {
            let [cos, sin] = self.1.clone();
            let heads = states.get_state::<FlexTensor>(&self.0);
            states.save(out, forward(heads, cos, sin));
        }
    }

    let again = Again(heads.id(), [cos.clone(), sin.clone()]);
    match Rotary.prepare::<C>([heads.node()]).memory_bound().retro_forward(again).parents([&heads]).stateful()
    {
        OpsKind::Tracked(prep) => {
            prep.finish([cos.clone(), sin.clone()], forward(heads.into_primitive(), cos, sin))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(heads.into_primitive(), cos, sin)),
    }
}
