use std::fs::{File, Metadata};
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::matrix::Matrix;
#[cfg(feature = "parquet")]
use super::parquet::ParquetShard;
use super::pickle::PickleShard;
use super::records::{self, IdsFingerprint, Record, Records, Tally};
use super::stamp::Stamp;
use super::{FloatType, Format, ids, npy, positioned, tensors};
use crate::{Error, Result};

#[derive(Debug)]
enum Layout {
    /// One row after the other from a byte on.
    Contiguous { offset: u64 },
    /// Each row at a place of its own.
    Scattered(Box<PickleShard>),
    /// Encoded in pages, which are read in their order.
    #[cfg(feature = "parquet")]
    Encoded(Box<ParquetShard>),
}

/// One file of embeddings: where its rows lie, and what stands beside them. No row is in memory.
#[derive(Debug)]
pub(crate) struct Shard {
    path: PathBuf,
    format: Format,
    float: FloatType,
    dim: usize,
    rows: usize,
    layout: Layout,
    ids_fingerprint: Option<String>,
    /// What the file was when it was opened.
    stamp: Stamp,
    /// What was mended in its records.
    tally: Tally,
}

impl Shard {
    /// Reads the header, and checks it against the size of the file. `key` is the matrix of a `.safetensors` file or
    /// the column of a Parquet file.
    pub(super) fn open(path: &Path, key: Option<&str>) -> Result<Self> {
        let Some(format) = Format::of(path) else {
            let detail = "expected a name that ends in .npy, .safetensors, .parquet or .pkl";
            return Err(Error::format(path, detail));
        };
        let open = || -> std::io::Result<(File, Metadata)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            Ok((file, metadata))
        };
        let (file, metadata) = open().map_err(|error| Error::io(path, error))?;
        let (length, stamp) = (metadata.len(), Stamp::of(&metadata));
        let contiguous = |matrix: Matrix, ids_fingerprint| Self {
            path: path.to_path_buf(),
            format,
            float: matrix.float,
            dim: matrix.dim,
            rows: matrix.rows,
            layout: Layout::Contiguous { offset: matrix.offset },
            ids_fingerprint,
            stamp,
            tally: Tally::default(),
        };
        match format {
            Format::Npy => {
                let matrix = npy::read_header(path, &mut BufReader::new(file), length)?;
                Ok(contiguous(matrix, None))
            }
            Format::Safetensors => {
                let (matrix, ids) = tensors::read_header(path, &mut BufReader::new(file), length, key)?;
                Ok(contiguous(matrix, ids))
            }
            Format::Pickle => {
                let shard = PickleShard::open(path)?;
                Ok(Self {
                    path: path.to_path_buf(),
                    format,
                    float: shard.float(),
                    dim: shard.dim(),
                    rows: shard.rows(),
                    layout: Layout::Scattered(Box::new(shard)),
                    ids_fingerprint: None,
                    stamp,
                    tally: Tally::default(),
                })
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                let shard = ParquetShard::open(path, key)?;
                Ok(Self {
                    path: path.to_path_buf(),
                    format,
                    float: shard.float(),
                    dim: shard.dim(),
                    rows: shard.rows(),
                    layout: Layout::Encoded(Box::new(shard)),
                    ids_fingerprint: None,
                    stamp,
                    tally: Tally::default(),
                })
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => Err(Error::format(path, "Parquet files need the feature `parquet`")),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The type of its values.
    pub fn float(&self) -> FloatType {
        self.float
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.dim * self.float.size()
    }

    /// Whether its records, where there are any, have ids: a Parquet file may have other columns only.
    pub(crate) fn has_ids(&self) -> bool {
        match &self.layout {
            Layout::Contiguous { .. } | Layout::Scattered(_) => true,
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) => shard.has_ids(),
        }
    }

    /// The fields beside the vectors, where there are any: ids, captions and whatever else.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where the file of the ids cannot be read. Each record may be an error too,
    /// and the last one is where there are fewer or more records than rows, or those of another matrix.
    pub fn records(&self) -> Result<Option<Records<'_>>> {
        match &self.layout {
            Layout::Contiguous { .. } => {
                let path = records::sidecar(&self.path);
                let lines = |file| records::read_lines(&path, file, &self.tally, records::parse_with_id);
                let found = records::open_sidecar(&path)?.map(lines);
                Ok(found.map(|records| Box::new(Checked::new(self, path, records)) as Records<'_>))
            }
            Layout::Scattered(shard) => Ok(Some(Box::new(shard.records()?))),
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) if shard.extras_schema().fields().is_empty() => Ok(None),
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) => Ok(Some(Box::new(shard.records()?))),
        }
    }

