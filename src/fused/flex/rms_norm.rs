//! RMSNorm (arXiv 1910.07467), `y = x / rms(x) * gamma` with `rms(x)^2 = mean(x^2) + eps`: a row is read once, and written.

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

use super::kernel::{LANES, Numbers, dot, tensor};
use super::narrow::in_float32;
use super::parts::{Parts, of_parts};

/// The norm of the rows of `x`, `[.., width]`, with gains `gamma`, `[width]`.
pub(super) fn forward(x: FlexTensor, gamma: FlexTensor, eps: f64) -> FlexTensor {
    let [out] = in_float32([x, gamma], |[x, gamma]| {
        let shape = x.shape();
        let (x, gamma) = (Numbers::new(x), Numbers::new(gamma));
        let rows = Rows { x: x.as_slice(), gamma: gamma.as_slice(), eps };
        let (width, len) = (rows.gamma.len(), rows.x.len());
        [tensor(of_parts(len, width, width, &Forward(rows)), shape)]
    });
    out
}

struct Rows<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    eps: f64,
}

impl Rows<'_> {
    /// A row of `x`, and `1 / rms`.
    #[inline(always)]
    fn row(&self, row: usize) -> (&[f32], f32) {
        let width = self.gamma.len();
        let x = &self.x[row * width..][..width];
        (x, (dot::<LANES, _>(x, x) / width as f32 + self.eps as f32).sqrt().recip())
    }

    /// The gradient by the gains, of the gradient of the norms: sums over many rows, in float64 so that they do not lose what
    /// single rows add.
    fn of_gamma(&self, grad: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.gamma.len()];
        for (row, grad) in grad.chunks_exact(sums.len()).enumerate() {
            let (x, scale) = self.row(row);
            for ((sum, x), grad) in sums.iter_mut().zip(x).zip(grad) {
                *sum += (x * scale * grad) as f64;
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

struct Forward<'a>(Rows<'a>);

impl Parts for Forward<'_> {
    #[inline(always)]
    fn write(&self, row: usize, out: &mut [f32]) {
        let (x, scale) = self.0.row(row);
        for ((out, x), gamma) in out.iter_mut().zip(x).zip(self.0.gamma) {
            *out = x * scale * gamma;
        }
    }
}

/// The gradient by `x`, and with `COUNT` 2 that by `gamma`.
fn backward<const COUNT: usize>(
    x: FlexTensor,
    gamma: FlexTensor,
    eps: f64,
    grad: FlexTensor,
) -> [FlexTensor; COUNT] {
    in_float32([x, gamma, grad], |inputs| {
        let shape = inputs[0].shape();
        let [x, gamma, grad] = inputs.map(Numbers::new);
        let (rows, grad) = (Rows { x: x.as_slice(), gamma: gamma.as_slice(), eps }, grad.as_slice());
        let width = rows.gamma.len();
        let of_x = of_parts(rows.x.len(), width, 2 * width, &Backwards(&rows, grad));
        let mut of_x = Some(tensor(of_x, shape));
        std::array::from_fn(|_| of_x.take().unwrap_or_else(|| tensor(rows.of_gamma(grad), [width])))
    })
}

/// The gradient by `x`, of rows and the gradient of their norms.
struct Backwards<'a>(&'a Rows<'a>, &'a [f32]);

impl Parts for Backwards<'_> {
    #[inline(always)]
    fn write(&self, row: usize, of_x: &mut [f32]) {
        let Self(rows, grad) = self;
        let (x, scale) = rows.row(row);
        let width = x.len();
        for ((of_x, grad), gamma) in of_x.iter_mut().zip(&grad[row * width..]).zip(rows.gamma) {
            *of_x = grad * gamma;
        }
        let along = dot::<LANES, _>(of_x, x) * scale * scale / width as f32;
        for (of_x, x) in of_x.iter_mut().zip(x) {
            *of_x = (*of_x - along * x) * scale;
        }
    }
}

/// [`forward`] with its backward pass.
pub(super) fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    gamma: FloatTensor<Autodiff<Flex, C>>,
    eps: f64,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct RmsNorm;

    impl Backward<Flex, 2> for RmsNorm {
        type State = (NodeId, NodeId, f64);

        fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
            let grad = grads.consume::<Flex>(&ops.node);
            let (x, gamma, eps) = ops.state;
            let [x, gamma] = [x, gamma].map(|node| checkpointer.retrieve_node_output::<FlexTensor>(node));
            let [by_x, by_gamma] = ops.parents;
            let gradients = match by_gamma {
                Some(_) => backward::<2>(x, gamma, eps, grad).to_vec(),
                None => backward::<1>(x, gamma, eps, grad).to_vec(),
            };
            for (node, gradient) in [by_x, by_gamma].into_iter().zip(gradients) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, gradient);
                }
            }
        }
    }

    #[derive(Debug)]
    struct Again {
        x: NodeId,
        gamma: NodeId,
        eps: f64,
    }

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, out: NodeId) {
            let [x, gamma] = [&self.x, &self.gamma].map(|node| states.get_state::<FlexTensor>(node));
            states.save(out, forward(x, gamma, self.eps));
        }
    }

    let again = Again { x: x.id(), gamma: gamma.id(), eps };
    match RmsNorm
        .prepare::<C>([x.node(), gamma.node()])
        .memory_bound()
        .retro_forward(again)
        .parents([&x, &gamma])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let state = (prep.checkpoint(&x), prep.checkpoint(&gamma), eps);
            prep.finish(state, forward(x.into_primitive(), gamma.into_primitive(), eps))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(x.into_primitive(), gamma.into_primitive(), eps)),
    }
}
