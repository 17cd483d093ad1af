use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::ColumnPath;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, FixedSizeListArray, PrimitiveArray, RecordBatch};
use arrow_cast::cast;
use arrow_json::ReaderBuilder;
use arrow_json::reader::{Decoder, infer_json_schema_from_iterator};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use half::f16;
use serde_json::{Map, Value};

use super::{arrow_error, schema};
use crate::embedding::FloatType;
use crate::{Error, Result};

/// The name of the embedding column of every file that is written.
const EMBEDDING: &str = "embedding";
/// Embedding bytes of one row group, which a writer keeps in memory until the group is complete.
const GROUP_BYTES: usize = 24 << 20;
/// The size at which a row group ends though its embeddings do not fill it: its other columns are long.
const GROUP_BYTES_IN_ALL: usize = 64 << 20;
/// Embedding bytes of one Arrow array.
const BATCH_BYTES: usize = 2 << 20;

/// Writes a Parquet file of embeddings: the extra columns and then `embedding`, a fixed-size list without nulls.
///
/// Embeddings are stored as they are, plain and uncompressed, since they do not compress; other columns are
/// compressed with Snappy. The same calls make the same bytes.
pub(crate) struct ParquetWriter<W: Write + Send> {
    path: PathBuf,
    float: FloatType,
    dim: usize,
    written: usize,
    state: State<W>,
}

enum State<W: Write + Send> {
    /// The columns are those of the first records.
    Waiting(W),
    Writing(Box<Columns<W>>),
    /// An error came between.
    Failed,
}

struct Columns<W: Write + Send> {
    schema: SchemaRef,
    item: FieldRef,
    /// From records to the types of `schema` that JSON can say; `None` without extra columns.
    decoder: Option<Decoder>,
    writer: ArrowWriter<Sink<W>>,
}

