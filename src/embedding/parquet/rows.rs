use std::fmt;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};

use super::column::Column;
use super::records::Batches;
use super::{arrow_error, contained};
use crate::embedding::FloatType;
use crate::{Error, Result};

/// A sequential reader of the embeddings of one file.
pub(crate) struct ParquetRows {
    column: Column,
    reader: Batches,
    /// The row that comes next, and the number of rows of the file.
    rows: Range<usize>,
    /// What is left of a batch that was read: values of whole rows, all checked.
    left: Option<ArrayRef>,
    /// After an error the reader may stand anywhere.
    failed: bool,
}

impl ParquetRows {
    pub(super) fn new(column: Column, rows: Range<usize>, reader: Batches) -> Self {
        Self { column, reader, rows, left: None, failed: false }
    }

    /// Puts up to `n` next rows into `bytes`, which is cleared before, as little-endian values one after another,
    /// and returns how many rows they are: fewer than `n` at the end of the file, and 0 from there on.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] naming the row where one is null, holds a null or has another length than the first, and
    /// where the file is damaged or ends early; [`Error::Io`] where it cannot be read.
    pub(crate) fn read(&mut self, n: usize, bytes: &mut Vec<u8>) -> Result<usize> {
        bytes.clear();
        let n = n.min(self.rows.len());
        let mut read = 0;
        while read < n {
            let values = match self.left.take() {
                Some(values) => values,
                None => self.next_values()?,
            };
            let dim = self.column.dim.unwrap_or(values.len());
            let take = (values.len() / dim).min(n - read);
            self.append(&values.slice(0, take * dim), bytes);
            if take * dim < values.len() {
                self.left = Some(values.slice(take * dim, values.len() - take * dim));
            }
            self.rows.start += take;
            read += take;
        }
        Ok(read)
    }

    /// The values of the first row that is not null. Batches hold one row each.
    pub(super) fn first_row(mut self) -> Result<ArrayRef> {
        while !self.rows.is_empty() {
            let values = self.next_values()?;
            if !values.is_empty() || !self.column.null_as_nan {
                return Ok(values);
            }
            self.rows.start += 1;
        }
        Err(Error::format(&self.column.path, format!("column {:?}: every row is null", self.column.name)))
    }

    fn next_values(&mut self) -> Result<ArrayRef> {
        if self.failed {
            return Err(Error::format(&self.column.path, "an earlier error ended the reading"));
        }
        let path = self.column.path.clone();
        let values = contained(&path, || self.next_batch());
        self.failed = values.is_err();
        values
    }

    /// The values of the next rows, at least one, after a check of each row.
    fn next_batch(&mut self) -> Result<ArrayRef> {
        let batch = match self.reader.next() {
            Some(batch) => batch.map_err(|error| arrow_error(&self.column.path, error))?,
            None => {
                let detail = format!("expected {} rows, found {}", self.rows.end, self.rows.start);
                return Err(Error::format(&self.column.path, detail));
            }
        };
        self.column.values(batch.column(0), self.rows.start)
    }

    fn append(&self, values: &ArrayRef, bytes: &mut Vec<u8>) {
        let raw = match self.column.float {
            FloatType::F16 | FloatType::BF16 => values.as_primitive::<Float16Type>().values().inner(),
            FloatType::F32 => values.as_primitive::<Float32Type>().values().inner(),
            FloatType::F64 => values.as_primitive::<Float64Type>().values().inner(),
        };
        bytes.extend_from_slice(raw);
    }
}

impl fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetRows")
            .field("column", &self.column)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
