//! The mean cross-entropy of logits, in one pass over them, and its gradient in their place.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};

use super::kernel::{Numbers, exp, highest, sum_exp, tensor, whole};
use super::parts::{Parts, of_parts, write_parts};

/// `[1]` for logits `[rows, vocabulary]` and a class for each row.
pub(super) fn forward(logits: FlexTensor, targets: &[usize]) -> FlexTensor {
    value(logits, targets).0
}

/// The mean, and for each row the logarithm of the sum of the exponentials of its logits.
fn value(logits: FlexTensor, targets: &[usize]) -> (FlexTensor, Vec<f32>) {
    let [rows, classes] = logits.shape().dims();
    let logits = Numbers::new(logits);
    let logits = logits.as_slice();
    let sums = of_parts(rows, 1, classes, &Sums { logits, classes });
    let of_row = |(row, target): (usize, &usize)| (sums[row] - logits[row * classes + target]) as f64;
    let mean = targets.iter().enumerate().map(of_row).sum::<f64>() / rows as f64;
    (tensor(vec![mean as f32], [1]), sums)
}

/// The gradient by the logits, in their place where nobody else has them.
fn backward(logits: FlexTensor, targets: &[usize], sums: &[f32], grad: f32) -> FlexTensor {
    let [rows, classes] = logits.shape().dims();
    let mut logits = whole(logits);
    let factor = grad / rows as f32;
    write_parts(logits.storage_mut::<f32>(), classes, classes, &Gradient { sums, targets, factor });
    logits
}

struct Sums<'a> {
    logits: &'a [f32],
    classes: usize,
}

impl Parts for Sums<'_> {
    #[inline(always)]
    fn write(&self, row: usize, sum: &mut [f32]) {
        let logits = &self.logits[row * self.classes..][..self.classes];
        let shift = highest(logits);
        sum[0] = shift + sum_exp(logits, shift).ln();
    }
}

/// In the place of the logits.
struct Gradient<'a> {
    sums: &'a [f32],
    targets: &'a [usize],
    factor: f32,
}

impl Parts for Gradient<'_> {
    #[inline(always)]
    fn write(&self, row: usize, logits: &mut [f32]) {
        let sum = self.sums[row];
        for logit in logits.iter_mut() {
            *logit = exp(*logit - sum) * self.factor;
        }
        logits[self.targets[row]] -= self.factor;
    }
}

/// [`forward`] with its backward pass.
pub(super) fn tracked<C: CheckpointStrategy>(
    logits: FloatTensor<Autodiff<Flex, C>>,
    targets: Vec<usize>,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct CrossEntropy;

    #[derive(Clone, Debug)]
    struct Kept {
        logits: FlexTensor,
        targets: Arc<Vec<usize>>,
        sums: Arc<Vec<f32>>,
    }

    impl Backward<Flex, 1> for CrossEntropy {
        type State = Kept;

        fn backward(self, ops: Ops<Kept, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let Kept { logits, targets, sums } = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
                backward(logits, &targets, &sums, grad.storage::<f32>()[grad.layout().start_offset()])
            });
        }
    }

    match CrossEntropy.prepare::<C>([logits.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let logits = logits.into_primitive();
            let (mean, sums) = value(logits.clone(), &targets);
            prep.finish(Kept { logits, targets: Arc::new(targets), sums: Arc::new(sums) }, mean)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(logits.into_primitive(), &targets)),
    }
}
