use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::metadata::ParquetMetaData;
use arrow_schema::{Fields, Schema, SchemaRef};

use super::source::PageSource;
use super::{ColumnRecords, contained, parquet_error, schema};
use crate::{Error, Result};

/// The columns of a Parquet file but the embedding, where it has one.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    path: PathBuf,
    /// The file as it describes itself.
    metadata: ArrowReaderMetadata,
    extras: SchemaRef,
    /// The column that is left out.
    embedding: Option<usize>,
    rows: usize,
}

impl ParquetTable {
    /// Opens a file that stands beside a matrix.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no sound Parquet file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::without(path, |_| Ok(None))
    }

    /// Opens a file of which `embedding` tells the column to leave out.
    pub(super) fn without(
        path: &Path,
        embedding: impl FnOnce(&Schema) -> Result<Option<usize>>,
    ) -> Result<Self> {
        contained(path, || {
            let file = File::open(path).map_err(|error| Error::io(path, error))?;
            let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
            if length == 0 {
                return Err(Error::format(path, "the file is empty"));
            }
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
                .map_err(|error| parquet_error(path, error))?;
            let rows = check_row_groups(path, metadata.metadata(), length)?;
            let embedding = embedding(metadata.schema())?;
            let extras = Arc::new(schema::extras(metadata.schema(), embedding));
            Ok(Self { path: path.to_path_buf(), metadata, extras, embedding, rows })
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there is such a column beside the embedding.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.extras.fields().find(column).is_some()
    }

    /// Refuses a column of ids that is not there.
    pub(crate) fn check_column(&self, column: Option<&str>) -> Result<()> {
        schema::check_column(&self.path, &self.extras, column)
    }

    /// Columns that might hold ids, where `id` is not there.
    pub(crate) fn candidates(&self) -> Vec<String> {
        schema::id_candidates(&self.extras)
    }

    /// Whether a column holds embeddings.
    pub(crate) fn has_embedding(&self) -> bool {
        schema::embedding_column(&self.path, self.metadata.schema(), None).is_ok()
    }

    /// All columns but the embedding in the order of the file, with the metadata of the file, as
    /// [`ParquetWriter::new`](super::ParquetWriter::new) takes them. Floats are nullable there, since the records
    /// say null for NaN, and the keys of dictionaries have 32 bits.
    pub(crate) fn extras_schema(&self) -> SchemaRef {
        Arc::clone(&self.extras)
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
    pub(crate) fn records(&self) -> Result<ColumnRecords> {
        self.records_of(|_| true)
    }

    /// As [`ParquetTable::records`], with one column only, which is there.
    ///
    /// # Errors
    ///
    /// Those of [`ParquetTable::records`].
    pub(crate) fn column(&self, column: &str) -> Result<ColumnRecords> {
        self.records_of(|name| name == column)
    }

    /// As [`ParquetTable::records`], without columns of bytes, as of pictures, and of embeddings.
    ///
    /// # Errors
    ///
    /// Those of [`ParquetTable::records`].
    pub(crate) fn readable(&self) -> Result<ColumnRecords> {
        self.records_of(|name| {
            self.extras.field_with_name(name).is_ok_and(|field| schema::is_readable(field.data_type()))
        })
    }

    fn records_of(&self, takes: impl Fn(&str) -> bool) -> Result<ColumnRecords> {
        const BATCH_ROWS: usize = 64;
        let fields = self.metadata.schema().fields();
        let is_taken = |index: &usize| Some(*index) != self.embedding && takes(fields[*index].name());
        let columns: Vec<usize> = (0..fields.len()).filter(is_taken).collect();
        let extras = self.extras.fields().iter().filter(|field| takes(field.name()));
        let extras = Schema::new(extras.cloned().collect::<Fields>());
        let json = Arc::new(schema::json_schema(&self.path, &extras)?);
        let reader = self.reader(&self.metadata, &columns, |builder| builder.with_batch_size(BATCH_ROWS))?;
        Ok(ColumnRecords::new(self.path.clone(), json, self.rows, Box::new(reader)))
    }

    pub(super) fn reader(
        &self,
        metadata: &ArrowReaderMetadata,
        columns: &[usize],
        configure: impl FnOnce(Builder) -> Builder,
    ) -> Result<ParquetRecordBatchReader> {
        let file = File::open(&self.path).map_err(|error| Error::io(&self.path, error))?;
        let source = PageSource::new(file).map_err(|error| Error::io(&self.path, error))?;
        self.reader_of(source, metadata, columns, configure)
    }

    pub(super) fn reader_of(
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

pub(super) type Builder = ParquetRecordBatchReaderBuilder<PageSource>;

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
