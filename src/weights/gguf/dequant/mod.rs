//! Stored values as 32-bit floating point.
//!
//! Each value is computed with the operations of ggml in their order, so that it is the same to the bit.
//!
//! ```text
//! half      16-bit floating point
//! k_quants  blocks of 256 values, whose scales are themselves small numbers
//! levels    blocks whose values are taken from a table of sixteen
//! ```

mod half;
mod k_quants;
mod levels;
#[cfg(test)]
mod parity_tests;

use self::half::f16;
use super::tensor::TensorType;

/// The number of values of the blocks that are read here.
const BLOCK: usize = 32;

/// The types that can be read, for messages.
pub(super) const READABLE: &str =
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL or IQ4_XS";

/// Whether values of a type can be read.
pub(super) fn is_readable(dtype: TensorType) -> bool {
    decoder(dtype).is_some()
}

/// Puts the values of whole blocks behind `values`.
///
/// Types that are not [`is_readable`] are left out.
pub(super) fn dequantise(dtype: TensorType, bytes: &[u8], values: &mut Vec<f32>) {
    if let Some(decode) = decoder(dtype) {
        decode(bytes, values);
    }
}

type Decode = fn(&[u8], &mut Vec<f32>);

fn decoder(dtype: TensorType) -> Option<Decode> {
    Some(match dtype {
        TensorType::F32 => f32s,
        TensorType::F16 => f16s,
        TensorType::BF16 => bf16s,
        TensorType::Q8_0 => q8_0,
        TensorType::Q4_0 => q4_0,
        TensorType::Q4_1 => q4_1,
        TensorType::Q5_0 => q5_0,
        TensorType::Q5_1 => q5_1,
        TensorType::Q2_K => k_quants::q2_k,
        TensorType::Q3_K => k_quants::q3_k,
        TensorType::Q4_K => k_quants::q4_k,
        TensorType::Q5_K => k_quants::q5_k,
        TensorType::Q6_K => k_quants::q6_k,
        TensorType::IQ4_NL => levels::iq4_nl,
        TensorType::IQ4_XS => levels::iq4_xs,
        _ => return None,
    })
}

fn f32s(bytes: &[u8], values: &mut Vec<f32>) {
    values.extend(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
}

fn f16s(bytes: &[u8], values: &mut Vec<f32>) {
    values.extend(bytes.as_chunks().0.iter().map(|bytes| f16(*bytes)));
}

fn bf16s(bytes: &[u8], values: &mut Vec<f32>) {
    let wide = |[low, high]: &[u8; 2]| f32::from_le_bytes([0, 0, *low, *high]);
    values.extend(bytes.as_chunks().0.iter().map(wide));
}

fn q8_0(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<{ 2 + BLOCK }>().0 {
        let scale = f16([block[0], block[1]]);
        values.extend(block[2..].iter().map(|byte| scale * f32::from(byte.cast_signed())));
    }
}

fn q4_0(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<{ 2 + BLOCK / 2 }>().0 {
        let scale = f16([block[0], block[1]]);
        values.extend(nibbles(&block[2..]).map(|quantum| scale * (quantum - 8.0)));
    }
}

fn q4_1(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<{ 4 + BLOCK / 2 }>().0 {
        let scale = f16([block[0], block[1]]);
        let minimum = f16([block[2], block[3]]);
        values.extend(nibbles(&block[4..]).map(|quantum| scale * quantum + minimum));
    }
}

fn q5_0(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<{ 6 + BLOCK / 2 }>().0 {
        let scale = f16([block[0], block[1]]);
        let fifth = [block[2], block[3], block[4], block[5]];
        values.extend(with_fifth_bits(fifth, &block[6..]).map(|quantum| scale * (quantum - 16.0)));
    }
}

fn q5_1(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<{ 8 + BLOCK / 2 }>().0 {
        let scale = f16([block[0], block[1]]);
        let minimum = f16([block[2], block[3]]);
        let fifth = [block[4], block[5], block[6], block[7]];
        values.extend(with_fifth_bits(fifth, &block[8..]).map(|quantum| scale * quantum + minimum));
    }
}

/// Numbers of five bits: the nibbles of `bytes`, and for each its highest bit.
fn with_fifth_bits(fifth: [u8; 4], bytes: &[u8]) -> impl Iterator<Item = f32> {
    let fifth = u32::from_le_bytes(fifth);
    nibbles(bytes).enumerate().map(move |(index, low)| low + ((fifth >> index & 1) << 4) as f32)
}

/// The low nibbles of all bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let low = bytes.iter().map(|byte| f32::from(byte & 15));
    low.chain(bytes.iter().map(|byte| f32::from(byte >> 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(bits: u16) -> f32 {
        f16(bits.to_le_bytes())
    }

    #[test]
    fn halves_are_exact() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x8000).is_sign_negative() && half(0x8000) == 0.0);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn halves_grow_with_their_bits() {
        let values: Vec<_> = (0..=0x7c00).map(half).collect();
        assert!(values.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn blocks_of_four_bits_hold_the_lower_halves_first() {
        let mut block = vec![0x00, 0x38, 0x00, 0xbc];
        block.extend((0..16u8).map(|index| index | (15 - index) << 4));
        let mut values = Vec::new();
        dequantise(TensorType::Q4_1, &block, &mut values);
        let expected: Vec<_> = (0..16).chain((0..16).rev()).map(|q| 0.5 * q as f32 - 1.0).collect();
        assert_eq!(values, expected);
        block.drain(2..4);
        values.clear();
        dequantise(TensorType::Q4_0, &block, &mut values);
        let expected: Vec<_> = (0..16).chain((0..16).rev()).map(|q| 0.5 * (q - 8) as f32).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn blocks_of_eight_bits_have_signs() {
        let mut block = vec![0x00, 0x34];
        block.extend((0..32).map(|index| (index * 8 - 128i32) as i8 as u8));
        let mut values = Vec::new();
        dequantise(TensorType::Q8_0, &block, &mut values);
        assert_eq!(values, (0..32).map(|index| 0.25 * (index * 8 - 128) as f32).collect::<Vec<_>>());
    }
}
