use std::fmt;
use std::path::PathBuf;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, SchemaRef};
use serde_json::{Map, Value};

use super::{arrow_error, contained, value};
use crate::{Error, Result};

/// Batches of rows, one after the other.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The columns of one file but the embedding, a JSON object a row; see
/// [`ParquetTable::records`](super::ParquetTable::records). After an error it ends.
pub(crate) struct ColumnRecords {
    path: PathBuf,
    /// The types in which values are told.
    schema: SchemaRef,
    reader: Batches,
    batch: Vec<ArrayRef>,
    /// The rows of the batch, and how many of them have been told.
    batch_rows: usize,
    told: usize,
    /// How many rows of the file have been told, and how many there are.
    row: usize,
    rows: usize,
}

impl ColumnRecords {
    pub(super) fn new(path: PathBuf, schema: SchemaRef, rows: usize, reader: Batches) -> Self {
        Self { path, schema, reader, batch: Vec::new(), batch_rows: 0, told: 0, row: 0, rows }
    }

    fn record(&mut self) -> Result<Map<String, Value>> {
        if self.told == self.batch_rows {
            self.next_batch()?;
        }
        let mut record = Map::new();
        for (field, column) in self.schema.fields().iter().zip(&self.batch) {
            let value = value::json(column, self.told).map_err(|error| {
                Error::format(&self.path, format!("column {:?}, row {}: {error}", field.name(), self.row))
            })?;
            record.insert(field.name().clone(), value);
        }
        self.told += 1;
        self.row += 1;
        Ok(record)
    }

    fn next_batch(&mut self) -> Result<()> {
        let batch = match self.reader.next() {
            Some(batch) => batch.map_err(|error| arrow_error(&self.path, error))?,
            None => {
                let detail = format!("expected {} rows, found {}", self.rows, self.row);
                return Err(Error::format(&self.path, detail));
            }
        };
        let fields = self.schema.fields().iter();
        self.batch = fields
            .zip(batch.columns())
            .map(|(field, column)| cast(column, field.data_type()))
            .collect::<Result<_, _>>()
            .map_err(|error| arrow_error(&self.path, error))?;
        (self.batch_rows, self.told) = (batch.num_rows(), 0);
        Ok(())
    }
}

impl Iterator for ColumnRecords {
    type Item = Result<Map<String, Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.row >= self.rows {
            return None;
        }
        let path = self.path.clone();
        let record = contained(&path, || self.record());
        if record.is_err() {
            self.rows = self.row;
        }
        Some(record)
    }
}

impl fmt::Debug for ColumnRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnRecords")
            .field("path", &self.path)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}
