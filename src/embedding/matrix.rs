use std::path::Path;

use super::FloatType;
use crate::{Error, Result};

/// Where the values of a matrix lie in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub float: FloatType,
    pub rows: usize,
    pub dim: usize,
    /// The byte at which they begin.
    pub offset: u64,
}

impl Matrix {
    /// A matrix that fills `available` bytes from `offset` on, as its header says.
    pub fn checked(
        path: &Path,
        float: FloatType,
        [rows, dim]: [u64; 2],
        offset: u64,
        available: u64,
    ) -> Result<Self> {
        let needed = rows.checked_mul(dim).and_then(|values| values.checked_mul(float.size() as u64));
        if needed != Some(available) {
            let needed = needed.map_or_else(|| "more than 2^64".to_string(), |bytes| bytes.to_string());
            let detail =
                format!("{rows} rows of {dim} {float} values take {needed} bytes, found {available}");
            return Err(Error::format(path, detail));
        }
        Ok(Self { float, rows: rows as usize, dim: dim as usize, offset })
    }
}

#[cfg(test)]
impl Matrix {
    /// The byte after the last value.
    pub fn end(&self) -> u64 {
        self.offset + (self.rows * self.dim * self.float.size()) as u64
    }
}