/// What a file is written to, until it is taken back: the library would not give it back together with what the
/// operating system says.
struct Sink<W>(Option<W>);

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.as_mut().map_or(Ok(bytes.len()), |out| out.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Starts a file of rows of `dim` values; `path` names it in errors.
    ///
    /// `extras` are the other columns (see [`ParquetShard::extras_schema`](super::ParquetShard::extras_schema)).
    /// Without them they are those of the first records that are written: `id`, which comes first and is text, and
    /// the others by name, with types inferred from the values.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where `extras` has a column `embedding` or one that cannot be told in JSON,
    /// [`Error::Config`] for bfloat16, or where a row would be empty or longer than Arrow allows, [`Error::Io`] where nothing can be
    /// written.
    pub(crate) fn new(
        out: W,
        path: &Path,
        float: FloatType,
        dim: usize,
        extras: Option<SchemaRef>,
    ) -> Result<Self> {
        if dim == 0 || i32::try_from(dim).is_err() {
            return Err(Error::config("dim", format!("{}: rows of {dim} values", path.display())));
        }
        if float == FloatType::BF16 {
            return Err(Error::config("dtype", "a .parquet file holds f16, f32 or f64, not bf16"));
        }
        let mut writer =
            Self { path: path.to_path_buf(), float, dim, written: 0, state: State::Waiting(out) };
        if let Some(extras) = extras {
            writer.start(&extras)?;
        }
        Ok(writer)
    }

    /// Writes rows: `rows` holds their values, little-endian and one after another, and `records` their other
    /// columns. A record may leave out what is null.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `rows` does not hold a row a record, [`Error::Format`] where a record does not fit
    /// the columns or has one that the file has not, [`Error::Io`] where nothing can be written. After an error the
    /// file cannot be completed.
    pub(crate) fn write(&mut self, rows: &[u8], records: &[Map<String, Value>]) -> Result<()> {
        let row_bytes = self.dim * self.float.size();
        if rows.len() != records.len() * row_bytes {
            let what = format!("{}: bytes of {} rows", self.path.display(), records.len());
            return Err(Error::mismatch(what, records.len() * row_bytes, rows.len()));
        }
        if records.is_empty() {
            return Ok(());
        }
        if matches!(self.state, State::Waiting(_)) {
            let extras = self.inferred(records)?;
            self.start(&extras)?;
        }
        let State::Writing(mut columns) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(Error::format(&self.path, "an earlier error left the file incomplete"));
        };
        let batch = (BATCH_BYTES / row_bytes).max(1);
        for (rows, records) in rows.chunks(batch * row_bytes).zip(records.chunks(batch)) {
            let batch = self.batch(&mut columns, rows, records).map_err(|error| match error {
                Error::Format { path, detail } => {
                    let last = self.written + records.len() - 1;
                    Error::Format { path, detail: format!("rows {} to {last}: {detail}", self.written) }
                }
                error => error,
            })?;
            columns.writer.write(&batch).map_err(|error| write_error(&self.path, error))?;
            self.written += records.len();
        }
        self.state = State::Writing(columns);
        Ok(())
    }

    /// Completes the file and returns what it was written to. A file without rows has the columns that it was
    /// started with, or else `id`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where nothing can be written, [`Error::Format`] after an earlier error.
    pub(crate) fn finish(mut self) -> Result<W> {
        if matches!(self.state, State::Waiting(_)) {
            self.start(&Schema::new(vec![Field::new("id", DataType::Utf8, false)]))?;
        }
        match self.state {
            State::Writing(mut columns) => {
                columns.writer.finish().map_err(|error| write_error(&self.path, error))?;
                let out = columns.writer.inner_mut().0.take();
                Ok(out.expect("only the end of a file takes it"))
            }
            _ => Err(Error::format(&self.path, "an earlier error left the file incomplete")),
        }
    }

    /// Fixes the columns and writes the start of the file.
    fn start(&mut self, extras: &Schema) -> Result<()> {
        if extras.fields().find(EMBEDDING).is_some() {
            let detail = format!("a column beside the embedding is called {EMBEDDING:?} as well");
            return Err(Error::format(&self.path, detail));
        }
        let json = schema::json_schema(&self.path, extras)?;
        let decoder = match json.fields().is_empty() {
            true => None,
            // Ids and labels may be numbers in one source and texts in another: texts take both. A member of a
            // record that no column takes is an error instead of a loss.
            false => Some(
                ReaderBuilder::new(Arc::new(json))
                    .with_coerce_primitive(true)
                    .with_strict_mode(true)
                    .build_decoder()
                    .map_err(|error| arrow_error(&self.path, error))?,
            ),
        };
        let item = Arc::new(Field::new("element", super::data_type(self.float), false));
        let list = DataType::FixedSizeList(Arc::clone(&item), self.dim as i32);
        let embedding = Arc::new(Field::new(EMBEDDING, list, false));
        let fields: Fields = extras.fields().iter().cloned().chain([embedding]).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, extras.metadata().clone()));
        let State::Waiting(out) = std::mem::replace(&mut self.state, State::Failed) else {
            unreachable!("a file is started once");
        };
        let writer = ArrowWriter::try_new(Sink(Some(out)), Arc::clone(&schema), Some(self.properties()))
            .map_err(|error| write_error(&self.path, error))?;
        self.state = State::Writing(Box::new(Columns { schema, item, decoder, writer }));
        Ok(())
    }

    fn properties(&self) -> WriterProperties {
        let values = ColumnPath::new([EMBEDDING, "list", "element"].map(String::from).to_vec());
        let group_rows = (GROUP_BYTES / (self.dim * self.float.size())).max(1);
        WriterProperties::builder()
            // Neither the version of this crate nor that of the library: files of different builds are equal.
            .set_created_by("burn-revision".into())
            .set_max_row_group_row_count(Some(group_rows))
            // Values between two looks at the size of a page: the default of 1024 is less than a row.
            .set_write_batch_size(1 << 15)
            .set_max_row_group_bytes(Some(GROUP_BYTES_IN_ALL))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_compression(Compression::SNAPPY)
            .set_column_compression(values.clone(), Compression::UNCOMPRESSED)
            .set_column_encoding(values.clone(), Encoding::PLAIN)
            .set_column_dictionary_enabled(values.clone(), false)
            .set_column_statistics_enabled(values, EnabledStatistics::None)
            .build()
    }

    fn batch(
        &self,
        columns: &mut Columns<W>,
        rows: &[u8],
        records: &[Map<String, Value>],
    ) -> Result<RecordBatch> {
        let fail = |error| arrow_error(&self.path, error);
        let mut arrays = Vec::with_capacity(columns.schema.fields().len());
        if let Some(decoder) = &mut columns.decoder {
            decoder.serialize(records).map_err(fail)?;
            let decoded = decoder.flush().map_err(fail)?;
            let decoded = decoded.expect("there are records, and each makes a row");
            for (column, field) in decoded.columns().iter().zip(columns.schema.fields()) {
                arrays.push(cast(column, field.data_type()).map_err(fail)?);
            }
        }
        let item = Arc::clone(&columns.item);
        let list = FixedSizeListArray::try_new(item, self.dim as i32, values(self.float, rows), None);
        arrays.push(Arc::new(list.map_err(fail)?));
        RecordBatch::try_new(Arc::clone(&columns.schema), arrays).map_err(fail)
    }

    /// `id` as text where a record has one, then the other columns by name: inference keeps no order.
    fn inferred(&self, records: &[Map<String, Value>]) -> Result<Schema> {
        let others = records.iter().map(|record| {
            let other = |(name, _): &(&String, &Value)| *name != "id";
            let others = record.iter().filter(other).map(|(name, value)| (name.clone(), value.clone()));
            Ok(Value::Object(others.collect()))
        });
        let inferred =
            infer_json_schema_from_iterator(others).map_err(|error| arrow_error(&self.path, error))?;
        let id = records.iter().any(|record| record.contains_key("id"));
        let id = id.then(|| Arc::new(Field::new("id", DataType::Utf8, false)));
        Ok(Schema::new(id.into_iter().chain(sorted(inferred.fields()).iter().cloned()).collect::<Fields>()))
    }
}

