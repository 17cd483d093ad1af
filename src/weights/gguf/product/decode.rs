//! The values of blocks, as several vectors are multiplied with them.

/// The values of a block of the simple types.
pub(super) const BLOCK: usize = 32;

/// The partial sums of a product, as many as fill some vector registers.
pub(super) const LANES: usize = 16;

/// The scale or minimum that a block begins with.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    let half = u32::from(block[at]) | u32::from(block[at + 1]) << 8;
    // Without a branch or a call; infinite where all bits of the exponent are set, which no scale is.
    const TWO_TO_THE_112: f32 = f32::from_bits(0x7780_0000);
    let magnitude = f32::from_bits((half & 0x7FFF) << 13) * TWO_TO_THE_112;
    f32::from_bits(magnitude.to_bits() | (half & 0x8000) << 16)
}

#[inline(always)]
pub(super) fn decode_q4_1(row: &[u8], values: &mut Vec<f32>) {
    for block in row.as_chunks::<{ 4 + BLOCK / 2 }>().0 {
        decode_nibbles(&block[4..], half_at(block, 0), half_at(block, 2), values);
    }
}

#[inline(always)]
pub(super) fn decode_q4_0(row: &[u8], values: &mut Vec<f32>) {
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
pub(super) fn decode_q8_0(row: &[u8], values: &mut Vec<f32>) {
    for block in row.as_chunks::<{ 2 + BLOCK }>().0 {
        let scale = half_at(block, 0);
        let mut decoded = [0.0; BLOCK];
        for lane in 0..BLOCK {
            decoded[lane] = scale * block[2 + lane].cast_signed() as f32;
        }
        values.extend_from_slice(&decoded);
    }
}
