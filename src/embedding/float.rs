use std::{fmt, str::FromStr};

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::rows::check_length;
use crate::{Error, Result};

#[cfg(target_endian = "big")]
compile_error!("embeddings are stored little-endian and read without conversion");

/// The type of the values in a file of embeddings; little-endian.
///
/// ```
/// use burn_revision::embedding::FloatType;
/// assert_eq!("f16".parse::<FloatType>().unwrap().size(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatType {
    /// IEEE half precision, the usual one of stored embeddings.
    F16,
    /// The upper half of a float32.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl FloatType {
    /// Bytes a value.
    pub fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    pub(crate) fn from_safetensors(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::BF16),
            Dtype::F32 => Some(Self::F32),
            Dtype::F64 => Some(Self::F64),
            _ => None,
        }
    }
}

impl fmt::Display for FloatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

impl FromStr for FloatType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::BF16),
            "f32" => Ok(Self::F32),
            "f64" => Ok(Self::F64),
            _ => Err(Error::config("dtype", format!("expected f16, bf16, f32 or f64, found {name:?}"))),
        }
    }
}

/// Rows as they lie in a file or in mapped memory: row-major `[n, dim]`, little-endian, of any alignment.
///
/// ```
/// use burn_revision::embedding::{FloatType, RawRows};
///
/// let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// let rows = RawRows::new(&bytes, FloatType::F32, 2).unwrap();
/// assert_eq!(rows.len(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RawRows<'a> {
    bytes: &'a [u8],
    float: FloatType,
    dim: usize,
}

impl<'a> RawRows<'a> {
    /// Rows of `dim` values of type `float`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `bytes` is not a whole number of rows, [`Error::Config`] for `dim` zero.
    pub fn new(bytes: &'a [u8], float: FloatType, dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::config("dim", "an embedding has at least one dimension, found 0"));
        }
        let row = dim * float.size();
        if !bytes.len().is_multiple_of(row) {
            let what = format!("bytes in rows of {dim} {float} values");
            return Err(Error::mismatch(what, bytes.len().div_ceil(row) * row, bytes.len()));
        }
        Ok(Self { bytes, float, dim })
    }

    /// Rows of float32 values in memory.
    ///
    /// # Errors
    ///
    /// As for [`RawRows::new`].
    pub fn single(rows: &'a [f32], dim: usize) -> Result<Self> {
        check_length(rows, dim)?;
        Ok(Self { bytes: bytemuck::cast_slice(rows), float: FloatType::F32, dim })
    }

    /// Rows of float64 values in memory.
    ///
    /// # Errors
    ///
    /// As for [`RawRows::new`].
    pub fn double(rows: &'a [f64], dim: usize) -> Result<Self> {
        check_length(rows, dim)?;
        Ok(Self { bytes: bytemuck::cast_slice(rows), float: FloatType::F64, dim })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of dimensions of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The type of the values.
    pub fn float(&self) -> FloatType {
        self.float
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Some of the rows.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> RawRows<'a> {
        let length = self.row_bytes();
        RawRows { bytes: &self.bytes[rows.start * length..rows.end * length], ..*self }
    }

    /// The bytes of one row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        let length = self.row_bytes();
        &self.bytes[row * length..(row + 1) * length]
    }

    #[inline(always)]
    fn row_bytes(&self) -> usize {
        self.dim * self.float.size()
    }

    /// Parts of `rows` rows each; the last one may have fewer.
    pub(crate) fn blocks(&self, rows: usize) -> impl ExactSizeIterator<Item = RawRows<'a>> + use<'a> {
        let (float, dim) = (self.float, self.dim);
        self.bytes.chunks(rows * self.row_bytes()).map(move |bytes| Self { bytes, float, dim })
    }
}