/// What the Parquet library reports while it writes, as an error of `path`.
fn write_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => Error::io(path, *error),
            Err(source) => Error::format(path, source.to_string()),
        },
        other => Error::format(path, other.to_string()),
    }
}

/// The same fields by name, and those within them as well.
fn sorted(fields: &Fields) -> Fields {
    let mut fields: Vec<FieldRef> = fields.iter().map(sorted_within).collect();
    fields.sort_by(|a, b| a.name().cmp(b.name()));
    fields.into()
}

fn sorted_within(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(sorted(fields)),
        DataType::List(item) => DataType::List(sorted_within(item)),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Little-endian values as an Arrow array.
fn values(float: FloatType, bytes: &[u8]) -> ArrayRef {
    // Generic over the function instead of a pointer to it: so the compiler sees that this only copies.
    fn decode<const N: usize, P: ArrowPrimitiveType>(
        bytes: &[u8],
        value: impl Fn([u8; N]) -> P::Native,
    ) -> ArrayRef {
        let values: Vec<P::Native> = bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect();
        Arc::new(PrimitiveArray::<P>::new(values.into(), None))
    }
    match float {
        FloatType::F16 | FloatType::BF16 => decode::<2, Float16Type>(bytes, f16::from_le_bytes),
        FloatType::F32 => decode::<4, Float32Type>(bytes, f32::from_le_bytes),
        FloatType::F64 => decode::<8, Float64Type>(bytes, f64::from_le_bytes),
    }
}

impl<W: Write + Send> fmt::Debug for ParquetWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetWriter")
            .field("path", &self.path)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
