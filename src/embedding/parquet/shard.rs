use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::metadata::ParquetMetaData;
use arrow_schema::{DataType, Fields, Schema, SchemaRef};

use super::source::PageSource;
use super::{ParquetPages, ParquetRecords, ParquetRows, contained, parquet_error, schema};
use crate::embedding::FloatType;
use crate::{Error, Result};

/// One Parquet file of embeddings, of which the footer has been read.
#[derive(Debug)]
pub(crate) struct ParquetShard {
    path: PathBuf,
    /// The file as it describes itself.
    metadata: ArrowReaderMetadata,
    /// The same, with the embedding as a list of any length, so that a row of another length is found with its
    /// number instead of being refused by the library without.
    as_lists: ArrowReaderMetadata,
    extras: SchemaRef,
    column: usize,
    name: String,
    float: FloatType,
    dim: usize,
    rows: usize,
}

impl ParquetShard {
    /// Opens a file: `column` is the name of the embedding column; without it, it is the only list of floats, or
    /// of several the one called `embedding`, `embeddings` or `embed`.
    ///
    /// The size of a row is that of a fixed-size list, or else that of the first row.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no sound Parquet file, has no such
    /// column (the columns are listed), or does not tell the size of a row because it has none.
    pub(crate) fn open(path: &Path, column: Option<&str>) -> Result<Self> {
        contained(path, || Self::open_uncontained(path, column))
    }

