//! The products of rows with one vector, in integers, with the instructions of x86-64-v3 (AVX2).
//!
//! Two blocks at a time: their scales and minima are widened together, and their sums need not wait for each other. What is
//! left of a row is for [`portable`].
//!
//! There is no `map` over an array here: it is a function of its own where it is not inlined, and then without the instructions.

use std::arch::x86_64::{__m128, __m128i, __m256, __m256i};

use pulp::x86::V3;

use super::{BLOCK, Block, portable};

/// What both blocks begin with, of 16 bits each: the scales in lanes 0 and 2; in 1 and 3 what is multiplied with the sums of
/// the values of the vector.
#[inline(always)]
fn widened(simd: V3, [first, second]: [i32; 2]) -> __m128 {
    let (sse, sse2) = (simd.sse, simd.sse2);
    let halves = simd.sse4_1._mm_cvtepu16_epi32(sse2._mm_set_epi32(0, 0, second, first));
    let magnitude = sse2._mm_slli_epi32::<13>(sse2._mm_and_si128(halves, sse2._mm_set1_epi32(0x7FFF)));
    let to_single = sse._mm_set1_ps(f32::from_bits(0x7780_0000));
    let magnitude = sse._mm_mul_ps(sse2._mm_castsi128_ps(magnitude), to_single);
    let sign = sse2._mm_slli_epi32::<16>(sse2._mm_and_si128(halves, sse2._mm_set1_epi32(0x8000)));
    sse._mm_or_ps(magnitude, sse2._mm_castsi128_ps(sign))
}

/// The sum of both products of 16-bit numbers.
#[inline(always)]
fn product(simd: V3, quanta: [__m256i; 2], numbers: &[i16; BLOCK]) -> __m256 {
    let (avx, avx2) = (simd.avx, simd.avx2);
    let [first, second]: [__m256i; 2] = bytemuck::cast(*numbers);
    let products = [avx2._mm256_madd_epi16(quanta[0], first), avx2._mm256_madd_epi16(quanta[1], second)];
    avx._mm256_cvtepi32_ps(avx2._mm256_add_epi32(products[0], products[1]))
}

/// Numbers of 4 bits without a sign, the lower ones of all bytes first.
#[inline(always)]
fn nibbles(simd: V3, quanta: &[u8]) -> [__m256i; 2] {
    let (sse2, avx2) = (simd.sse2, simd.avx2);
    let quanta: &[u8; BLOCK / 2] = quanta.try_into().expect("half as many bytes as values");
    let quanta: __m128i = bytemuck::cast(*quanta);
    let mask = sse2._mm_set1_epi8(15);
    let low = sse2._mm_and_si128(quanta, mask);
    let high = sse2._mm_and_si128(sse2._mm_srli_epi16::<4>(quanta), mask);
    [avx2._mm256_cvtepu8_epi16(low), avx2._mm256_cvtepu8_epi16(high)]
}

/// Numbers of 8 bits with a sign.
#[inline(always)]
fn bytes(simd: V3, quanta: &[u8]) -> [__m256i; 2] {
    let quanta: &[u8; BLOCK] = quanta.try_into().expect("as many bytes as values");
    let [first, second]: [__m128i; 2] = bytemuck::cast(*quanta);
    [simd.avx2._mm256_cvtepi8_epi16(first), simd.avx2._mm256_cvtepi8_epi16(second)]
}

/// The product of blocks of `SIZE` bytes in pairs, `PAIR` bytes together, with a vector.
///
/// * `start` - What a block begins with, two numbers of 16 bits.
/// * `quanta` - The numbers of a block.
/// * `minimum` - What the sum of a block's vector is multiplied with, beside the second number.
#[inline(always)]
fn pairs<const SIZE: usize, const PAIR: usize>(
    simd: V3,
    row: &[u8],
    vector: &[Block],
    start: impl Fn(&[u8]) -> i32,
    quanta: impl Fn(&[u8]) -> [__m256i; 2],
    minimum: f32,
) -> f32 {
    let (sse, avx, avx2, fma) = (simd.sse, simd.avx, simd.avx2, simd.fma);
    let (mut sums, mut minima) = ([avx._mm256_setzero_ps(); 2], sse._mm_setzero_ps());
    for (pair, [a, b]) in row.as_chunks::<PAIR>().0.iter().zip(vector.as_chunks::<2>().0) {
        let (first, second) = pair.split_at(SIZE);
        let of_vector = sse._mm_set_ps(minimum * b.sum, b.scale, minimum * a.sum, a.scale);
        let scales = sse._mm_mul_ps(widened(simd, [start(first), start(second)]), of_vector);
        minima = sse._mm_add_ps(minima, scales);
        let one = avx2._mm256_broadcastss_ps(scales);
        let other = avx2._mm256_broadcastss_ps(sse._mm_movehl_ps(scales, scales));
        sums[0] = fma._mm256_fmadd_ps(one, product(simd, quanta(first), &a.numbers), sums[0]);
        sums[1] = fma._mm256_fmadd_ps(other, product(simd, quanta(second), &b.numbers), sums[1]);
    }
    let sums: [f32; 8] = bytemuck::cast(avx._mm256_add_ps(sums[0], sums[1]));
    let minima: [f32; 4] = bytemuck::cast(minima);
    let minima = if minimum == 0.0 { 0.0 } else { minima[1] + minima[3] };
    sums.iter().sum::<f32>() + minima
}

/// What is left of a row and a vector behind pairs of blocks.
#[inline(always)]
fn rest<'a, const PAIR: usize>(row: &'a [u8], vector: &'a [Block]) -> (&'a [u8], &'a [Block]) {
    (row.as_chunks::<PAIR>().1, vector.as_chunks::<2>().1)
}

#[inline(always)]
fn half(block: &[u8]) -> u16 {
    u16::from_le_bytes([block[0], block[1]])
}

#[inline(always)]
pub(super) fn q4_1(simd: V3, row: &[u8], vector: &[Block]) -> f32 {
    let start = |block: &[u8]| i32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    let (left, of_vector) = rest::<40>(row, vector);
    pairs::<20, 40>(simd, row, vector, start, |block| nibbles(simd, &block[4..]), 1.0)
        + portable::q4_1(left, of_vector)
}

#[inline(always)]
pub(super) fn q4_0(simd: V3, row: &[u8], vector: &[Block]) -> f32 {
    // The minimum is -8 scales.
    let start = |block: &[u8]| (u32::from(half(block)) * 0x1_0001).cast_signed();
    let (left, of_vector) = rest::<36>(row, vector);
    pairs::<18, 36>(simd, row, vector, start, |block| nibbles(simd, &block[2..]), -8.0)
        + portable::q4_0(left, of_vector)
}

#[inline(always)]
pub(super) fn q8_0(simd: V3, row: &[u8], vector: &[Block]) -> f32 {
    let (left, of_vector) = rest::<68>(row, vector);
    pairs::<34, 68>(simd, row, vector, |block| half(block).into(), |block| bytes(simd, &block[2..]), 0.0)
        + portable::q8_0(left, of_vector)
}
