//! Causal attention, of which no scores are kept: they are computed again for the gradients, from the logarithms of the sums
//! that softmax divides by (FlashAttention, arXiv 2205.14135).
//!
//! A block of queries sees no keys behind its own positions; a head of keys and values serves its queries where it is. Where
//! sequences are short, the heads that share one of keys are rows of one block: small products take longer to begin than to compute.

use std::cell::RefCell;
use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Arch, Simd, WithSimd};

use super::heads::{Block, Heads, room};
use super::kernel::{LANES, dot, exp, highest, sum, tensor};
use super::narrow::in_float32;
use super::parts::over_threads;

/// Queries that are compared with keys together: few enough for their scores to stay in the cache.
const BLOCK: usize = 128;

/// Queries of heads that share one of keys, which are a block together, at most.
const STACKED: usize = 256;

/// Positions whose heads are laid behind each other together.
const TOGETHER: usize = 32;

/// Working memory of a thread, whose numbers are of any value.
#[derive(Default)]
struct Scratch {
    weights: Vec<f32>,
    of_weights: Vec<f32>,
    queries: Vec<f32>,
    grad: Vec<f32>,
}

impl Scratch {
    /// That of this thread.
    fn with(work: impl FnOnce(&mut Self)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(work);
    }
}

/// The queries, keys and values of an attention, and what is common to them.
struct Attention {
    query: Heads,
    key: Heads,
    value: Heads,
    scale: f32,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    time: usize,
    seen: usize,
    dim: usize,
}

/// Makes scores `[rows, seen]` the exponentials of their distance from the highest that a query sees.
struct Weigh<'a> {
    block: Block,
    scores: &'a mut [f32],
    /// Becomes the logarithms of the sums of the exponentials of the scores.
    sums: &'a mut [f32],
    /// Becomes the reciprocals of the sums of what the scores became.
    scales: &'a mut [f32],
}

impl WithSimd for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, scores) in self.scores.chunks_exact_mut(self.block.seen).enumerate() {
            let visible = self.block.visible(row);
            // Up to whole vectors: a few numbers one by one take as long as many together.
            let (scores, ahead) = scores.split_at_mut(visible.next_multiple_of(LANES).min(self.block.seen));
            scores[visible..].fill(f32::NEG_INFINITY);
            let shift = highest(scores);
            for score in scores.iter_mut() {
                *score = exp(*score - shift);
            }
            scores[visible..].fill(0.0);
            ahead.fill(0.0);
            let total = sum(scores);
            self.sums[row] = shift + total.ln();
            self.scales[row] = total.recip();
        }
    }
}

/// Multiplies rows by numbers.
struct Scale<'a> {
    rows: &'a mut [f32],
    dim: usize,
    scales: &'a [f32],
}

impl WithSimd for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, scale) in self.rows.chunks_exact_mut(self.dim).zip(self.scales) {
            for value in row {
                *value *= scale;
            }
        }
    }
}

/// Makes scores the weights that they were, from the logarithms of their sums.
struct WeighAgain<'a> {
    block: Block,
    scores: &'a mut [f32],
    sums: &'a [f32],
}

impl WithSimd for WeighAgain<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, scores) in self.scores.chunks_exact_mut(self.block.seen).enumerate() {
            let visible = self.block.visible(row);
            let (scores, ahead) = scores.split_at_mut(visible.next_multiple_of(LANES).min(self.block.seen));
            let sum = self.sums[row];
            for score in scores.iter_mut() {
                *score = exp(*score - sum);
            }
            scores[visible..].fill(0.0);
            ahead.fill(0.0);
        }
    }
}

/// Makes the gradients by the scores, before their scale, of the weights.
struct OfScores<'a> {
    weights: &'a mut [f32],
    of_weights: &'a [f32],
    /// For each row, where what it attended is, and the gradient of that.
    out: [&'a Heads; 2],
    block: Block,
    scale: f32,
}

impl WithSimd for OfScores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let seen = self.block.seen;
        let rows = self.weights.chunks_exact_mut(seen).zip(self.of_weights.chunks_exact(seen));
        for (row, (weights, of_weights)) in rows.enumerate() {
            let [out, grad] = self.out.map(|heads| heads.row_of(self.block, row));
            let along = dot::<LANES, _>(out, grad);
            for (weight, of_weight) in weights.iter_mut().zip(of_weights) {
                *weight *= (of_weight - along) * self.scale;
            }
        }
    }
}

impl Attention {
    fn new([query, key, value]: [FlexTensor; 3], scale: f64) -> Self {
        let [query, key, value] = [query, key, value].map(Heads::new);
        let [batch, heads, time, dim] = query.dims;
        let [_, kv_heads, seen, _] = key.dims;
        Self { query, key, value, scale: scale as f32, batch, heads, kv_heads, time, seen, dim }
    }

    /// The heads of queries that are rows of one block: those that share a head of keys, or one.
    fn stacked(&self) -> usize {
        let group = self.heads / self.kv_heads;
        if self.time <= BLOCK && group * self.time <= STACKED { group } else { 1 }
    }

