//! Blocks whose values are taken from a table: finer near zero, where most weights are.
//!
//! Source: `block_iq4_nl` and `block_iq4_xs` in `ggml-common.h` of <https://github.com/ggml-org/ggml>.

use super::half::f16;

const LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// A scale and 32 values.
pub(super) fn iq4_nl(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<18>().0 {
        let scale = f16([block[0], block[1]]);
        values.extend(levels(&block[2..]).map(|level| scale * level));
    }
}

/// A scale, those of 8 parts (two bits of each, then four), and 256 values.
pub(super) fn iq4_xs(bytes: &[u8], values: &mut Vec<f32>) {
    for block in bytes.as_chunks::<136>().0 {
        let scale = f16([block[0], block[1]]);
        let high = u16::from_le_bytes([block[2], block[3]]);
        let (low, quanta) = block[4..].split_at(4);
        for (part, quanta) in quanta.chunks_exact(16).enumerate() {
            let low = low[part / 2] >> (4 * (part % 2)) & 15;
            let high = (high >> (2 * part) & 3) as u8;
            let scale = scale * (f32::from(low | high << 4) - 32.0);
            values.extend(levels(quanta).map(|level| scale * level));
        }
    }
}

/// The levels of the low nibbles of all bytes, then of the high ones.
fn levels(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let low = bytes.iter().map(|byte| LEVELS[usize::from(byte & 15)]);
    low.chain(bytes.iter().map(|byte| LEVELS[usize::from(byte >> 4)]))
}
