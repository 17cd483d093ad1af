//! Products with matrices that stay in the blocks of the file.
//!
//! A row of the matrix is read once, block by block. A single vector is multiplied with it in integers: the values of each
//! block of the vector become 16-bit numbers with a scale, which keeps four to five digits of the largest of them, and the sum over
//! a block is exact, with the instructions for pairs of such numbers where the processor has them. Several vectors are
//! multiplied with the values of the row in float32. Rows are divided among threads.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::dequant::dequantise;
use super::tensor::TensorType;

/// The values of a block of the simple types.
const BLOCK: usize = 32;

/// The partial sums of a product, as many as fill some vector registers.
const LANES: usize = 16;

/// The rows that a thread takes at once.
const ROWS: usize = 32;

/// Vectors, each of the width of a matrix, and what the blocks of a single one are in integers.
pub(crate) struct Vectors<'a> {
    values: &'a [f32],
    width: usize,
    blocks: Vec<Block>,
}

/// A block of a vector: its values are `scale` times the numbers.
struct Block {
    numbers: [i16; BLOCK],
    scale: f32,
    sum: f32,
}

impl Block {
    fn new(values: &[f32; BLOCK]) -> Self {
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // What is not finite has no number, and its products are to be seen to be none.
        let finite = values.iter().all(|value| value.is_finite());
        let scale = if finite { largest / f32::from(i16::MAX) } else { f32::NAN };
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let numbers = std::array::from_fn(|at| (values[at] * inverse).round_ties_even() as i16);
        Self { numbers, scale, sum: values.iter().sum() }
    }
}

impl<'a> Vectors<'a> {
    /// The vectors that follow each other in `values`.
    pub(crate) fn new(values: &'a [f32], width: usize) -> Self {
        let blocks = match values.len() == width {
            true => values.as_chunks::<BLOCK>().0.iter().map(Block::new).collect(),
            false => Vec::new(),
        };
        Self { values, width, blocks }
    }

    fn count(&self) -> usize {
        self.values.len() / self.width
    }
}

/// A matrix in the blocks of a GGUF file.
#[derive(Clone, Debug)]
pub(crate) struct BlockMatrix {
    pub(super) dtype: TensorType,
    pub(super) width: usize,
    pub(super) row_bytes: usize,
    pub(super) bytes: Vec<u8>,
}

impl BlockMatrix {
    /// The numbers of rows and columns.
    pub(crate) fn dims(&self) -> [usize; 2] {
        [self.bytes.len() / self.row_bytes, self.width]
    }

    /// The size in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the rows of another matrix of the same type and width behind these; returns it where it is of another.
    pub(crate) fn join(mut self, other: Self) -> std::result::Result<Self, (Self, Self)> {
        if (self.dtype, self.width) != (other.dtype, other.width) {
            return Err((self, other));
        }
        self.bytes.extend_from_slice(&other.bytes);
        Ok(self)
    }

    /// The same rows in another order.
    pub(crate) fn with_rows(&self, order: impl Iterator<Item = usize>) -> Self {
        let bytes = order.flat_map(|row| self.row(row)).copied().collect();
        Self { bytes, ..*self }
    }

    fn row(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.row_bytes..(row + 1) * self.row_bytes]
    }

    /// Puts the values of a row behind `values`.
    pub(crate) fn dequantise_row(&self, row: usize, values: &mut Vec<f32>) {
        dequantise(self.dtype, self.row(row), values);
    }

    /// All values, row by row.
    pub(crate) fn dequantised(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.dims()[0] * self.width];
        values.par_chunks_mut(ROWS * self.width).zip(self.bytes.par_chunks(ROWS * self.row_bytes)).for_each(
            |(values, bytes)| {
                let mut rows = Vec::with_capacity(values.len());
                dequantise(self.dtype, bytes, &mut rows);
                values.copy_from_slice(&rows);
            },
        );
        values
    }

    /// The products of all rows with each of the vectors: `[vectors, rows]`.
    pub(crate) fn products(&self, vectors: &Vectors<'_>) -> Vec<f32> {
        debug_assert_eq!(vectors.width, self.width);
        let (count, rows) = (vectors.count(), self.dims()[0]);
        let mut by_row = vec![0.0; rows * count];
        let arch = Arch::new();
        by_row
            .par_chunks_mut(ROWS * count)
            .zip(self.bytes.par_chunks(ROWS * self.row_bytes))
            .for_each(|(products, bytes)| arch.dispatch(Rows { matrix: self, bytes, vectors, products }));
        if count == 1 {
            return by_row;
        }
        let by_row = &by_row;
        (0..count).flat_map(|vector| (0..rows).map(move |row| by_row[row * count + vector])).collect()
    }
}

