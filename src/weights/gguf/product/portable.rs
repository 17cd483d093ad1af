//! The products of rows with one vector, in integers.

use super::decode::half_at;
use super::{BLOCK, Block};

/// The partial sums of a block's product in integers: eight, of four terms each.
type Partial = [i32; 8];

/// Adds partial sums of a block, times its scale.
#[inline(always)]
fn add(sums: &mut [f32; 8], partial: Partial, scale: f32) {
    for lane in 0..8 {
        sums[lane] += scale * partial[lane] as f32;
    }
}

#[inline(always)]
fn sum_of(product: impl Fn(usize) -> i32) -> Partial {
    std::array::from_fn(|lane| {
        (0..2).flat_map(|half| [16 * half + 2 * lane, 16 * half + 2 * lane + 1]).map(&product).sum()
    })
}

#[inline(always)]
fn nibbles_times(quanta: &[u8], numbers: &[i16; BLOCK]) -> Partial {
    let quantum = |at: usize| i32::from(if at < 16 { quanta[at] & 15 } else { quanta[at - 16] >> 4 });
    sum_of(|at| quantum(at) * i32::from(numbers[at]))
}

#[inline(always)]
pub(super) fn q4_1(row: &[u8], vector: &[Block]) -> f32 {
    let (mut sums, mut minima) = ([0.0; 8], 0.0);
    for (block, vector) in row.as_chunks::<{ 4 + BLOCK / 2 }>().0.iter().zip(vector) {
        add(&mut sums, nibbles_times(&block[4..], &vector.numbers), half_at(block, 0) * vector.scale);
        minima += half_at(block, 2) * vector.sum;
    }
    sums.iter().sum::<f32>() + minima
}

#[inline(always)]
pub(super) fn q4_0(row: &[u8], vector: &[Block]) -> f32 {
    let (mut sums, mut minima) = ([0.0; 8], 0.0);
    for (block, vector) in row.as_chunks::<{ 2 + BLOCK / 2 }>().0.iter().zip(vector) {
        let scale = half_at(block, 0);
        add(&mut sums, nibbles_times(&block[2..], &vector.numbers), scale * vector.scale);
        minima -= 8.0 * scale * vector.sum;
    }
    sums.iter().sum::<f32>() + minima
}

#[inline(always)]
pub(super) fn q8_0(row: &[u8], vector: &[Block]) -> f32 {
    let mut sums = [0.0; 8];
    for (block, vector) in row.as_chunks::<{ 2 + BLOCK }>().0.iter().zip(vector) {
        let product = |at: usize| i32::from(block[2 + at].cast_signed()) * i32::from(vector.numbers[at]);
        add(&mut sums, sum_of(product), half_at(block, 0) * vector.scale);
    }
    sums.iter().sum()
}
