//! Arrow's own files: the stream (what `datasets.Dataset.save_to_disk` writes) and the file with a footer, in which the
//! same stream stands behind eight bytes.

use std::fs::File;
use std::io::{BufReader, Chain, Cursor, Read, Seek, SeekFrom, Take};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::{RecordBatch, convert, root_as_message};
use arrow_schema::{ArrowError, Schema, SchemaRef};

use super::column::Column;
use super::kind::Kind;
use super::{ColumnRecords, ParquetRows, arrow_error, contained, schema};
use crate::embedding::{FloatType, StoreOptions, positioned};
use crate::{Error, Result};

/// How the file with a footer begins; the stream follows.
const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// What stands before the length of a message.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// One Arrow file of embeddings, of which the headers of all batches have been read.
#[derive(Debug)]
pub(crate) struct ArrowShard {
    path: PathBuf,
    /// The message that tells the columns, for readers that begin at a batch.
    head: Arc<[u8]>,
    extras: SchemaRef,
    schema: SchemaRef,
    index: usize,
    column: Column,
    /// Where the first message lies, and where the last one ends.
    stream: Range<u64>,
    batches: Vec<Batch>,
    rows: usize,
}

/// A batch of rows in the file.
#[derive(Clone, Copy, Debug)]
struct Batch {
    begin: u64,
    end: u64,
    first: usize,
    rows: usize,
}

/// A message: its header has been checked by the library, and all of it lies within the file.
struct Message {
    bytes: Vec<u8>,
    end: u64,
    body: u64,
}

impl ArrowShard {
    /// Opens a file; columns are chosen as by [`ParquetShard::open`](super::ParquetShard::open).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is no sound Arrow file, is compressed, or
    /// has no such column.
    pub(crate) fn open(path: &Path, options: &StoreOptions) -> Result<Self> {
        contained(path, || Self::open_uncontained(path, options))
    }

    fn open_uncontained(path: &Path, options: &StoreOptions) -> Result<Self> {
        let wrong = |detail: String| Error::format(path, detail);
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
        let mut start = [0; 8];
        if length >= 8 {
            positioned::read_at(&file, &mut start, 0).map_err(|error| Error::io(path, error))?;
        }
        let begin = if &start == MAGIC { 8 } else { 0 };
        let Some(head) = message(path, &file, begin, length)? else {
            return Err(wrong("not an Arrow file: there is no message with the columns".to_string()));
        };
        let columns = parse(path, &head.bytes)?.header_as_schema().map(convert::try_fb_to_schema);
        let Some(columns) = columns else {
            return Err(wrong("the first message does not tell the columns".to_string()));
        };
        let columns = columns.map_err(|error| arrow_error(path, error))?;
        let (mut batches, mut rows, mut at) = (Vec::new(), 0_usize, head.end);
        let mut ended = false;
        while at < length {
            let Some(next) = message(path, &file, at, length)? else {
                ended = true;
                break;
            };
            let header = parse(path, &next.bytes)?;
            if let Some(batch) = header.header_as_record_batch() {
                let number = batches.len();
                check_buffers(path, batch, next.body)?;
                if batch.compression().is_some() {
                    let detail = "the batches are compressed; write the file without compression (in pyarrow: compression=None)";
                    return Err(wrong(detail.to_string()));
                }
                // A row of lists, bytes or texts takes four bytes at least, that of a list of one length as many as it has.
                let count = u64::try_from(batch.length()).ok().filter(|count| *count <= next.body);
                let end = count.and_then(|count| rows.checked_add(count as usize));
                let Some(end) = end else {
                    return Err(wrong(format!(
                        "batch {number} claims {} rows in {} bytes",
                        batch.length(),
                        next.body
                    )));
                };
                batches.push(Batch { begin: at, end: next.end, first: rows, rows: end - rows });
                rows = end;
            } else if let Some(data) =
                header.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
            {
                check_buffers(path, data, next.body)?;
            } else {
                return Err(wrong(format!("a message of type {:?} at byte {at}", header.header_type())));
            }
            at = next.end;
        }
        if !ended {
            return Err(wrong("the file ends without the mark of its end: it was cut off".to_string()));
        }
        let index = schema::embedding_column(path, &columns, options.key.as_deref())?;
        let extras = Arc::new(schema::extras(&columns, Some(index)));
        schema::check_column(path, &extras, options.id_column.as_deref())?;
        let (kind, fixed) = Kind::of(columns.field(index).data_type()).expect("the column was chosen so");
        let mut column = Column::new(path, columns.field(index).name(), kind, options);
        column.set_dim(fixed)?;
        let mut head_bytes = CONTINUATION.to_vec();
        head_bytes.extend((head.bytes.len() as u32).to_le_bytes());
        head_bytes.extend(&head.bytes);
        let mut shard = Self {
            path: path.to_path_buf(),
            head: head_bytes.into(),
            extras,
            schema: Arc::new(columns),
            index,
            column,
            stream: begin..at,
            batches,
            rows,
        };
        if shard.column.dim.is_none() && rows > 0 {
            let first = shard.single_rows()?.first_row()?;
            shard.column.settle(&first)?;
        }
        Ok(shard)
    }

