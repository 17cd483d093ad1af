/// 16-bit floating point (IEEE 754 binary16).
pub(super) fn f16(bytes: [u8; 2]) -> f32 {
    burn::tensor::f16::from_le_bytes(bytes).to_f32()
}