    /// The blocks of heads that follow each other.
    fn blocks(&self, sequence: usize, head: usize, heads: usize) -> impl Iterator<Item = Block> {
        let before = self.seen - self.time;
        let time = self.time;
        (0..time).step_by(BLOCK).map(move |start| {
            let count = BLOCK.min(time - start);
            Block { sequence, head, heads, start, count, seen: before + start + count }
        })
    }

    /// The head of keys and values that serves a head of queries.
    fn served_by(&self, head: usize) -> usize {
        head / (self.heads / self.kv_heads)
    }

    fn scores<'a>(&self, block: Block, query: MatRef<'_, f32>, weights: &'a mut Vec<f32>) -> &'a mut [f32] {
        let scores = room(weights, block.rows() * block.seen);
        let key = self.key.rows(block.sequence, self.served_by(block.head), 0, block.seen);
        product(rows_mut(scores, block.seen), Accum::Replace, query, key.transpose(), self.scale);
        scores
    }

    /// The attended values `[batch, time, heads, dim]`, and for each query the logarithm of the sum of the exponentials of
    /// its scores, `[batch, heads, time]`.
    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let Self { batch, heads, time, dim, .. } = *self;
        let (rows, numbers) = (batch * heads * time, batch * heads * time * dim);
        let stacked = self.stacked();
        let parts = [(numbers, stacked * time * dim), (rows, stacked * time)];
        let [mixed, sums] = over_threads(parts, |number, [mixed, sums]| {
            let head = number * stacked;
            Scratch::with(|scratch| {
                for block in self.blocks(head / heads, head % heads, stacked) {
                    let rows = block.start..block.start + block.rows();
                    self.mix(block, scratch, &mut mixed[rows.start * dim..rows.end * dim], &mut sums[rows]);
                }
            });
        });
        // Heads behind each other, as the output projection reads them.
        let [out] = over_threads([(numbers, TOGETHER * heads * dim)], |part, [out]| {
            for (position, out) in out.chunks_exact_mut((heads * dim).max(1)).enumerate() {
                let position = part * TOGETHER + position;
                let (sequence, position) = (position / time, position % time);
                for (head, out) in out.chunks_exact_mut(dim).enumerate() {
                    out.copy_from_slice(&mixed[((sequence * heads + head) * time + position) * dim..][..dim]);
                }
            }
        });
        (out, sums)
    }

    /// Attends with the queries of a block.
    fn mix(&self, block: Block, scratch: &mut Scratch, mixed: &mut [f32], sums: &mut [f32]) {
        let query = self.query.block(block, &mut scratch.queries);
        let scores = self.scores(block, query, &mut scratch.weights);
        let mut scales = [0.0; STACKED];
        Arch::new().dispatch(Weigh { block, scores, sums, scales: &mut scales });
        let value = self.value.rows(block.sequence, self.served_by(block.head), 0, block.seen);
        let weights = MatRef::from_row_major_slice(&*scores, block.rows(), block.seen);
        product(rows_mut(mixed, self.dim), Accum::Replace, weights, value, 1.0);
        Arch::new().dispatch(Scale { rows: mixed, dim: self.dim, scales: &scales });
    }

    /// The gradients by queries, keys and values, of the attended values `out` with the gradient `grad`.
    fn backward(&self, out: &Heads, grad: &Heads, sums: &[f32]) -> [Vec<f32>; 3] {
        let Self { batch, heads, kv_heads, time, seen, dim, .. } = *self;
        let (group, stacked) = (heads / kv_heads, self.stacked());
        let (of_query, of_others) = (batch * heads * time * dim, batch * kv_heads * seen * dim);
        let vectors = [(of_query, group * time * dim), (of_others, seen * dim), (of_others, seen * dim)];
        over_threads(vectors, |number, [of_query, of_key, of_value]| {
            let (sequence, kv_head) = (number / kv_heads, number % kv_heads);
            Scratch::with(|scratch| {
                for (part, of_query) in of_query.chunks_exact_mut((stacked * time * dim).max(1)).enumerate() {
                    let head = kv_head * group + part * stacked;
                    let sums = &sums[(sequence * heads + head) * time..][..stacked * time];
                    for block in self.blocks(sequence, head, stacked) {
                        let of_query = &mut of_query[block.start * dim..][..block.rows() * dim];
                        let gradients = [of_query, &mut *of_key, &mut *of_value];
                        self.gradients(block, scratch, [out, grad], &sums[block.start..], gradients);
                    }
                }
            });
        })
    }

    /// What the queries of a block add to the gradients.
    fn gradients(
        &self,
        block: Block,
        scratch: &mut Scratch,
        [out, grad]: [&Heads; 2],
        sums: &[f32],
        [of_query, of_key, of_value]: [&mut [f32]; 3],
    ) {
        let Block { sequence, head, seen, .. } = block;
        let count = block.rows();
        let query = self.query.block(block, &mut scratch.queries);
        let weights = self.scores(block, query, &mut scratch.weights);
        Arch::new().dispatch(WeighAgain { block, scores: weights, sums });
        let grad_rows = grad.block(block, &mut scratch.grad);
        let kv_head = self.served_by(head);
        let key = self.key.rows(sequence, kv_head, 0, seen);
        let value = self.value.rows(sequence, kv_head, 0, seen);
        let [of_key, of_value] =
            [of_key, of_value].map(|all| rows_mut(&mut all[..seen * self.dim], self.dim));
        product(
            of_value,
            Accum::Add,
            MatRef::from_row_major_slice(&*weights, count, seen).transpose(),
            grad_rows,
            1.0,
        );
        let of_weights = room(&mut scratch.of_weights, count * seen);
        product(rows_mut(of_weights, seen), Accum::Replace, grad_rows, value.transpose(), 1.0);
        Arch::new().dispatch(OfScores { weights, of_weights, out: [out, grad], block, scale: self.scale });
        let gradient = MatRef::from_row_major_slice(&*weights, count, seen);
        product(rows_mut(of_query, self.dim), Accum::Replace, gradient, key, 1.0);
        product(of_key, Accum::Add, gradient.transpose(), query, 1.0);
    }
}