/// Some rows of a matrix, and where their products go: `[rows, vectors]`.
struct Rows<'a> {
    matrix: &'a BlockMatrix,
    bytes: &'a [u8],
    vectors: &'a Vectors<'a>,
    products: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { matrix, bytes, vectors, products } = self;
        let (width, count) = (matrix.width, vectors.count());
        let mut values = Vec::new();
        for (row, products) in bytes.chunks(matrix.row_bytes).zip(products.chunks_mut(count)) {
            match (matrix.dtype, products) {
                (TensorType::Q8_0, [product]) => *product = q8_0(row, &vectors.blocks),
                (TensorType::Q4_0, [product]) => *product = q4_0(row, &vectors.blocks),
                (TensorType::Q4_1, [product]) => *product = q4_1(row, &vectors.blocks),
                (dtype, products) => {
                    values.clear();
                    match dtype {
                        TensorType::Q4_1 => decode_q4_1(row, &mut values),
                        TensorType::Q4_0 => decode_q4_0(row, &mut values),
                        TensorType::Q8_0 => decode_q8_0(row, &mut values),
                        _ => dequantise(dtype, row, &mut values),
                    }
                    for (product, vector) in products.iter_mut().zip(vectors.values.chunks(width)) {
                        *product = dot(&values, vector);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<{ 2 * LANES }>();
    let (b, b_rest) = b.as_chunks::<{ 2 * LANES }>();
    let mut sums = [0.0; 2 * LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..2 * LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The scale or minimum that a block begins with.
#[inline(always)]
fn half_at(block: &[u8], at: usize) -> f32 {
    let half = u32::from(block[at]) | u32::from(block[at + 1]) << 8;
    // Without a branch or a call; infinite where all bits of the exponent are set, which no scale is.
    const TWO_TO_THE_112: f32 = f32::from_bits(0x7780_0000);
    let magnitude = f32::from_bits((half & 0x7FFF) << 13) * TWO_TO_THE_112;
    f32::from_bits(magnitude.to_bits() | (half & 0x8000) << 16)
}

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
fn nibbles_times(quanta: &[u8], numbers: &[i16; BLOCK]) -> Partial {
    let quanta: &[u8; BLOCK / 2] = quanta.try_into().expect("half as many bytes as values");
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        let (sse2, avx2) = (simd.sse2, simd.avx2);
        let quanta: std::arch::x86_64::__m128i = bytemuck::cast(*quanta);
        let mask = sse2._mm_set1_epi8(15);
        let low = avx2._mm256_cvtepu8_epi16(sse2._mm_and_si128(quanta, mask));
        let high = avx2._mm256_cvtepu8_epi16(sse2._mm_and_si128(sse2._mm_srli_epi16::<4>(quanta), mask));
        let [first, second]: [std::arch::x86_64::__m256i; 2] = bytemuck::cast(*numbers);
        let products = [avx2._mm256_madd_epi16(low, first), avx2._mm256_madd_epi16(high, second)];
        return bytemuck::cast(avx2._mm256_add_epi32(products[0], products[1]));
    }
    let quantum = |at: usize| i32::from(if at < 16 { quanta[at] & 15 } else { quanta[at - 16] >> 4 });
    let product = |at: usize| quantum(at) * i32::from(numbers[at]);
    std::array::from_fn(|lane| {
        (0..2).flat_map(|half| [16 * half + 2 * lane, 16 * half + 2 * lane + 1]).map(product).sum()
    })
}

#[inline(always)]
fn bytes_times(quanta: &[u8], numbers: &[i16; BLOCK]) -> Partial {
    let quanta: &[u8; BLOCK] = quanta.try_into().expect("as many bytes as values");
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        let avx2 = simd.avx2;
        let quanta: [std::arch::x86_64::__m128i; 2] = bytemuck::cast(*quanta);
        let numbers: [std::arch::x86_64::__m256i; 2] = bytemuck::cast(*numbers);
        let product =
            |half: usize| avx2._mm256_madd_epi16(avx2._mm256_cvtepi8_epi16(quanta[half]), numbers[half]);
        return bytemuck::cast(avx2._mm256_add_epi32(product(0), product(1)));
    }
    let product = |at: usize| i32::from(quanta[at].cast_signed()) * i32::from(numbers[at]);
    std::array::from_fn(|lane| {
        (0..2).flat_map(|half| [16 * half + 2 * lane, 16 * half + 2 * lane + 1]).map(product).sum()
    })
}

#[inline(always)]
fn q4_1(row: &[u8], vector: &[Block]) -> f32 {
    let (mut sums, mut minima) = ([0.0; 8], 0.0);
    for (block, vector) in row.as_chunks::<{ 4 + BLOCK / 2 }>().0.iter().zip(vector) {
        add(&mut sums, nibbles_times(&block[4..], &vector.numbers), half_at(block, 0) * vector.scale);
        minima += half_at(block, 2) * vector.sum;
    }
    sums.iter().sum::<f32>() + minima
}

#[inline(always)]
fn q4_0(row: &[u8], vector: &[Block]) -> f32 {
    let (mut sums, mut minima) = ([0.0; 8], 0.0);
    for (block, vector) in row.as_chunks::<{ 2 + BLOCK / 2 }>().0.iter().zip(vector) {
        let scale = half_at(block, 0);
        add(&mut sums, nibbles_times(&block[2..], &vector.numbers), scale * vector.scale);
        minima -= 8.0 * scale * vector.sum;
    }
    sums.iter().sum::<f32>() + minima
}

#[inline(always)]
fn q8_0(row: &[u8], vector: &[Block]) -> f32 {
    let mut sums = [0.0; 8];
    for (block, vector) in row.as_chunks::<{ 2 + BLOCK }>().0.iter().zip(vector) {
        add(&mut sums, bytes_times(&block[2..], &vector.numbers), half_at(block, 0) * vector.scale);
    }
    sums.iter().sum()
}

#[inline(always)]
fn decode_q4_1(row: &[u8], values: &mut Vec<f32>) {
    for block in row.as_chunks::<{ 4 + BLOCK / 2 }>().0 {
        decode_nibbles(&block[4..], half_at(block, 0), half_at(block, 2), values);
    }
}

#[inline(always)]
fn decode_q4_0(row: &[u8], values: &mut Vec<f32>) {
    for block in row.as_chunks::<{ 2 + BLOCK / 2 }>().0 {
        let scale = half_at(block, 0);
        decode_nibbles(&block[2..], scale, -8.0 * scale, values);
    }
}

#[inline(always)]
fn decode_nibbles(quanta: &[u8], scale: f32, minimum: f32, values: &mut Vec<f32>) {
    let mut block = [0.0; BLOCK];
    for lane in 0..LANES {
        block[lane] = scale * (quanta[lane] & 15) as f32 + minimum;
        block[LANES + lane] = scale * (quanta[lane] >> 4) as f32 + minimum;
    }
    values.extend_from_slice(&block);
}

#[inline(always)]
fn decode_q8_0(row: &[u8], values: &mut Vec<f32>) {
    for block in row.as_chunks::<{ 2 + BLOCK }>().0 {
        let scale = half_at(block, 0);
        let mut decoded = [0.0; BLOCK];
        for lane in 0..BLOCK {
            decoded[lane] = scale * block[2 + lane].cast_signed() as f32;
        }
        values.extend_from_slice(&decoded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::seeded_rng;
    use approx::assert_abs_diff_eq;
    use rand::RngExt;

    /// Random blocks of a type, whose scales are finite.
    fn matrix(dtype: TensorType, rows: usize, width: usize) -> BlockMatrix {
        let (values, size) = dtype.block().unwrap();
        let row_bytes = width / values as usize * size as usize;
        let mut rng = seeded_rng(dtype.0.into(), &[]);
        let mut bytes: Vec<u8> = (0..rows * row_bytes).map(|_| rng.random()).collect();
        // Any half below 2 has one of these upper bytes; for types without halves at these places it is as good as another.
        for block in bytes.chunks_mut(size as usize) {
            let halves: &[usize] = match dtype {
                TensorType::Q4_0 | TensorType::Q8_0 => &[1],
                TensorType::Q4_1 | TensorType::Q4_K => &[1, 3],
                TensorType::Q6_K => &[209],
                TensorType::F32 => &[3],
                _ => &[],
            };
            halves.iter().for_each(|at| block[*at] &= 0xBB);
        }
        BlockMatrix { dtype, width, row_bytes, bytes }
    }

    #[test]
    fn products_are_those_of_the_values() {
        for dtype in [
            TensorType::Q4_0,
            TensorType::Q4_1,
            TensorType::Q8_0,
            TensorType::Q4_K,
            TensorType::Q6_K,
            TensorType::F32,
        ] {
            let (rows, width) = (ROWS + 5, 512);
            let matrix = matrix(dtype, rows, width);
            let values = matrix.dequantised();
            // What is multiplied in integers: a value without its minimum.
            let mut minima = matrix.clone();
            if dtype == TensorType::Q4_1 {
                minima.bytes.chunks_mut(20).for_each(|block| block[4..].fill(0));
            } else {
                minima.bytes.fill(0);
            }
            let minima = minima.dequantised();
            let mut rng = seeded_rng(3, &[]);
            for count in [1, 3] {
                let vectors: Vec<f32> = (0..count * width).map(|_| rng.random_range(-1.0..1.0)).collect();
                let products = matrix.products(&Vectors::new(&vectors, width));
                assert_eq!(products.len(), count * rows);
                for (at, product) in products.iter().enumerate() {
                    let (vector, row) =
                        (&vectors[at / rows * width..][..width], &values[at % rows * width..][..width]);
                    let lowest = &minima[at % rows * width..][..width];
                    let terms = || vector.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b));
                    let size: f64 = terms().map(f64::abs).sum();
                    assert!(size.is_finite());
                    // A single vector is rounded to 16 bits, block by block: half a step for each value.
                    let in_integers =
                        count == 1 && [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0].contains(&dtype);
                    let steps = vector.chunks(BLOCK).flat_map(|block| {
                        let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                        [f64::from(largest) / f64::from(i16::MAX); BLOCK]
                    });
                    let of_steps: f64 = steps
                        .zip(row.iter().zip(lowest))
                        .map(|(step, (value, lowest))| step / 2.0 * f64::from(value - lowest).abs())
                        .sum();
                    let rounding = if in_integers { of_steps } else { 0.0 };
                    // And single precision, with sums of minima apart.
                    assert_abs_diff_eq!(
                        f64::from(*product),
                        terms().sum::<f64>(),
                        epsilon = rounding + 4e-6 * size + 1e-30
                    );
                }
            }
        }
    }

    #[test]
    fn rows_are_joined_and_reordered() {
        let (first, second) = (matrix(TensorType::Q4_1, 3, 64), matrix(TensorType::Q4_1, 2, 64));
        let expected = [second.dequantised(), first.dequantised()].concat();
        let joined = second.clone().join(first.clone()).unwrap();
        assert_eq!((joined.dims(), joined.dequantised()), ([5, 64], expected));
        let turned = joined.with_rows([4, 0].into_iter());
        let rows = [first.dequantised()[128..].to_vec(), second.dequantised()[..64].to_vec()].concat();
        assert_eq!(turned.dequantised(), rows);
        assert!(joined.join(matrix(TensorType::Q8_0, 1, 64)).is_err());
    }

    #[test]
    fn what_is_not_finite_shows_in_every_product() {
        for dtype in [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0, TensorType::Q4_K] {
            for value in [f32::NAN, f32::INFINITY] {
                let mut vector = vec![0.5; 512];
                vector[77] = value;
                let products = matrix(dtype, 3, 512).products(&Vectors::new(&vector, 512));
                assert!(products.iter().all(|product| !product.is_finite()), "{dtype:?}: {products:?}");
            }
        }
    }
}
