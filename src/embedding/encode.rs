use burn::tensor::{bf16, f16};

use super::kernel::Lane;
use super::{FloatType, RawRows};

/// Appends values as they are stored in `float`.
pub(crate) fn encode(values: &[f32], float: FloatType, bytes: &mut Vec<u8>) {
    match float {
        FloatType::F32 => bytes.extend_from_slice(bytemuck::cast_slice(values)),
        FloatType::F16 => bytes.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
        FloatType::BF16 => bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes())),
        FloatType::F64 => bytes.extend(values.iter().flat_map(|&value| f64::from(value).to_le_bytes())),
    }
}

impl RawRows<'_> {
    /// All values, rounded to float32 where they are float64.
    pub(crate) fn to_single(self) -> Vec<f32> {
        match self.float() {
            FloatType::F64 => self
                .bytes()
                .as_chunks::<8>()
                .0
                .iter()
                .map(|bytes| f64::from_le_bytes(*bytes) as f32)
                .collect(),
            float => {
                let mut values = vec![0.0; self.len() * self.dim()];
                f32::decode(self.bytes(), float, &mut values);
                values
            }
        }
    }

    /// Appends the values in another float type; exact where that can hold them, else rounded once.
    pub(crate) fn convert(self, float: FloatType, bytes: &mut Vec<u8>) {
        if float == self.float() {
            return bytes.extend_from_slice(self.bytes());
        }
        if self.float() == FloatType::F64 {
            let values = self.bytes().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
            return match float {
                FloatType::F16 => bytes.extend(values.flat_map(|value| f16::from_f64(value).to_le_bytes())),
                FloatType::BF16 => bytes.extend(values.flat_map(|value| bf16::from_f64(value).to_le_bytes())),
                _ => bytes.extend(values.flat_map(|value| (value as f32).to_le_bytes())),
            };
        }
        encode(&self.to_single(), float, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_types_keep_every_value_and_narrower_ones_round_it() {
        let values = [1.0_f32, -0.5, 65504.0, 0.1];
        let mut single = Vec::new();
        encode(&values, FloatType::F32, &mut single);
        let rows = RawRows::new(&single, FloatType::F32, 2).unwrap();
        let mut double = Vec::new();
        rows.convert(FloatType::F64, &mut double);
        let wide = RawRows::new(&double, FloatType::F64, 2).unwrap();
        assert_eq!(wide.to_single(), values);
        for float in [FloatType::F16, FloatType::BF16] {
            let (mut narrow, mut other) = (Vec::new(), Vec::new());
            rows.convert(float, &mut narrow);
            wide.convert(float, &mut other);
            assert_eq!(narrow, other);
            let narrow = RawRows::new(&narrow, float, 2).unwrap().to_single();
            assert_eq!(narrow[..2], values[..2]);
            assert!(narrow[3] != values[3]);
            approx::assert_abs_diff_eq!(narrow[3], values[3], epsilon = 1e-3);
        }
    }
}