    pub(crate) fn name(&self) -> &str {
        &self.column.name
    }

    pub(crate) fn float(&self) -> FloatType {
        self.column.float
    }

    /// The number of values in a row; 0 where no row tells it.
    pub(crate) fn dim(&self) -> usize {
        self.column.dim.unwrap_or(0)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The first row of every batch, and then the number of rows.
    pub(crate) fn starts(&self) -> Vec<usize> {
        let starts = self.batches.iter().filter(|batch| batch.rows > 0).map(|batch| batch.first);
        starts.chain([self.rows]).collect()
    }

    /// As [`ParquetTable::extras_schema`](super::ParquetTable::extras_schema).
    pub(crate) fn extras_schema(&self) -> SchemaRef {
        Arc::clone(&self.extras)
    }

    /// Columns that might hold ids, where `id` is not there.
    pub(crate) fn candidates(&self) -> Vec<String> {
        schema::id_candidates(&self.extras)
    }

    /// As [`ParquetTable::records`](super::ParquetTable::records).
    pub(crate) fn records(&self) -> Result<ColumnRecords> {
        self.records_of(|_| true)
    }

    /// As [`ParquetTable::column`](super::ParquetTable::column).
    pub(crate) fn column(&self, column: &str) -> Result<ColumnRecords> {
        self.records_of(|name| name == column)
    }

    fn records_of(&self, takes: impl Fn(&str) -> bool) -> Result<ColumnRecords> {
        let fields = self.schema.fields();
        let is_taken = |index: &usize| *index != self.index && takes(fields[*index].name());
        let columns: Vec<usize> = (0..fields.len()).filter(is_taken).collect();
        let extras = self.extras.fields().iter().filter(|field| takes(field.name()));
        let json =
            Arc::new(schema::json_schema(&self.path, &Schema::new(extras.cloned().collect::<Vec<_>>()))?);
        let reader = self.reader(None, columns)?;
        Ok(ColumnRecords::new(self.path.clone(), json, self.rows, Box::new(reader)))
    }

    /// The embeddings from row `first` on.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where the file has fewer than `first` rows, [`Error::Io`] where it cannot be opened.
    pub(crate) fn rows_from(&self, first: usize) -> Result<ParquetRows> {
        if first > self.rows {
            return Err(Error::mismatch(format!("{}: first row", self.path.display()), self.rows, first));
        }
        self.rows_within(first..self.rows, self.stream.end)
    }

    /// The embeddings of some rows of one batch.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be opened.
    pub(crate) fn rows_of_batch(&self, rows: Range<usize>) -> Result<ParquetRows> {
        let end = self.batches.iter().find(|batch| batch.first + batch.rows >= rows.end);
        self.rows_within(rows, end.map_or(self.stream.end, |batch| batch.end))
    }

    fn rows_within(&self, rows: Range<usize>, end: u64) -> Result<ParquetRows> {
        let next = self.batches.partition_point(|batch| batch.first + batch.rows <= rows.start);
        let batch = self.batches.get(next);
        let (begin, skip) = batch.map_or((end, 0), |batch| (batch.begin, rows.start - batch.first));
        let mut reader = self.reader(Some(begin..end), vec![self.index])?;
        let mut skip = Some(skip);
        let batches =
            std::iter::from_fn(move || {
                let batch = reader.next()?;
                let skip = skip.take().unwrap_or(0);
                Some(batch.map(|batch| {
                    batch.slice(skip.min(batch.num_rows()), batch.num_rows().saturating_sub(skip))
                }))
            });
        Ok(ParquetRows::new(self.column.clone(), rows, Box::new(batches.filter(is_not_empty))))
    }

    /// The rows one by one, to find the first that tells their length.
    fn single_rows(&self) -> Result<ParquetRows> {
        let reader = self.reader(None, vec![self.index])?;
        let rows = reader.flat_map(|batch| -> Box<dyn Iterator<Item = _> + Send> {
            match batch {
                Ok(batch) => Box::new((0..batch.num_rows()).map(move |row| Ok(batch.slice(row, 1)))),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        });
        Ok(ParquetRows::new(self.column.clone(), 0..self.rows, Box::new(rows)))
    }

    /// The batches within a range of bytes, or all of them.
    fn reader(&self, range: Option<Range<u64>>, columns: Vec<usize>) -> Result<Reader> {
        let io = |error| Error::io(&self.path, error);
        let mut file = File::open(&self.path).map_err(io)?;
        let first = self.stream.start + self.head.len() as u64;
        let range = range.unwrap_or(first.min(self.stream.end)..self.stream.end);
        file.seek(SeekFrom::Start(range.start)).map_err(io)?;
        let body = BufReader::with_capacity(1 << 16, file).take(range.end - range.start);
        let stream = Cursor::new(Arc::clone(&self.head)).chain(body);
        contained(&self.path, || {
            StreamReader::try_new(stream, Some(columns)).map_err(|error| arrow_error(&self.path, error))
        })
    }
}

type Reader = StreamReader<Chain<Cursor<Arc<[u8]>>, Take<BufReader<File>>>>;

fn is_not_empty(batch: &Result<arrow_array::RecordBatch, ArrowError>) -> bool {
    batch.as_ref().map_or(true, |batch| batch.num_rows() > 0)
}

/// The header of the message at byte `at` of a file of `length` bytes; `None` where it marks the end.
fn message(path: &Path, file: &File, at: u64, length: u64) -> Result<Option<Message>> {
    let ends = || Error::format(path, format!("the file ends within the message at byte {at}"));
    let read = |bytes: &mut [u8], at: u64| match at.checked_add(bytes.len() as u64) {
        Some(end) if end <= length => {
            positioned::read_at(file, bytes, at).map_err(|error| Error::io(path, error))
        }
        _ => Err(ends()),
    };
    let mut prefix = [0; 4];
    read(&mut prefix, at)?;
    // Older writers leave the mark of a message out.
    let mut begin = at + 4;
    if prefix == CONTINUATION {
        read(&mut prefix, begin)?;
        begin += 4;
    }
    let size = match i32::from_le_bytes(prefix) {
        0 => return Ok(None),
        size => u64::try_from(size).map_err(|_| {
            Error::format(path, format!("not an Arrow file: a message of {size} bytes at byte {at}"))
        })?,
    };
    if size > length - begin {
        return Err(Error::format(
            path,
            format!("not an Arrow file, or one that was cut off: a message of {size} bytes at byte {at}"),
        ));
    }
    let mut bytes = vec![0; size as usize];
    read(&mut bytes, begin)?;
    let body = u64::try_from(parse(path, &bytes)?.bodyLength()).map_err(|_| ends())?;
    let end = (begin + size).checked_add(body).filter(|end| *end <= length).ok_or_else(ends)?;
    Ok(Some(Message { bytes, end, body }))
}

/// Refuses a batch whose parts lie outside its `body` bytes: the library takes for granted that they do not.
fn check_buffers(path: &Path, batch: RecordBatch<'_>, body: u64) -> Result<()> {
    let within = |begin: i64, length: i64| {
        let end = u64::try_from(begin).ok().zip(u64::try_from(length).ok());
        end.and_then(|(begin, length)| begin.checked_add(length)).is_some_and(|end| end <= body)
    };
    let buffers = batch.buffers().into_iter().flatten();
    let nodes = batch.nodes().into_iter().flatten();
    for buffer in buffers {
        if !within(buffer.offset(), buffer.length()) {
            let (begin, length) = (buffer.offset(), buffer.length());
            let detail = format!("a batch of {body} bytes has {length} of them at byte {begin}");
            return Err(Error::format(path, detail));
        }
    }
    for node in nodes {
        let (length, nulls) = (node.length(), node.null_count());
        if length < 0 || !(0..=length).contains(&nulls) {
            return Err(Error::format(path, format!("a column of {length} values, {nulls} of them null")));
        }
    }
    Ok(())
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<arrow_ipc::Message<'a>> {
    root_as_message(bytes).map_err(|error| Error::format(path, format!("not an Arrow file: {error}")))
}