    fn open_uncontained(path: &Path, column: Option<&str>) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
        if length == 0 {
            return Err(Error::format(path, "the file is empty"));
        }
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
            .map_err(|error| parquet_error(path, error))?;
        let rows = check_row_groups(path, metadata.metadata(), length)?;
        let fields = metadata.schema();
        let column = schema::embedding_column(path, fields, column)?;
        let (item, float, fixed) = schema::list_item(fields.field(column).data_type())
            .expect("the column was chosen as a list of floats");
        let list_schema = schema::with_type(fields, column, DataType::List(Arc::clone(item)));
        let options = ArrowReaderOptions::new().with_schema(Arc::new(list_schema));
        let as_lists = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
            .map_err(|error| parquet_error(path, error))?;
        let mut shard = Self {
            path: path.to_path_buf(),
            extras: Arc::new(schema::extras(fields, column)),
            name: fields.field(column).name().clone(),
            metadata,
            as_lists,
            column,
            float,
            dim: 0,
            rows,
        };
        shard.dim = match fixed {
            Some(length) => usize::try_from(length).unwrap_or(0),
            None if rows == 0 => return Err(Error::format(path, "no rows")),
            None => shard.rows_of_length(0, None)?.first_length()?,
        };
        if shard.dim == 0 {
            return Err(Error::format(path, format!("column {:?}: rows of 0 dimensions", shard.name)));
        }
        if shard.dim.checked_mul(float.size()).is_none() {
            return Err(Error::format(
                path,
                format!("column {:?}: rows of {} values", shard.name, shard.dim),
            ));
        }
        Ok(shard)
    }

    /// The name of the embedding column.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The type of the values in the file.
    pub(crate) fn float(&self) -> FloatType {
        self.float
    }

    /// The number of values in a row.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there is a column `id` beside the embedding.
    pub(crate) fn has_ids(&self) -> bool {
        self.extras.fields().find("id").is_some()
    }

    /// All columns but the embedding in the order of the file, with the metadata of the file, as
    /// [`ParquetWriter::new`](super::ParquetWriter::new) takes them. Floats are nullable there, since the records
    /// say null for NaN, and the keys of dictionaries have 32 bits.
    pub(crate) fn extras_schema(&self) -> SchemaRef {
        Arc::clone(&self.extras)
    }

    /// The embeddings from row `first` on.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where the file has fewer than `first` rows, [`Error::Io`] where it cannot be opened,
    /// [`Error::Format`] where it is damaged.
    pub(crate) fn rows_from(&self, first: usize) -> Result<ParquetRows> {
        if first > self.rows {
            return Err(Error::mismatch(format!("{}: first row", self.path.display()), self.rows, first));
        }
        self.rows_of_length(first, Some(self.dim))
    }

    fn rows_of_length(&self, first: usize, dim: Option<usize>) -> Result<ParquetRows> {
        // Whole row groups are passed over by their place in the file, the rest by reading.
        let groups = self.metadata.metadata().row_groups();
        let mut offset = first;
        let mut group = 0;
        while let Some(rows) = groups.get(group).map(|group| group.num_rows() as usize)
            && offset >= rows
        {
            offset -= rows;
            group += 1;
        }
        let batch = dim.map_or(1, |_| self.batch_rows());
        let columns = [self.column];
        let reader = self.reader(&self.as_lists, &columns, |builder| {
            builder
                .with_row_groups((group..groups.len()).collect())
                .with_offset(offset)
                .with_batch_size(batch)
        })?;
        Ok(ParquetRows::new(self.path.clone(), self.name.clone(), self.float, dim, first..self.rows, reader))
    }

    /// Where in the file the rows lie, for reading some here and there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is damaged.
    pub(crate) fn pages(&self) -> Result<ParquetPages> {
        contained(&self.path, || {
            ParquetPages::find(&self.path, &self.as_lists, self.column, self.row_bytes())
        })
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
        let source = pages.source(file).map_err(|error| Error::io(&self.path, error))?;
        let (group, first) = pages.group(rows.start);
        let reader = self.reader_of(source, pages.metadata(), &[self.column], |builder| {
            builder
                .with_row_groups(vec![group])
                .with_offset(rows.start - first)
                .with_limit(rows.len())
                .with_batch_size(rows.len().min(self.batch_rows()))
        })?;
        Ok(ParquetRows::new(self.path.clone(), self.name.clone(), self.float, Some(self.dim), rows, reader))
    }

    fn batch_rows(&self) -> usize {
        // Small enough to stay in the cache of a processor, large enough to make the cost of a batch vanish.
        const BATCH_BYTES: usize = 512 << 10;
        (BATCH_BYTES / self.row_bytes()).clamp(1, 4096)
    }

    fn row_bytes(&self) -> usize {
        self.dim * self.float.size()
    }

    /// All columns but the embedding, one JSON object a row, in the order of the rows.
    ///
    /// Every object has every column: what is null in the file is `null` in the object, and so is a float that is
    /// NaN or infinite. Numbers, texts, truth values, lists, structures and maps are what JSON calls so; dates,
    /// times and instants are ISO 8601 texts, the latter in UTC where the file names a time zone; decimal numbers
    /// are texts, so that no digit is lost; binary data is hexadecimal text; a duration is a count of its unit.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] naming a column whose type cannot be told in JSON (intervals, unions, maps whose keys are
    /// no texts), or where the file is damaged, [`Error::Io`] where it cannot be opened.
    pub(crate) fn records(&self) -> Result<ParquetRecords> {
        self.records_of(|_| true)
    }

    /// As [`ParquetShard::records`], with no other column than `id`; only where there is one.
    ///
    /// # Errors
    ///
    /// Those of [`ParquetShard::records`].
    pub(crate) fn ids(&self) -> Result<ParquetRecords> {
        self.records_of(|name| name == "id")
    }

    fn records_of(&self, takes: impl Fn(&str) -> bool) -> Result<ParquetRecords> {
        const BATCH_ROWS: usize = 64;
        let fields = self.metadata.schema().fields();
        let is_taken = |index: &usize| *index != self.column && takes(fields[*index].name());
        let columns: Vec<usize> = (0..fields.len()).filter(is_taken).collect();
        let extras = self.extras.fields().iter().filter(|field| takes(field.name()));
        let extras = Schema::new(extras.cloned().collect::<Fields>());
        let json = Arc::new(schema::json_schema(&self.path, &extras)?);
        let reader = self.reader(&self.metadata, &columns, |builder| builder.with_batch_size(BATCH_ROWS))?;
        Ok(ParquetRecords::new(self.path.clone(), json, self.rows, reader))
    }

    /// The number of row groups.
    #[cfg(test)]
    pub(super) fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Where the first page of a leaf column lies.
    #[cfg(test)]
    pub(super) fn first_page(&self, leaf: usize) -> usize {
        self.metadata.metadata().row_group(0).column(leaf).byte_range().0 as usize
    }

    fn reader(
        &self,
        metadata: &ArrowReaderMetadata,
        columns: &[usize],
        configure: impl FnOnce(Builder) -> Builder,
    ) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&self.path).map_err(|error| Error::io(&self.path, error))?;
        let source = PageSource::new(file).map_err(|error| Error::io(&self.path, error))?;
        self.reader_of(source, metadata, columns, configure)
    }

    fn reader_of(
        &self,
        source: PageSource,
        metadata: &ArrowReaderMetadata,
        columns: &[usize],
        configure: impl FnOnce(Builder) -> Builder,
    ) -> Result<ParquetRecordBatchReader> {
        let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata.clone());
        let build = || configure(builder.with_projection(mask)).build();
        contained(&self.path, || build().map_err(|error| parquet_error(&self.path, error)))
    }
}

type Builder = ParquetRecordBatchReaderBuilder<PageSource>;

/// The number of rows, where every row group tells a credible one and lies within the file: the library takes both
/// for granted.
fn check_row_groups(path: &Path, metadata: &ParquetMetaData, length: u64) -> Result<usize> {
    let mut total = 0_usize;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        total = usize::try_from(group.num_rows())
            .ok()
            .and_then(|rows| total.checked_add(rows))
            .ok_or_else(|| Error::format(path, format!("row group {index} has {} rows", group.num_rows())))?;
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let start = u64::try_from(start).ok();
            let end = start.zip(u64::try_from(column.compressed_size()).ok());
            let end = end.and_then(|(start, size)| start.checked_add(size));
            if end.is_none_or(|end| end > length) {
                let column = column.column_path();
                let detail = format!("row group {index}, column {column}: its data lies outside the file");
                return Err(Error::format(path, detail));
            }
        }
    }
    Ok(total)
}
