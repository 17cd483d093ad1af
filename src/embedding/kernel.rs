//! The inner loops over rows: decoding, dot products, weighted sums and combinations, in float64.
//!
//! They are plain loops which the compiler turns into vector instructions; [`vectorized`] runs them with the widest
//! ones that the processor has (AVX-512, AVX2 with FMA, NEON), whatever the crate was compiled for. Closures and calls
//! that are not inlined would fall out of that, so the loops have neither.

use burn::tensor::{bf16, f16};
use pulp::{Arch, Simd, WithSimd};

use super::FloatType;
use crate::half_precision::Stored;

/// A computation over rows that is compiled once for each set of vector instructions.
pub(crate) trait Kernel {
    type Output;

    /// `FMA`: whether the processor multiplies and adds in one instruction. Implementations are `#[inline(always)]`.
    fn run<const FMA: bool>(self) -> Self::Output;
}

struct Vectorized<K>(K);

impl<K: Kernel> WithSimd for Vectorized<K> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> K::Output {
        // Without vectors there may be no fused instruction, and to emulate one is slow.
        if S::IS_SCALAR || cfg!(target_arch = "wasm32") {
            self.0.run::<false>()
        } else {
            self.0.run::<true>()
        }
    }
}

/// Runs a kernel with the widest vector instructions of this processor.
pub(crate) fn vectorized<K: Kernel>(kernel: K) -> K::Output {
    Arch::new().dispatch(Vectorized(kernel))
}

/// A value that a row is decoded to: exact, and where the arithmetic in float64 starts from.
pub(crate) trait Lane: Copy + Default + Into<f64> + Send + Sync + 'static {
    /// Decodes a whole row; `float` is a type that this lane can hold.
    fn decode(bytes: &[u8], float: FloatType, row: &mut [Self]);

    /// The value times a power of two.
    fn times(self, power: f64) -> Self;
}

impl Lane for f32 {
    #[inline(always)]
    fn decode(bytes: &[u8], float: FloatType, row: &mut [f32]) {
        match float {
            FloatType::F16 => decode_half(bytes, row),
            FloatType::BF16 => {
                for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = bf16::from_le_bytes(*bytes).widen();
                }
            }
            FloatType::F32 => {
                for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            FloatType::F64 => unreachable!("float64 rows are decoded to float64"),
        }
    }

    #[inline(always)]
    fn times(self, power: f64) -> f32 {
        (f64::from(self) * power) as f32
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn decode(bytes: &[u8], float: FloatType, row: &mut [f64]) {
        debug_assert_eq!(float, FloatType::F64);
        for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *value = f64::from_le_bytes(*bytes);
        }
    }

    #[inline(always)]
    fn times(self, power: f64) -> f64 {
        self * power
    }
}

#[inline(always)]
fn decode_half(bytes: &[u8], row: &mut [f32]) {
    let (mut bytes, mut row) = (bytes, row);
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = pulp::x86::V4::try_new() {
        let (chunks, rest) = bytes.as_chunks::<32>();
        let (values, others) = row.as_chunks_mut::<16>();
        for (values, chunk) in values.iter_mut().zip(chunks) {
            *values = bytemuck::cast(avx512.avx512f._mm512_cvtph_ps(bytemuck::cast(*chunk)));
        }
        (bytes, row) = (rest, others);
    }
    for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *value = f16::from_le_bytes(*bytes).widen();
    }
}

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

const LANES: usize = 16;

/// The square of a row's norm and its dot products with `K` vectors, in one sweep.
#[inline(always)]
pub(crate) fn dots<const FMA: bool, const K: usize, T: Lane>(
    row: &[T],
    vectors: [&[f64]; K],
) -> (f64, [f64; K]) {
    let mut squares = [0.0; LANES];
    let mut products = [[0.0; LANES]; K];
    let whole = row.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let chunk: &[T; LANES] = row[at..at + LANES].try_into().expect("a chunk of this length");
        let mut values = [0.0; LANES];
        for lane in 0..LANES {
            values[lane] = chunk[lane].into();
        }
        for lane in 0..LANES {
            squares[lane] = multiply_add::<FMA>(values[lane], values[lane], squares[lane]);
        }
        for k in 0..K {
            let vector: &[f64; LANES] =
                vectors[k][at..at + LANES].try_into().expect("a chunk of this length");
            for lane in 0..LANES {
                products[k][lane] = multiply_add::<FMA>(values[lane], vector[lane], products[k][lane]);
            }
        }
    }
    for at in whole..row.len() {
        let value: f64 = row[at].into();
        squares[at - whole] = multiply_add::<FMA>(value, value, squares[at - whole]);
        for k in 0..K {
            products[k][at - whole] = multiply_add::<FMA>(value, vectors[k][at], products[k][at - whole]);
        }
    }
    let mut totals = [0.0; K];
    for k in 0..K {
        totals[k] = total(products[k]);
    }
    (total(squares), totals)
}

