use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, ListArray};

use super::{arrow_error, contained};
use crate::embedding::FloatType;
use crate::{Error, Result};

/// A sequential reader of the embeddings of one file.
pub(crate) struct ParquetRows {
    path: PathBuf,
    column: String,
    float: FloatType,
    /// `None` as long as any length will do for the first row.
    dim: Option<usize>,
    reader: ParquetRecordBatchReader,
    /// The row that comes next, and the number of rows of the file.
    rows: Range<usize>,
    /// What is left of a batch that was read: values of whole rows, all checked.
    left: Option<ArrayRef>,
    /// After an error the reader may stand anywhere.
    failed: bool,
}

impl ParquetRows {
    pub(super) fn new(
        path: PathBuf,
        column: String,
        float: FloatType,
        dim: Option<usize>,
        rows: Range<usize>,
        reader: ParquetRecordBatchReader,
    ) -> Self {
        Self { path, column, float, dim, reader, rows, left: None, failed: false }
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
            let dim = self.dim.unwrap_or(values.len());
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

    /// The length of the first row.
    pub(super) fn first_length(mut self) -> Result<usize> {
        Ok(self.next_values()?.len())
    }

    fn next_values(&mut self) -> Result<ArrayRef> {
        if self.failed {
            return Err(Error::format(&self.path, "an earlier error ended the reading"));
        }
        let path = self.path.clone();
        let values = contained(&path, || self.next_batch());
        self.failed = values.is_err();
        values
    }

    /// The values of the next rows, at least one, after a check of each row.
    fn next_batch(&mut self) -> Result<ArrayRef> {
        let batch = match self.reader.next() {
            Some(batch) => batch.map_err(|error| arrow_error(&self.path, error))?,
            None => {
                let detail = format!("expected {} rows, found {}", self.rows.end, self.rows.start);
                return Err(Error::format(&self.path, detail));
            }
        };
        let lists = batch.column(0).as_list::<i32>();
        self.check(lists)?;
        let offsets = lists.value_offsets();
        let (start, end) = (offsets[0] as usize, offsets[lists.len()] as usize);
        Ok(lists.values().slice(start, end - start))
    }

    fn check(&self, lists: &ListArray) -> Result<()> {
        let fail = |row: usize, what: String| {
            let row = self.rows.start + row;
            Err(Error::format(&self.path, format!("column {:?}, row {row}: {what}", self.column)))
        };
        let offsets = lists.value_offsets();
        for (row, bounds) in offsets.windows(2).enumerate() {
            if lists.is_null(row) {
                return fail(row, "null in place of an embedding".into());
            }
            let length = (bounds[1] - bounds[0]) as usize;
            if let Some(dim) = self.dim
                && length != dim
            {
                return fail(row, format!("expected {dim} values, found {length}"));
            }
        }
        if lists.values().null_count() > 0
            && let Some(value) =
                (offsets[0]..offsets[lists.len()]).find(|value| lists.values().is_null(*value as usize))
        {
            let row = offsets.partition_point(|offset| *offset <= value) - 1;
            return fail(row, format!("value {} is null", value - offsets[row]));
        }
        Ok(())
    }

    fn append(&self, values: &ArrayRef, bytes: &mut Vec<u8>) {
        let raw = match self.float {
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
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