    /// The ids alone, as [`Shard::records`], where there are any; the other fields are not read and need not be there.
    pub(super) fn ids(&self) -> Result<Option<Records<'_>>> {
        match &self.layout {
            Layout::Contiguous { .. } => {
                let path = records::sidecar(&self.path);
                let lines = |file| records::read_lines(&path, file, &self.tally, ids::parse);
                let found = records::open_sidecar(&path)?.map(lines);
                Ok(found.map(|records| Box::new(Checked::new(self, path, records)) as Records<'_>))
            }
            Layout::Scattered(shard) => Ok(Some(Box::new(shard.ids()?))),
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) if !shard.has_ids() => Ok(None),
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) => Ok(Some(Box::new(shard.ids()?))),
        }
    }

    /// Calls with every row of this shard and its id, and returns whether there are ids at all.
    ///
    /// # Errors
    ///
    /// Those of [`Shard::records`], and [`Error::MissingId`] where a record has none.
    pub(super) fn each_id(&self, mut visit: impl FnMut(usize, &str)) -> Result<bool> {
        let Some(records) = self.ids()? else { return Ok(false) };
        for (row, record) in records.enumerate() {
            let id = records::id(&record?).ok_or_else(|| Error::MissingId {
                what: format!("{}: row {row}", self.path().display()),
                id: "id".to_string(),
            })?;
            visit(row, &id);
        }
        Ok(true)
    }

    /// What was chosen of the file: two shards of one file may show different matrices or columns.
    pub(super) fn choice(&self) -> String {
        let place = match &self.layout {
            Layout::Contiguous { offset } => format!("byte {offset}"),
            Layout::Scattered(_) => String::new(),
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) => shard.name().to_string(),
        };
        format!("{} {} {} {place}", self.rows, self.dim, self.float)
    }

    /// Checks that a file is what this shard was when it was opened.
    pub(super) fn check_unchanged(&self, file: &File) -> Result<()> {
        self.stamp.check(&self.path, file)
    }

    /// The rows from one on, where they can only be read in their order.
    #[cfg(feature = "parquet")]
    pub(crate) fn encoded(&self) -> Option<&ParquetShard> {
        match &self.layout {
            Layout::Encoded(shard) => Some(shard),
            _ => None,
        }
    }

    /// The file, for [`Shard::read_rows`].
    pub(crate) fn file(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| Error::io(&self.path, error))
    }

    /// Reads rows as they lie in the file into `bytes`.
    pub(crate) fn read_rows(&self, file: &File, rows: Range<usize>, bytes: &mut Vec<u8>) -> Result<()> {
        let length = self.row_bytes();
        bytes.resize(rows.len() * length, 0);
        match &self.layout {
            Layout::Contiguous { offset } => {
                positioned::read_at(file, bytes, offset + (rows.start * length) as u64)
            }
            Layout::Scattered(shard) => read_scattered(file, &shard.offsets()[rows.clone()], length, bytes),
            #[cfg(feature = "parquet")]
            Layout::Encoded(_) => unreachable!("encoded rows are read in their order"),
        }
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::format(
                &self.path,
                format!("the file ends before row {}: it was cut off meanwhile", rows.end),
            ),
            _ => Error::io(&self.path, error),
        })
    }
}

/// Reads rows that lie here and there. As a rule they follow each other with little between them: then one read takes
/// them all, and they are moved together.
fn read_scattered(file: &File, offsets: &[u64], length: usize, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { return Ok(()) };
    let span = last.checked_sub(first).map(|span| span as usize + length);
    let Some(span) = span.filter(|&span| span <= 2 * bytes.len() && offsets.is_sorted()) else {
        return offsets
            .iter()
            .zip(bytes.chunks_exact_mut(length))
            .try_for_each(|(&offset, row)| positioned::read_at(file, row, offset));
    };
    bytes.resize(span, 0);
    positioned::read_at(file, bytes, first)?;
    for (row, offset) in offsets.iter().enumerate() {
        let from = (offset - first) as usize;
        bytes.copy_within(from..from + length, row * length);
    }
    bytes.truncate(offsets.len() * length);
    Ok(())
}

/// Records that are counted and fingerprinted while they go by: at their end it is known whether they belong to the
/// rows.
struct Checked<'a> {
    shard: &'a Shard,
    path: PathBuf,
    records: Records<'a>,
    seen: usize,
    fingerprint: Option<IdsFingerprint>,
}

impl<'a> Checked<'a> {
    fn new(shard: &'a Shard, path: PathBuf, records: Records<'a>) -> Self {
        Self { shard, path, records, seen: 0, fingerprint: Some(IdsFingerprint::new()) }
    }

    fn finish(&mut self) -> Option<Result<Record>> {
        let fingerprint = self.fingerprint.take()?.finish();
        let (rows, matrix) = (self.shard.rows, self.shard.path.display());
        let detail = match &self.shard.ids_fingerprint {
            _ if self.seen != rows => {
                format!("expected {rows} ids, one a row of {matrix}, found {}", self.seen)
            }
            Some(written) if *written != fingerprint => {
                format!("these are not the ids that {matrix} was written with ({written})")
            }
            _ => return None,
        };
        Some(Err(Error::format(&self.path, detail)))
    }
}

impl Iterator for Checked<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let Some(record) = self.records.next() else { return self.finish() };
        self.seen += 1;
        if let (Ok(record), Some(fingerprint)) = (&record, &mut self.fingerprint) {
            fingerprint.add(&records::id(record).unwrap_or_default());
        }
        Some(record)
    }
}