fn rows_mut(values: &mut [f32], width: usize) -> MatMut<'_, f32> {
    let rows = values.len() / width;
    MatMut::from_row_major_slice_mut(values, rows, width)
}

/// On this thread: there are as many products as heads for the others.
fn product(out: MatMut<'_, f32>, add: Accum, a: MatRef<'_, f32>, b: MatRef<'_, f32>, factor: f32) {
    matmul(out, add, a, b, factor, Par::Seq);
}

/// `[batch, time, heads, dim]` for queries `[batch, heads, time, dim]` over keys and values `[batch, kv_heads, seen, dim]`,
/// of which the queries are the last positions.
pub(super) fn forward(query: FlexTensor, key: FlexTensor, value: FlexTensor, scale: f64) -> FlexTensor {
    attend([query, key, value], scale).0
}

fn attend(inputs: [FlexTensor; 3], scale: f64) -> (FlexTensor, Vec<f32>) {
    let mut sums = Vec::new();
    let [out] = in_float32(inputs, |inputs| {
        let attention = Attention::new(inputs, scale);
        let out;
        (out, sums) = attention.forward();
        [tensor(out, [attention.batch, attention.time, attention.heads, attention.dim])]
    });
    (out, sums)
}

/// The gradients by queries, keys and values, of what was attended, `out`, with the gradient `grad`.
fn backward(
    inputs: [FlexTensor; 3],
    scale: f64,
    [out, grad]: [FlexTensor; 2],
    sums: &[f32],
) -> [FlexTensor; 3] {
    let [query, key, value] = inputs;
    in_float32([query, key, value, out, grad], |[query, key, value, out, grad]| {
        let attention = Attention::new([query, key, value], scale);
        let [out, grad] = [out, grad].map(|tensor| Heads::new(tensor.transpose(1, 2)));
        let mut gradients = attention.backward(&out, &grad, sums).into_iter();
        [&attention.query, &attention.key, &attention.value]
            .map(|heads| tensor(gradients.next().expect("three gradients"), heads.dims))
    })
}

/// [`forward`] with its backward pass.
pub(super) fn tracked<C: CheckpointStrategy>(
    query: FloatTensor<Autodiff<Flex, C>>,
    key: FloatTensor<Autodiff<Flex, C>>,
    value: FloatTensor<Autodiff<Flex, C>>,
    scale: f64,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct CausalAttention;

    #[derive(Clone, Debug)]
    struct Kept {
        inputs: [NodeId; 3],
        scale: f64,
        out: FlexTensor,
        sums: Arc<Vec<f32>>,
    }

    impl Backward<Flex, 3> for CausalAttention {
        type State = Kept;

        fn backward(self, ops: Ops<Kept, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
            let grad = grads.consume::<Flex>(&ops.node);
            let Kept { inputs, scale, out, sums } = ops.state;
            let inputs = inputs.map(|node| checkpointer.retrieve_node_output::<FlexTensor>(node));
            let gradients = backward(inputs, scale, [out, grad], &sums);
            for (node, gradient) in ops.parents.into_iter().zip(gradients) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, gradient);
                }
            }
        }
    }

    let primitives = || [&query, &key, &value].map(|tensor| tensor.primitive().clone());
    match CausalAttention.prepare::<C>([query.node(), key.node(), value.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let inputs = [&query, &key, &value].map(|tensor| prep.checkpoint(tensor));
            let (out, sums) = attend(primitives(), scale);
            prep.finish(Kept { inputs, scale, out: out.clone(), sums: Arc::new(sums) }, out)
        }
        OpsKind::UnTracked(prep) => prep.finish(attend(primitives(), scale).0),
    }
}
