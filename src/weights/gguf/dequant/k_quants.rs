//! The K-quants of llama.cpp: blocks of 256 values in parts of 16 or 32, each part with a scale, and some with a minimum,
//! that are themselves small numbers times a scale of the block.
//!
//! Source: `block_q2_K` to `block_q6_K` in `ggml-common.h` of <https://github.com/ggml-org/ggml>.

use super::half::f16;

/// The number of values of a block.
const BLOCK: usize = 256;

/// Scales and minima of 16 parts (a nibble each), the values, the scale and the minimum of the block.
pub(super) fn q2_k(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<84>().0 {
        let (parts, rest) = block.split_at(BLOCK / 16);
        let (quanta, rest) = rest.split_at(BLOCK / 4);
        let (scale, minimum) = (f16([rest[0], rest[1]]), f16([rest[2], rest[3]]));
        for (part, (half, pair, start)) in in_parts_of_16().enumerate() {
            let scale = scale * f32::from(parts[part] & 15);
            let minimum = minimum * f32::from(parts[part] >> 4);
            let quanta = quanta[half * 32 + start..][..16].iter();
            values.extend(quanta.map(|byte| scale * f32::from(byte >> (2 * pair) & 3) - minimum));
        }
    }
}

/// The highest bits of the values, their two lower bits, scales of 16 parts, the scale of the block.
pub(super) fn q3_k(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<110>().0 {
        let (high, rest) = block.split_at(BLOCK / 8);
        let (low, rest) = rest.split_at(BLOCK / 4);
        let (parts, scale) = rest.split_at(12);
        let scale = f16([scale[0], scale[1]]);
        for (part, (half, pair, start)) in in_parts_of_16().enumerate() {
            let low_bits = parts[part % 8] >> (4 * (part / 8)) & 15;
            let high_bits = parts[8 + part % 4] >> (2 * (part / 4)) & 3;
            let scale = scale * (f32::from(low_bits | high_bits << 4) - 32.0);
            let low = low[half * 32 + start..][..16].iter();
            let high = high[start..][..16].iter();
            values.extend(low.zip(high).map(|(low, high)| {
                let low = f32::from(low >> (2 * pair) & 3);
                // Where the bit is set, nothing is subtracted.
                let is_set = high >> (4 * half + pair) & 1 == 1;
                scale * if is_set { low } else { low - 4.0 }
            }));
        }
    }
}

/// Which quarter of which half of the values each part of 16 has, and where it begins in the bytes of that half: four
/// values share a byte, and lie 32 values apart.
fn in_parts_of_16() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..BLOCK / 16).map(|part| (part / 8, part / 2 % 4, part % 2 * 16))
}

/// Scale and minimum of the block, those of 8 parts, the values.
pub(super) fn q4_k(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<144>().0 {
        let (head, quanta) = block.split_at(16);
        for part in 0..8 {
            let (scale, minimum) = scale_and_minimum(head, part);
            let quanta = quanta[part / 2 * 32..][..32].iter();
            values.extend(quanta.map(|byte| scale * f32::from(byte >> (4 * (part % 2)) & 15) - minimum));
        }
    }
}

/// Scale and minimum of the block, those of 8 parts, the highest bits of the values, their four lower bits.
pub(super) fn q5_k(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<176>().0 {
        let (head, rest) = block.split_at(16);
        let (high, low) = rest.split_at(BLOCK / 8);
        for part in 0..8 {
            let (scale, minimum) = scale_and_minimum(head, part);
            let low = low[part / 2 * 32..][..32].iter();
            values.extend(low.zip(high).map(|(low, high)| {
                let quantum = low >> (4 * (part % 2)) & 15 | (high >> part & 1) << 4;
                scale * f32::from(quantum) - minimum
            }));
        }
    }
}

/// The scale and the minimum of one of 8 parts, from the 16 bytes at the beginning of a block: two scales of 16 bits, then
/// eight numbers of 6 bits for the scales and eight for the minima. The last four of each lie in nibbles and in the
/// highest bits of the first four.
fn scale_and_minimum(head: &[u8], part: usize) -> (f32, f32) {
    let (scale, minimum) = (f16([head[0], head[1]]), f16([head[2], head[3]]));
    let (scales, rest) = head[4..].split_at(4);
    let (minima, nibbles) = rest.split_at(4);
    let (low, high) = match part {
        0..4 => (scales[part] & 63, minima[part] & 63),
        _ => {
            let part = part - 4;
            (nibbles[part] & 15 | scales[part] >> 6 << 4, nibbles[part] >> 4 | minima[part] >> 6 << 4)
        }
    };
    (scale * f32::from(low), minimum * f32::from(high))
}

/// The four lower bits of the values, their two highest, scales of 16 parts, the scale of the block.
pub(super) fn q6_k(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<210>().0 {
        let (low, rest) = block.split_at(BLOCK / 2);
        let (high, rest) = rest.split_at(BLOCK / 4);
        let (parts, scale) = rest.split_at(BLOCK / 16);
        let scale = f16([scale[0], scale[1]]);
        // The two of the upper bits share a byte with those of three other quarters of a half, the lower ones with one.
        for (part, (half, pair, start)) in in_parts_of_16().enumerate() {
            let scale = scale * f32::from(parts[part].cast_signed());
            let low = low[half * 64 + pair % 2 * 32 + start..][..16].iter();
            let high = high[half * 32 + start..][..16].iter();
            values.extend(low.zip(high).map(|(low, high)| {
                let quantum = low >> (4 * (pair / 2)) & 15 | (high >> (2 * pair) & 3) << 4;
                scale * (f32::from(quantum) - 32.0)
            }));
        }
    }
}
