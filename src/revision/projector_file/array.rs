use std::path::Path;

use crate::embedding::{FloatType, RawRows};
use crate::{Error, Result};

/// An array of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NamedArray {
    /// Its name in the file.
    pub name: String,
    /// Its shape; for weights, as in PyTorch, `[out, in]`.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// Little-endian values as float32.
///
/// # Errors
///
/// [`Error::Format`] naming `path` and `name` for a float64 value that float32 cannot hold.
pub(super) fn decode(path: &Path, name: &str, bytes: &[u8], float: FloatType) -> Result<Vec<f32>> {
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

/// The number of values of a shape, where it and the number of bytes fit into a `usize`.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))?;
    count.checked_mul(8).map(|_| count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_too_large_for_memory_have_no_count() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[3, 0, 7]), Some(0));
        assert_eq!(count(&[1 << 40, 1 << 40]), None);
        assert_eq!(count(&[1 << 62]), None);
    }

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
