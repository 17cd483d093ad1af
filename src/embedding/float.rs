use std::{fmt, str::FromStr};

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

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
