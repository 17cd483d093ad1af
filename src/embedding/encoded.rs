//! Rows in columns, which are decoded in their order: Parquet and Arrow files.

use std::fs::File;
use std::ops::Range;

use arrow_schema::SchemaRef;

use super::parquet::{ArrowShard, ColumnRecords, ParquetPages, ParquetRows, ParquetShard};
use super::{FloatType, Format, StoreOptions};
use crate::Result;

/// One file of columns.
#[derive(Debug)]
pub(crate) enum Encoded {
    Parquet(ParquetShard),
    Arrow(ArrowShard),
}

/// The parts of a file of which each is decoded at once.
#[derive(Debug)]
pub(crate) enum Parts {
    Pages(ParquetPages),
    /// The first row of every batch, and then the number of rows.
    Batches(Vec<usize>),
}

impl Encoded {
    pub(super) fn open(path: &std::path::Path, format: Format, options: &StoreOptions) -> Result<Self> {
        match format {
            Format::Arrow => ArrowShard::open(path, options).map(Self::Arrow),
            _ => ParquetShard::open(path, options).map(Self::Parquet),
        }
    }

    /// The name of the column of embeddings.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Parquet(shard) => shard.name(),
            Self::Arrow(shard) => shard.name(),
        }
    }

    pub(super) fn float(&self) -> FloatType {
        match self {
            Self::Parquet(shard) => shard.float(),
            Self::Arrow(shard) => shard.float(),
        }
    }

    pub(super) fn dim(&self) -> usize {
        match self {
            Self::Parquet(shard) => shard.dim(),
            Self::Arrow(shard) => shard.dim(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Parquet(shard) => shard.rows(),
            Self::Arrow(shard) => shard.rows(),
        }
    }

    /// The columns beside the embedding, with their types.
    pub(super) fn extras_schema(&self) -> SchemaRef {
        match self {
            Self::Parquet(shard) => shard.table().extras_schema(),
            Self::Arrow(shard) => shard.extras_schema(),
        }
    }

    /// Columns that might hold ids, where `id` is not there.
    pub(super) fn candidates(&self) -> Vec<String> {
        match self {
            Self::Parquet(shard) => shard.table().candidates(),
            Self::Arrow(shard) => shard.candidates(),
        }
    }

    /// All columns beside the embedding, or one of them, which is there.
    pub(super) fn records(&self, column: Option<&str>) -> Result<ColumnRecords> {
        match (self, column) {
            (Self::Parquet(shard), None) => shard.table().records(),
            (Self::Parquet(shard), Some(column)) => shard.table().column(column),
            (Self::Arrow(shard), None) => shard.records(),
            (Self::Arrow(shard), Some(column)) => shard.column(column),
        }
    }

    /// The embeddings from a row on.
    pub(crate) fn rows_from(&self, first: usize) -> Result<ParquetRows> {
        match self {
            Self::Parquet(shard) => shard.rows_from(first),
            Self::Arrow(shard) => shard.rows_from(first),
        }
    }

    /// Where the rows lie, for reading some here and there.
    pub(crate) fn parts(&self) -> Result<Parts> {
        match self {
            Self::Parquet(shard) => shard.pages().map(Parts::Pages),
            Self::Arrow(shard) => Ok(Parts::Batches(shard.starts())),
        }
    }

    /// Some rows of one part, from a file that is open already where the reader can take it.
    pub(crate) fn rows_of_part(&self, parts: &Parts, rows: Range<usize>, file: File) -> Result<ParquetRows> {
        match (self, parts) {
            (Self::Parquet(shard), Parts::Pages(pages)) => shard.rows_of_pages(pages, rows, file),
            (Self::Arrow(shard), _) => shard.rows_of_batch(rows),
            (Self::Parquet(shard), Parts::Batches(_)) => shard.rows_from(rows.start),
        }
    }
}

impl Parts {
    /// The part in which a row lies.
    pub(crate) fn part(&self, row: usize) -> Range<usize> {
        match self {
            Self::Pages(pages) => pages.part(row),
            Self::Batches(starts) => {
                let next = starts.partition_point(|start| *start <= row);
                starts[next - 1]..starts[next]
            }
        }
    }
}
