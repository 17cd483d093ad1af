//! Attention of few queries on flex, straight from the buffers of the cache.
//!
//! A token's attention reads every key and every value once, and little is computed with them: what it costs is the reading,
//! and what a chain of tensor operations adds to that (scores, weights and copies of parts of the buffers, which are written
//! and read again). Here the positions of a head of keys are divided into spans. A thread takes a span, scores it for all
//! queries that share the head, and sums the values up while the span is in its cache; the sums of the spans are put
//! together with their weights at the end (Flash-Decoding; the softmax over parts is that of arXiv 1805.02867).

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, Tensor, TensorData, bf16, f16};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::fused::{self, exp};
use crate::half_precision::Stored;

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
/// tensors are flex's, in float32 or half precision and without autodiff; `None` where they are not.
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
    let dtype = query.dtype();
    let of_flex = |tensor: &Tensor<4>, dtype| {
        tensor.clone().try_into_primitive::<Flex>().ok().filter(|tensor| tensor.dtype() == dtype)
    };
    let [Some(key), Some(value)] = [key, value].map(|tensor| of_flex(tensor, dtype)) else {
        return None;
    };
    if [&key, &value].iter().any(|tensor| tensor.layout().strides()[3] != 1) {
        return None;
    }
    // Of queries there are few.
    let single = match dtype {
        DType::F32 => query.clone(),
        DType::BF16 | DType::F16 => query.clone().cast(DType::F32),
        _ => return None,
    };
    let single = of_flex(&single, DType::F32)?;
    let single = if single.is_contiguous() { single } else { single.to_contiguous() };
    let query_of = Query { tensor: &single, dims: query.dims(), padding, scoring };
    let mixed = match dtype {
        DType::F32 => attend::<f32>(query_of, &key, &value),
        DType::BF16 => attend::<bf16>(query_of, &key, &value),
        _ => attend::<f16>(query_of, &key, &value),
    };
    Some(Tensor::from_data(TensorData::new(mixed, query.dims()), (&query.device(), dtype)))
}

/// What attends.
struct Query<'a> {
    /// In float32 and one piece.
    tensor: &'a FlexTensor,
    dims: [usize; 4],
    padding: &'a [usize],
    scoring: Scoring,
}

/// `[batch, heads, time, dim]`.
fn attend<E: Stored>(query: Query, key: &FlexTensor, value: &FlexTensor) -> Vec<f32> {
    let Query { tensor, dims: [batch, heads, time, dim], padding, scoring } = query;
    let [_, kv_heads, seen, _] = key.shape().dims();
    let queries = tensor.as_slice::<f32>().expect("queries in one piece");
    let [keys, values] = [key, value].map(|tensor| Heads {
        storage: tensor.storage::<E>(),
        strides: std::array::from_fn(|dim| tensor.layout().strides()[dim] as usize),
        start: tensor.layout().start_offset(),
    });
    let rows = heads / kv_heads * time;
    let head_of = |number: usize| {
        let (sequence, head) = (number / kv_heads, number % kv_heads);
        // The queries of the heads that share one of keys follow each other.
        Head {
            queries: &queries[number * rows * dim..(number + 1) * rows * dim],
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
    mixed
}

/// Heads in the storage of a tensor, whose coordinates follow each other.
struct Heads<'a, E> {
    storage: &'a [E],
    strides: [usize; 4],
    start: usize,
}

impl<'a, E> Heads<'a, E> {
    /// The positions of a head, from its first to its last.
    fn head(&self, sequence: usize, head: usize, seen: usize, dim: usize) -> &'a [E] {
        let start = self.start + sequence * self.strides[0] + head * self.strides[1];
        &self.storage[start..start + (seen - 1) * self.strides[2] + dim]
    }
}

/// A head of keys and values with the queries that share it.
struct Head<'a, E> {
    /// `[rows, dim]`, where a row is one of `time` positions of a head of queries.
    queries: &'a [f32],
    keys: &'a [E],
    values: &'a [E],
    /// From a position to the next, of keys and of values.
    strides: [usize; 2],
    dim: usize,
    time: usize,
    seen: usize,
    /// The first positions, to which nothing attends.
    before: usize,
    scoring: Scoring,
}

impl<E> Head<'_, E> {
    /// The end of the positions that a row of queries sees.
    fn end_of(&self, row: usize) -> usize {
        self.seen - self.time + row % self.time + 1
    }
}

/// Some positions of a head.
struct Span<'a, E> {
    head: Head<'a, E>,
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

impl<E: Stored> WithSimd for Span<'_, E> {
    type Output = Part;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Part {
        let Self { head, first, end } = self;
        let rows = head.queries.len() / head.dim;
        let (mut highest, mut total) = (vec![f32::NEG_INFINITY; rows], vec![0.0; rows]);
        let mut mixed = vec![0.0; rows * head.dim];
        let mut scores = vec![0.0; rows * SPAN];
        let mut rooms = [Vec::new(), Vec::new()];
        let [of_keys, of_values] = &mut rooms;
        let count = end.saturating_sub(first);
        let (keys, of_key) = singles(head.keys, head.strides[0], head.dim, first, count, of_keys);
        let (values, of_value) = singles(head.values, head.strides[1], head.dim, first, count, of_values);
        // Scores row by row of queries; a key is read once for all of them.
        for at in 0..count {
            let key = &keys[at * of_key..][..head.dim];
            for (row, query) in head.queries.chunks_exact(head.dim).enumerate() {
                scores[row * SPAN + at] = head.scoring.scale * dot(simd, query, key);
            }
        }
        for (row, mixed) in mixed.chunks_exact_mut(head.dim).enumerate() {
            let visible = head.end_of(row).min(end).saturating_sub(first);
            if visible == 0 {
                continue;
            }
            let scores = &mut scores[row * SPAN..][..visible];
            if let Some(cap) = head.scoring.cap {
                scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
            }
            let shift = fused::highest(scores);
            highest[row] = shift;
            for score in scores.iter_mut() {
                *score = exp(*score - shift);
            }
            total[row] = sum(simd, scores);
            mix(simd, scores, values, of_value, mixed);
        }
        Part { highest, total, mixed }
    }
}

/// Positions of a head from the first on, `count` of them, in float32, and how far each is from the next: where they are, or in a room
/// for them. None of a span of padding alone, which begins behind its end.
#[inline(always)]
fn singles<'a, E: Stored>(
    numbers: &'a [E],
    stride: usize,
    dim: usize,
    first: usize,
    count: usize,
    room: &'a mut Vec<f32>,
) -> (&'a [f32], usize) {
    let numbers = numbers.get(first * stride..).unwrap_or_default();
    if let Some(numbers) = E::as_single(numbers) {
        return (numbers, stride);
    }
    room.resize(count * dim, 0.0);
    for (numbers, room) in numbers.chunks(stride.max(1)).zip(room.chunks_exact_mut(dim)) {
        for (number, room) in numbers.iter().zip(room) {
            *room = number.widen();
        }
    }
    (room, dim)
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
