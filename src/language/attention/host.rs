//! Attention of few queries on flex, straight from the buffers of the cache.
//!
//! A token's attention reads every key and every value once, and little is computed with them: what it costs is the reading,
//! and what a chain of tensor operations adds to that (scores, weights and copies of parts of the buffers, which are written
//! and read again). Here the positions of a head of keys are divided into spans. A thread takes a span, scores it for all
//! queries that share the head, and sums the values up while the span is in its cache; the sums of the spans are put
//! together with their weights at the end (Flash-Decoding; the softmax over parts is that of arXiv 1805.02867).

use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::fused::exp;

/// The positions that a thread takes at once.
const SPAN: usize = 128;

/// Below so many products, threads take longer to start than to compute.
const SERIAL: usize = 1 << 15;

/// What scores become before the softmax.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scoring {
    /// What they are multiplied by.
    pub(super) scale: f32,
    /// Scores `s` become `cap * tanh(s / cap)`, where this is set.
    pub(super) cap: Option<f32>,
}

/// Causal attention of the last positions, `[batch, heads, time, dim]` over `[batch, kv_heads, seen, dim]`, where the
/// tensors are flex's, in float32 and without autodiff; `None` where they are not.
///
/// * `padding` - For each sequence, the positions at its beginning that nothing attends to; none where empty. Queries at
///   such positions become zeros.
pub(super) fn attention_on_host(
    query: &Tensor<4>,
    key: &Tensor<4>,
    value: &Tensor<4>,
    padding: &[usize],
    scoring: Scoring,
) -> Option<Tensor<4>> {
    let device = query.device();
    let [batch, heads, time, dim] = query.dims();
    let [_, kv_heads, seen, _] = key.dims();
    let [Some(query), Some(key), Some(value)] =
        [query, key, value].map(|tensor| tensor.clone().try_into_primitive::<Flex>().ok())
    else {
        return None;
    };
    let query = if query.is_contiguous() { query } else { query.to_contiguous() };
    let tensors = [&query, &key, &value];
    if tensors.iter().any(|tensor| tensor.dtype() != DType::F32 || tensor.layout().strides()[3] != 1) {
        return None;
    }
    let [query, keys, values] = tensors.map(|tensor| Heads {
        storage: tensor.storage::<f32>(),
        strides: std::array::from_fn(|dim| tensor.layout().strides()[dim] as usize),
        start: tensor.layout().start_offset(),
    });
    let rows = heads / kv_heads * time;
    let head_of = |number: usize| {
        let (sequence, head) = (number / kv_heads, number % kv_heads);
        // The queries of the heads that share one of keys follow each other.
        let queries = query.start + number * rows * dim;
        Head {
            queries: &query.storage[queries..queries + rows * dim],
            keys: keys.head(sequence, head, seen, dim),
            values: values.head(sequence, head, seen, dim),
            strides: [keys.strides[2], values.strides[2]],
            dim,
            time,
            seen,
            before: padding.get(sequence).copied().unwrap_or(0).min(seen),
            scoring,
        }
    };
    let spans = seen.div_ceil(SPAN);
    let part = |number: usize| {
        let head = head_of(number / spans);
        let start = number % spans * SPAN;
        Arch::new().dispatch(Span { first: start.max(head.before), end: (start + SPAN).min(seen), head })
    };
    let count = batch * kv_heads * spans;
    let parts: Vec<Part> = match batch * kv_heads * rows * seen * dim < SERIAL {
        true => (0..count).map(part).collect(),
        false => (0..count).into_par_iter().map(part).collect(),
    };
    let mut mixed = vec![0.0; batch * heads * time * dim];
    for ((number, mixed), parts) in mixed.chunks_mut(rows * dim).enumerate().zip(parts.chunks(spans)) {
        let head = head_of(number);
        for (row, mixed) in mixed.chunks_mut(dim).enumerate() {
            if head.end_of(row) > head.before {
                join(parts, row, mixed);
            }
        }
    }
    let mixed = TensorData::new(mixed, [batch, heads, time, dim]);
    Some(Tensor::from_data(mixed, (&device, DType::F32)))
}

/// Heads in the storage of a tensor, whose coordinates follow each other.
struct Heads<'a> {
    storage: &'a [f32],
    strides: [usize; 4],
    start: usize,
}

impl<'a> Heads<'a> {
    /// The positions of a head, from its first to its last.
    fn head(&self, sequence: usize, head: usize, seen: usize, dim: usize) -> &'a [f32] {
        let start = self.start + sequence * self.strides[0] + head * self.strides[1];
        &self.storage[start..start + (seen - 1) * self.strides[2] + dim]
    }
}

/// A head of keys and values with the queries that share it.
struct Head<'a> {
    /// `[rows, dim]`, where a row is one of `time` positions of a head of queries.
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    /// From a position to the next, of keys and of values.
    strides: [usize; 2],
    dim: usize,
    time: usize,
    seen: usize,
    /// The first positions, to which nothing attends.
    before: usize,
    scoring: Scoring,
}

impl Head<'_> {
    /// The end of the positions that a row of queries sees.
    fn end_of(&self, row: usize) -> usize {
        self.seen - self.time + row % self.time + 1
    }
}

