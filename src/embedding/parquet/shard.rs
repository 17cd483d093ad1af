use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use arrow_schema::DataType;
#[cfg(test)]
use arrow_schema::SchemaRef;

#[cfg(test)]
use super::ColumnRecords;
use super::column::Column;
use super::kind::{Kind, list_item};
use super::{ParquetPages, ParquetRows, ParquetTable, contained, parquet_error, schema};
use crate::embedding::{FloatType, StoreOptions};
use crate::{Error, Result};

/// One Parquet file of embeddings, of which the footer has been read.
#[derive(Debug)]
pub(crate) struct ParquetShard {
    table: ParquetTable,
    /// The file as it describes itself, but with an embedding that is a list as one of any length, so that a row of another
    /// length is found with its number instead of being refused by the library without.
    as_lists: ArrowReaderMetadata,
    /// The number of the column.
    index: usize,
    column: Column,
}

impl ParquetShard {
    /// Opens a file: the embedding is the column `key` of the options; without it, it is the only list of floats, or of
    /// several the one called `embedding`, `embeddings` or `embed`.
    ///
    /// The size of a row is that of a fixed-size list, or else that of the first row; there is none where there are no
    /// rows.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no sound Parquet file or has no such
    /// column (the columns are listed).
    pub(crate) fn open(path: &Path, options: &StoreOptions) -> Result<Self> {
        contained(path, || Self::open_uncontained(path, options))
    }

    fn open_uncontained(path: &Path, options: &StoreOptions) -> Result<Self> {
        let mut index = 0;
        let table = ParquetTable::without(path, |fields| {
            index = schema::embedding_column(path, fields, options.key.as_deref())?;
            Ok(Some(index))
        })?;
        table.check_column(options.id_column.as_deref())?;
        let fields = table.metadata().schema();
        let field = fields.field(index);
        let (kind, fixed) = Kind::of(field.data_type()).expect("the column was chosen as one of embeddings");
        let as_lists = match list_item(field.data_type()) {
            None => table.metadata().clone(),
            Some((item, ..)) => {
                let list_schema = schema::with_type(fields, index, DataType::List(Arc::clone(item)));
                let options = ArrowReaderOptions::new().with_schema(Arc::new(list_schema));
                ArrowReaderMetadata::try_new(Arc::clone(table.metadata().metadata()), options)
                    .map_err(|error| parquet_error(path, error))?
            }
        };
        let mut column = Column::new(path, field.name(), kind, options);
        column.set_dim(fixed)?;
        let mut shard = Self { table, as_lists, index, column };
        if shard.column.dim.is_none() && shard.rows() > 0 {
            let first = shard.rows_of_length(0, 1)?.first_row()?;
            shard.column.settle(&first)?;
        }
        Ok(shard)
    }

    /// What is read: the name of the column and how its values are.
    pub(crate) fn name(&self) -> &str {
        &self.column.name
    }

    /// The type of the values in the file.
    pub(crate) fn float(&self) -> FloatType {
        self.column.float
    }

    /// The number of values in a row; 0 where no row tells it.
    pub(crate) fn dim(&self) -> usize {
        self.column.dim.unwrap_or(0)
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.table.rows()
    }

    /// The columns beside the embedding.
    pub(crate) fn table(&self) -> &ParquetTable {
        &self.table
    }

    /// Whether there is a column `id` beside the embedding.
    #[cfg(test)]
    pub(crate) fn has_ids(&self) -> bool {
        self.table.has("id")
    }

    /// [`ParquetTable::extras_schema`].
    #[cfg(test)]
    pub(crate) fn extras_schema(&self) -> SchemaRef {
        self.table.extras_schema()
    }

    /// [`ParquetTable::records`].
    #[cfg(test)]
    pub(crate) fn records(&self) -> Result<ColumnRecords> {
        self.table.records()
    }

    /// The embeddings from row `first` on.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where the file has fewer than `first` rows, [`Error::Io`] where it cannot be opened,
    /// [`Error::Format`] where it is damaged.
    pub(crate) fn rows_from(&self, first: usize) -> Result<ParquetRows> {
        let (path, rows) = (self.table.path(), self.rows());
        if first > rows {
            return Err(Error::mismatch(format!("{}: first row", path.display()), rows, first));
        }
        self.rows_of_length(first, self.batch_rows())
    }

    fn rows_of_length(&self, first: usize, batch: usize) -> Result<ParquetRows> {
        // Whole row groups are passed over by their place in the file, the rest by reading.
        let groups = self.table.metadata().metadata().row_groups();
        let mut offset = first;
        let mut group = 0;
        while let Some(rows) = groups.get(group).map(|group| group.num_rows() as usize)
            && offset >= rows
        {
            offset -= rows;
            group += 1;
        }
        let reader = self.table.reader(&self.as_lists, &[self.index], |builder| {
            builder
                .with_row_groups((group..groups.len()).collect())
                .with_offset(offset)
                .with_batch_size(batch)
        })?;
        Ok(ParquetRows::new(self.column.clone(), first..self.rows(), Box::new(reader)))
    }

    /// Where in the file the rows lie, for reading some here and there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is damaged.
    pub(crate) fn pages(&self) -> Result<ParquetPages> {
        let path = self.table.path();
        contained(path, || ParquetPages::find(path, &self.as_lists, self.index, self.row_bytes()))
    }

    /// The embeddings of some rows of one part of [`ParquetShard::pages`], from a file that is open already.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is damaged.
    pub(crate) fn rows_of_pages(
        &self,
        pages: &ParquetPages,
        rows: Range<usize>,
        file: File,
    ) -> Result<ParquetRows> {
        let source = pages.source(file).map_err(|error| Error::io(self.table.path(), error))?;
        let (group, first) = pages.group(rows.start);
        let reader = self.table.reader_of(source, pages.metadata(), &[self.index], |builder| {
            builder
                .with_row_groups(vec![group])
                .with_offset(rows.start - first)
                .with_limit(rows.len())
                .with_batch_size(rows.len().min(self.batch_rows()))
        })?;
        Ok(ParquetRows::new(self.column.clone(), rows, Box::new(reader)))
    }

    fn batch_rows(&self) -> usize {
        // Small enough to stay in the cache of a processor, large enough to make the cost of a batch vanish.
        const BATCH_BYTES: usize = 512 << 10;
        (BATCH_BYTES / self.row_bytes().max(1)).clamp(1, 4096)
    }

    fn row_bytes(&self) -> usize {
        self.dim() * self.float().size()
    }

    /// The number of row groups.
    #[cfg(test)]
    pub(super) fn row_groups(&self) -> usize {
        self.table.metadata().metadata().num_row_groups()
    }

    /// Where the first page of a leaf column lies.
    #[cfg(test)]
    pub(super) fn first_page(&self, leaf: usize) -> usize {
        self.table.metadata().metadata().row_group(0).column(leaf).byte_range().0 as usize
    }
}