#[inline(always)]
fn total(mut lanes: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Adds four weighted rows to sums: these are then read and written a quarter as often.
#[inline(always)]
pub(crate) fn add_four<const FMA: bool, T: Lane>(rows: &[T], weights: [f64; 4], sums: &mut [f64]) {
    let dim = sums.len();
    let (a, b) = (&rows[..dim], &rows[dim..2 * dim]);
    let (c, d) = (&rows[2 * dim..3 * dim], &rows[3 * dim..4 * dim]);
    for j in 0..dim {
        let first = multiply_add::<FMA>(weights[2], c[j].into(), weights[3] * d[j].into());
        let second = multiply_add::<FMA>(weights[0], a[j].into(), sums[j]);
        sums[j] = multiply_add::<FMA>(weights[1], b[j].into(), first) + second;
    }
}

/// Adds one weighted row to sums.
#[inline(always)]
pub(crate) fn add_one<const FMA: bool, T: Lane>(row: &[T], weight: f64, sums: &mut [f64]) {
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum = multiply_add::<FMA>(weight, value.into(), *sum);
    }
}

/// `out = alpha row + sum_k beta_k vector_k`, rounded to float32 once.
#[inline(always)]
pub(crate) fn combine<const FMA: bool, const K: usize, T: Lane>(
    (alpha, row): (f64, &[T]),
    factors: [f64; K],
    vectors: [&[f64]; K],
    out: &mut [f32],
) {
    let dim = out.len();
    let row = &row[..dim];
    let mut parts = [&[] as &[f64]; K];
    for k in 0..K {
        parts[k] = &vectors[k][..dim];
    }
    for j in 0..dim {
        let mut value = alpha * row[j].into();
        for k in 0..K {
            value = multiply_add::<FMA>(factors[k], parts[k][j], value);
        }
        out[j] = value as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_precision_number_is_decoded_exactly() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        struct Decode<'a>(&'a [u8], &'a mut [f32]);
        impl Kernel for Decode<'_> {
            type Output = ();
            #[inline(always)]
            fn run<const FMA: bool>(self) {
                f32::decode(self.0, FloatType::F16, self.1);
            }
        }
        let mut decoded = vec![0.0; 1 << 16];
        vectorized(Decode(&all, &mut decoded));
        for half in 0..=u16::MAX {
            let mantissa = f64::from(half & 1023);
            let magnitude = match half >> 10 & 31 {
                0 => mantissa * 0.5_f64.powi(24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                exponent => (1.0 + mantissa / 1024.0) * 2.0_f64.powi(i32::from(exponent) - 15),
            };
            let expected = if half >> 15 == 1 { -magnitude } else { magnitude };
            for value in [decoded[usize::from(half)], f16::from_bits(half).widen()] {
                let same = f64::from(value) == expected && value.is_sign_negative() == (half >> 15 == 1);
                assert!(same || value.is_nan() && expected.is_nan(), "{half:#x}: {value}");
            }
        }
    }

    struct All<'a>(&'a [f64], &'a [f64]);

    impl Kernel for All<'_> {
        type Output = (f64, [f64; 1], Vec<f64>, Vec<f32>);
        #[inline(always)]
        fn run<const FMA: bool>(self) -> Self::Output {
            let dim = self.1.len();
            let row = &self.0[..dim];
            let (square, product) = dots::<FMA, 1, _>(row, [self.1]);
            let (mut sums, mut out) = (self.1.to_vec(), vec![0.0; dim]);
            add_four::<FMA, _>(self.0, [1.0, 2.0, 3.0, 4.0], &mut sums);
            add_one::<FMA, _>(row, 5.0, &mut sums);
            combine::<FMA, 1, _>((2.0, row), [3.0], [self.1], &mut out);
            (square, product, sums, out)
        }
    }

    /// On small whole numbers every order and every instruction set gives the same.
    #[test]
    fn every_length_and_instruction_set_computes_the_formula() {
        for dim in 1..70 {
            let rows: Vec<f64> = (0..4 * dim).map(|i| (i * 7 % 23) as f64 - 11.0).collect();
            let vector: Vec<f64> = (0..dim).map(|i| (i * 5 % 17) as f64 - 8.0).collect();
            let row = &rows[..dim];
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let sum = |j: usize| vector[j] + (0..4).map(|i| (i + 1) as f64 * rows[i * dim + j]).sum::<f64>();
            for found in [vectorized(All(&rows, &vector)), All(&rows, &vector).run::<false>()] {
                assert_eq!((found.0, found.1), (dot(row, row), [dot(row, &vector)]));
                for j in 0..dim {
                    assert_eq!(found.2[j], sum(j) + 5.0 * row[j]);
                    assert_eq!(f64::from(found.3[j]), 2.0 * row[j] + 3.0 * vector[j]);
                }
            }
        }
    }
}