/// Some positions of a head.
struct Span<'a> {
    head: Head<'a>,
    first: usize,
    end: usize,
}

/// What a span adds to each row of queries: the highest score, the sum of the exponentials of scores less that, and the sum
/// of the values that are weighted by them, `[rows, dim]`.
struct Part {
    highest: Vec<f32>,
    total: Vec<f32>,
    mixed: Vec<f32>,
}

impl WithSimd for Span<'_> {
    type Output = Part;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Part {
        let Self { head, first, end } = self;
        let rows = head.queries.len() / head.dim;
        let (mut highest, mut total) = (vec![f32::NEG_INFINITY; rows], vec![0.0; rows]);
        let mut mixed = vec![0.0; rows * head.dim];
        let mut scores = vec![0.0; rows * SPAN];
        // Scores row by row of queries; a key is read once for all of them.
        for (at, position) in (first..end).enumerate() {
            let key = &head.keys[position * head.strides[0]..][..head.dim];
            for (row, query) in head.queries.chunks_exact(head.dim).enumerate() {
                scores[row * SPAN + at] = head.scoring.scale * dot(simd, query, key);
            }
        }
        // A span of padding alone begins behind its end.
        let values = head.values.get(first * head.strides[1]..).unwrap_or_default();
        for (row, mixed) in mixed.chunks_exact_mut(head.dim).enumerate() {
            let visible = head.end_of(row).min(end).saturating_sub(first);
            if visible == 0 {
                continue;
            }
            let scores = &mut scores[row * SPAN..][..visible];
            if let Some(cap) = head.scoring.cap {
                scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
            }
            highest[row] = scores.iter().fold(f32::NEG_INFINITY, |highest, score| highest.max(*score));
            scores.iter_mut().for_each(|score| *score = exp(*score - highest[row]));
            total[row] = sum(simd, scores);
            mix(simd, scores, values, head.strides[1], mixed);
        }
        Part { highest, total, mixed }
    }
}

/// Sums that need not wait for each other.
const SUMS: usize = 4;

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((a, a_few), (b, b_few)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
    let mut sums = [simd.splat_f32s(0.0); SUMS];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..SUMS {
            sums[lane] = simd.mul_add_e_f32s(a[lane], b[lane], sums[lane]);
        }
    }
    for (a, b) in a_few.iter().zip(b_few) {
        sums[0] = simd.mul_add_e_f32s(*a, *b, sums[0]);
    }
    let [first, second, third, fourth] = sums;
    let sums = simd.add_f32s(simd.add_f32s(first, second), simd.add_f32s(third, fourth));
    simd.reduce_sum_f32s(sums) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[inline(always)]
fn sum<S: Simd>(simd: S, values: &[f32]) -> f32 {
    let (values, rest) = S::as_simd_f32s(values);
    let sums = values.iter().fold(simd.splat_f32s(0.0), |sums, value| simd.add_f32s(sums, *value));
    simd.reduce_sum_f32s(sums) + rest.iter().sum::<f32>()
}

/// The sum of values, `stride` from each other, times their weights.
#[inline(always)]
fn mix<S: Simd>(simd: S, weights: &[f32], values: &[f32], stride: usize, mixed: &mut [f32]) {
    let (wide, rest) = S::as_mut_simd_f32s(mixed);
    let (wide, few) = wide.as_chunks_mut::<8>();
    let mut start = 0;
    for mixed in wide {
        *mixed = mixed_part(simd, weights, &values[start..], stride);
        start += 8 * S::F32_LANES;
    }
    for mixed in few {
        [*mixed] = mixed_part(simd, weights, &values[start..], stride);
        start += S::F32_LANES;
    }
    for mixed in rest {
        *mixed = weights.iter().enumerate().map(|(at, weight)| weight * values[at * stride + start]).sum();
        start += 1;
    }
}

/// `COUNT` registers of the sum.
#[inline(always)]
fn mixed_part<S: Simd, const COUNT: usize>(
    simd: S,
    weights: &[f32],
    values: &[f32],
    stride: usize,
) -> [S::f32s; COUNT] {
    let mut sums = [simd.splat_f32s(0.0); COUNT];
    for (at, weight) in weights.iter().enumerate() {
        let (value, _) = S::as_simd_f32s(&values[at * stride..][..COUNT * S::F32_LANES]);
        let weight = simd.splat_f32s(*weight);
        for lane in 0..COUNT {
            sums[lane] = simd.mul_add_e_f32s(weight, value[lane], sums[lane]);
        }
    }
    sums
}

/// The mean of the values of all parts for a row of queries.
fn join(parts: &[Part], row: usize, mixed: &mut [f32]) {
    let highest = parts.iter().fold(f32::NEG_INFINITY, |highest, part| highest.max(part.highest[row]));
    let mut total = 0.0;
    for part in parts {
        let scale = (part.highest[row] - highest).exp();
        total += scale * part.total[row];
        let values = &part.mixed[row * mixed.len()..][..mixed.len()];
        mixed.iter_mut().zip(values).for_each(|(mixed, value)| *mixed += scale * value);
    }
    mixed.iter_mut().for_each(|mixed| *mixed /= total);
}
