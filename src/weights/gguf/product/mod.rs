//! Products with matrices that stay in the blocks of the file.
//!
//! A row of the matrix is read once, block by block. A single vector is multiplied with it in integers: the values of each
//! block of the vector become 16-bit numbers with a scale, which keeps four to five digits of the largest of them, and the sum over
//! a block is exact, with the instructions for pairs of such numbers where the processor has them. Several vectors are
//! multiplied with the values of the row in float32. Rows are divided among threads.

mod decode;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::dequant::dequantise;
use super::tensor::TensorType;
use decode::{BLOCK, LANES, decode_q4_0, decode_q4_1, decode_q8_0};

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
    #[inline(always)]
    fn new(values: &[f32; BLOCK]) -> Self {
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // What is not finite has no number, and its products are to be seen to be none.
        let finite = values.iter().all(|value| value.is_finite());
        let scale = if finite { largest / f32::from(i16::MAX) } else { f32::NAN };
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let mut numbers = [0; BLOCK];
        for (number, value) in numbers.iter_mut().zip(values) {
            *number = (value * inverse).round_ties_even() as i16;
        }
        Self { numbers, scale, sum: values.iter().sum() }
    }
}

/// A vector whose blocks are rounded.
struct Rounded<'a>(&'a [f32]);

impl WithSimd for Rounded<'_> {
    type Output = Vec<Block>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Block> {
        self.0.as_chunks::<BLOCK>().0.iter().map(Block::new).collect()
    }
}

impl<'a> Vectors<'a> {
    /// The vectors that follow each other in `values`.
    pub(crate) fn new(values: &'a [f32], width: usize) -> Self {
        let blocks = match values.len() == width {
            true => Arch::new().dispatch(Rounded(values)),
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
        let kernels = Kernels::new();
        let mut values = Vec::new();
        for (row, products) in bytes.chunks(matrix.row_bytes).zip(products.chunks_mut(count)) {
            match (matrix.dtype, products) {
                (TensorType::Q8_0, [product]) => *product = kernels.q8_0(row, &vectors.blocks),
                (TensorType::Q4_0, [product]) => *product = kernels.q4_0(row, &vectors.blocks),
                (TensorType::Q4_1, [product]) => *product = kernels.q4_1(row, &vectors.blocks),
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

/// The products of a row with one vector, with what instructions the processor has.
#[derive(Clone, Copy)]
struct Kernels {
    #[cfg(target_arch = "x86_64")]
    simd: Option<pulp::x86::V3>,
}

/// A kernel by the type of the blocks.
macro_rules! kernel {
    ($name:ident) => {
        #[inline(always)]
        fn $name(self, row: &[u8], vector: &[Block]) -> f32 {
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = self.simd {
                return x86::$name(simd, row, vector);
            }
            portable::$name(row, vector)
        }
    };
}

impl Kernels {
    #[inline(always)]
    fn new() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            simd: pulp::x86::V3::try_new(),
        }
    }

    kernel!(q8_0);
    kernel!(q4_0);
    kernel!(q4_1);
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

#[cfg(test)]
mod tests;
