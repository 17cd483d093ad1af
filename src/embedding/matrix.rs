use std::fs::File;
use std::path::Path;

use super::{FloatType, StoreOptions};
use crate::{Error, Result};

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Float(FloatType),
    Int8,
    UInt8,
}

impl Element {
    /// Bytes a value.
    pub fn size(self) -> usize {
        match self {
            Self::Float(float) => float.size(),
            Self::Int8 | Self::UInt8 => 1,
        }
    }

    /// The type that values are read as.
    pub fn float(self) -> FloatType {
        match self {
            Self::Float(float) => float,
            Self::Int8 | Self::UInt8 => FloatType::F32,
        }
    }

    /// Refuses whole numbers of which nobody has said what they are worth.
    pub fn check_scale(self, options: &StoreOptions) -> Result<(), String> {
        let name = match self {
            Self::Float(_) => return Ok(()),
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
        };
        match options.scale {
            None => Err(format!("values of type {name}: say what one step of them is worth, `scale`")),
            Some(scale) if !scale.is_finite() || scale == 0.0 => {
                Err(format!("a `scale` of {scale} makes nothing of values of type {name}"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Where the values of a matrix lie in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub element: Element,
    pub rows: usize,
    pub dim: usize,
    /// The byte at which they begin.
    pub offset: u64,
    /// Values to go on by for the next row and for the next column, where it is not row after row.
    pub steps: Option<[u64; 2]>,
}

impl Matrix {
    /// A matrix that fills `available` bytes from `offset` on, as its header says.
    pub fn checked(
        path: &Path,
        element: Element,
        [rows, dim]: [u64; 2],
        offset: u64,
        available: u64,
    ) -> Result<Self> {
        let needed = rows.checked_mul(dim).and_then(|values| values.checked_mul(element.size() as u64));
        if needed != Some(available) {
            let needed = needed.map_or_else(|| "more than 2^64".to_string(), |bytes| bytes.to_string());
            let name = match element {
                Element::Float(float) => float.to_string(),
                Element::Int8 => "int8".to_string(),
                Element::UInt8 => "uint8".to_string(),
            };
            let detail = format!("{rows} rows of {dim} {name} values take {needed} bytes, found {available}");
            return Err(Error::format(path, detail));
        }
        Ok(Self { element, rows: rows as usize, dim: dim as usize, offset, steps: None })
    }

    /// The same, stored column after column.
    pub fn by_columns(self) -> Self {
        // A matrix of one row or column has no order.
        let steps = (self.rows > 1 && self.dim > 1).then_some([1, self.rows as u64]);
        Self { steps, ..self }
    }

    /// Whether rows are read as they lie.
    pub fn is_plain(&self) -> bool {
        self.steps.is_none() && matches!(self.element, Element::Float(_))
    }
}

/// A matrix of an archive, and what stands beside it there.
#[derive(Debug)]
pub(super) struct Packed {
    pub matrix: Matrix,
    /// Where it lies, if it had to be unpacked; else it is in the archive itself.
    pub unpacked: Option<File>,
    pub ids: Option<Vec<Box<str>>>,
}

#[cfg(test)]
impl Matrix {
    /// The byte after the last value.
    pub fn end(&self) -> u64 {
        self.offset + (self.rows * self.dim * self.element.size()) as u64
    }
}
