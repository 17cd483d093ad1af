//! Arrays with their names and shapes, in memory and as bytes.

use std::io::Write;
use std::path::Path;

use crate::embedding::{FloatType, RawRows, encode};
use crate::{Error, Result};

/// An array of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedArray {
    /// Its name in the file.
    pub(crate) name: String,
    /// Its shape; for the weight of a linear layer, as in PyTorch, `[out, in]`.
    pub(crate) shape: Vec<usize>,
    /// Its values, row-major.
    pub(crate) values: Vec<f32>,
}

/// An array that is to be written: its name and shape, and the values where they lie.
pub(crate) struct ArrayView<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [f32],
}

/// Values that are encoded at once, so that a large array needs no second copy of itself.
const CHUNK: usize = 1 << 16;

impl ArrayView<'_> {
    /// The number of bytes of the values as they are stored.
    pub(crate) fn num_bytes(&self, float: FloatType) -> u64 {
        self.values.len() as u64 * float.size() as u64
    }

    /// Writes the values, little-endian.
    pub(crate) fn write(&self, float: FloatType, file: &mut impl Write) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for values in self.values.chunks(CHUNK) {
            bytes.clear();
            encode(values, float, &mut bytes);
            file.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Refuses values that would become infinite.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] naming `path` and the array.
    pub(crate) fn check_range(&self, path: &Path, float: FloatType) -> Result<()> {
        // What rounds to infinity lies half a step above the greatest value: 2^16 - 2^4 and 2^128 - 2^119.
        let limit = match float {
            FloatType::F16 => 65520.0,
            FloatType::BF16 => f32::from_bits(0x7F7F_8000),
            FloatType::F32 | FloatType::F64 => return Ok(()),
        };
        let outside = |value: &&f32| value.is_finite() && value.abs() >= limit;
        match self.values.iter().find(outside) {
            None => Ok(()),
            Some(value) => Err(Error::format(
                path,
                format!(
                    "{:?}: expected values below {limit:e}, where {float} ends, found {value:e}",
                    self.name
                ),
            )),
        }
    }
}

/// Little-endian values as float32.
///
/// # Errors
///
/// [`Error::Format`] naming `path` and `name` for a float64 value that float32 cannot hold.
pub(crate) fn decode(path: &Path, name: &str, bytes: &[u8], float: FloatType) -> Result<Vec<f32>> {
    let values = RawRows::new(bytes, float, 1)?.to_single();
    if float == FloatType::F64 {
        let wide = bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        if let Some((wide, _)) =
            wide.zip(&values).find(|(wide, value)| wide.is_finite() && value.is_infinite())
        {
            let detail = format!("{name:?}: expected values that float32 can hold, found {wide:e}");
            return Err(Error::format(path, detail));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_rounded_and_must_fit() {
        let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let path = Path::new("p.bin");
        let fine = decode(path, "w", &bytes(&[0.1, f64::INFINITY]), FloatType::F64).unwrap();
        assert_eq!(fine, [0.1, f32::INFINITY]);
        let error = decode(path, "w", &bytes(&[1.0, -1e300]), FloatType::F64).unwrap_err().to_string();
        assert_eq!(error, "p.bin: \"w\": expected values that float32 can hold, found -1e300");
    }
}
