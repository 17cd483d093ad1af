mod records;

use std::fs::{File, Metadata};
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::beside::Beside;
#[cfg(feature = "parquet")]
use super::encoded::Encoded;
use super::matrix::{Matrix, Packed};
use super::pickle::PickleShard;
use super::stamp::Stamp;
use super::webdataset::TarShard;
use super::{FloatType, Format, Ids, StoreOptions, npy, npz, odd_rows, positioned, tensors, torch};
use crate::json::Mended;
use crate::{Error, Result};

#[derive(Debug)]
enum Layout {
    /// One row after the other from a byte on.
    Contiguous { offset: u64 },
    /// Not as they are wanted: by columns, apart from each other, or as whole numbers of which one is worth `scale`.
    Odd { matrix: Matrix, scale: f64 },
    /// Each row at a place of its own.
    Scattered(Box<PickleShard>),
    /// Likewise, each in a member of a tar file.
    Members(Box<TarShard>),
    /// Encoded in pages, which are read in their order.
    #[cfg(feature = "parquet")]
    Encoded(Box<Encoded>),
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
    /// The rows of an archive that had to be unpacked.
    unpacked: Option<File>,
    beside: Beside,
    ids_fingerprint: Option<String>,
    /// What the ids are, the field that holds them, and the number of the first row in the store.
    ids: Ids,
    id_column: Option<String>,
    first: usize,
    /// Whether the options leave everything to the file.
    is_plain: bool,
    /// What the file was when it was opened.
    stamp: Stamp,
}

impl Shard {
    /// Reads the header, and checks it against the size of the file. `table` is a Parquet file of what stands beside the
    /// rows of a matrix, where there is one.
    pub(super) fn open(path: &Path, table: Option<&Path>, options: &StoreOptions) -> Result<Self> {
        let Some(format) = Format::of(path) else {
            let detail = format!("expected a name that ends in {}", Format::EXTENSIONS);
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
        let length = metadata.len();
        let mut shard = Self {
            path: path.to_path_buf(),
            format,
            float: FloatType::F32,
            dim: 0,
            rows: 0,
            layout: Layout::Contiguous { offset: 0 },
            unpacked: None,
            beside: Beside::Nothing,
            ids_fingerprint: None,
            ids: options.ids,
            id_column: options.id_column.clone(),
            first: 0,
            is_plain: options.is_plain(),
            stamp: Stamp::of(&metadata),
        };
        match format {
            Format::Npy => {
                let matrix = npy::read_header(path, &mut BufReader::new(file), length, options)?;
                shard.set_matrix(matrix, options);
                shard.beside = Beside::find(path, table, options)?;
            }
            Format::Safetensors => {
                let (matrix, ids) = tensors::read_header(path, &mut BufReader::new(file), length, options)?;
                shard.set_matrix(matrix, options);
                shard.beside = Beside::find(path, table, options)?;
                shard.ids_fingerprint = ids;
            }
            Format::Npz | Format::Torch => {
                let Packed { matrix, unpacked, ids } = match format {
                    Format::Npz => npz::open(path, options)?,
                    _ => torch::read_matrix(path, options)?,
                };
                shard.set_matrix(matrix, options);
                shard.unpacked = unpacked;
                shard.beside = match ids {
                    Some(ids) => Beside::List(ids),
                    None => Beside::find(path, table, options)?,
                };
            }
            Format::Pickle => {
                let pickle = PickleShard::open(path)?;
                (shard.float, shard.dim, shard.rows) = (pickle.float(), pickle.dim(), pickle.rows());
                shard.layout = Layout::Scattered(Box::new(pickle));
                shard.beside = Beside::Inside;
            }
            Format::WebDataset => {
                let tar = TarShard::open(path, options)?;
                (shard.float, shard.dim, shard.rows) = (tar.float(), tar.dim(), tar.offsets().len());
                shard.layout = Layout::Members(Box::new(tar));
                shard.beside = Beside::Inside;
            }
            #[cfg(feature = "parquet")]
            Format::Parquet | Format::Arrow => {
                let encoded = Encoded::open(path, format, options)?;
                (shard.float, shard.dim, shard.rows) = (encoded.float(), encoded.dim(), encoded.rows());
                let has_others = !encoded.extras_schema().fields().is_empty();
                shard.layout = Layout::Encoded(Box::new(encoded));
                shard.beside = if has_others { Beside::Inside } else { Beside::Nothing };
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(Error::format(path, "Parquet files need the feature `parquet`")),
            #[cfg(not(feature = "parquet"))]
            Format::Arrow => return Err(Error::format(path, "Arrow files need the feature `parquet`")),
        }
        #[cfg(feature = "parquet")]
        if let Beside::Table(table) = &shard.beside
            && table.rows() != shard.rows
        {
            let (rows, matrix, found) = (shard.rows, path.display(), table.rows());
            let detail = format!("expected {rows} rows, one a row of {matrix}, found {found}");
            return Err(Error::format(table.path(), detail));
        }
        Ok(shard)
    }

    fn set_matrix(&mut self, matrix: Matrix, options: &StoreOptions) {
        (self.float, self.dim, self.rows) = (matrix.element.float(), matrix.dim, matrix.rows);
        self.layout = match matrix.is_plain() {
            true => Layout::Contiguous { offset: matrix.offset },
            false => Layout::Odd { matrix, scale: options.scale.unwrap_or(1.0) },
        };
    }

    /// Tells the shard where its rows stand in the store.
    pub(super) fn set_first(&mut self, first: usize) {
        self.first = first;
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

    /// What was mended in the file of records so far.
    pub(super) fn mended(&self) -> Mended {
        match &self.layout {
            Layout::Members(tar) => tar.tally.get(),
            _ => self.beside.mended(),
        }
    }

    /// Samples that are no rows, since they have no embedding.
    pub(super) fn without_embedding(&self) -> usize {
        match &self.layout {
            Layout::Members(tar) => tar.without,
            _ => 0,
        }
    }

    /// The file of records or the table beside the rows, if it is another one.
    pub(crate) fn other_file(&self) -> Option<&Path> {
        match &self.beside {
            Beside::Lines(lines) => Some(&lines.path),
            #[cfg(feature = "parquet")]
            Beside::Table(table) => Some(table.path()),
            _ => None,
        }
    }

    /// What was chosen of the file: two shards of one file may show different matrices or columns.
    pub(super) fn choice(&self) -> String {
        let mut place = match &self.layout {
            Layout::Contiguous { offset } => format!("byte {offset}"),
            Layout::Odd { matrix, scale } => format!("{matrix:?} {scale}"),
            Layout::Scattered(_) => String::new(),
            Layout::Members(tar) => tar.ending.clone(),
            #[cfg(feature = "parquet")]
            Layout::Encoded(shard) => shard.name().to_string(),
        };
        if self.ids != Ids::Own || self.id_column.is_some() {
            place += &format!(" {} {:?}", self.ids, self.id_column);
        }
        format!("{} {} {} {place}", self.rows, self.dim, self.float)
    }

    /// How the file is read, where options say so: another matrix, other ids, whole numbers with a scale.
    pub(crate) fn reading(&self) -> Option<String> {
        (!self.is_plain).then(|| self.choice())
    }

    /// Checks that a file is what this shard was when it was opened.
    pub(super) fn check_unchanged(&self, file: &File) -> Result<()> {
        // What was unpacked is nobody else's.
        if self.unpacked.is_some() { Ok(()) } else { self.stamp.check(&self.path, file) }
    }

    /// The bytes of the file when it was opened.
    pub(super) fn file_length(&self) -> u64 {
        self.stamp.length()
    }

    /// The columns, where the rows can only be read in their order.
    #[cfg(feature = "parquet")]
    pub(crate) fn encoded(&self) -> Option<&Encoded> {
        match &self.layout {
            Layout::Encoded(shard) => Some(shard),
            _ => None,
        }
    }

    /// The file as it was opened.
    pub(super) fn original(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| Error::io(&self.path, error))
    }

    /// The file of the rows, for [`Shard::read_rows`].
    pub(crate) fn file(&self) -> Result<File> {
        match &self.unpacked {
            None => self.original(),
            Some(file) => file.try_clone().map_err(|error| Error::io(&self.path, error)),
        }
    }

    /// Reads rows as they lie in the file into `bytes`.
    pub(crate) fn read_rows(&self, file: &File, rows: Range<usize>, bytes: &mut Vec<u8>) -> Result<()> {
        let length = self.row_bytes();
        if let Layout::Odd { matrix, scale } = &self.layout {
            let read = odd_rows::read(file, matrix, *scale, rows.clone(), bytes);
            return read.map_err(|error| self.read_error(error, rows.end));
        }
        bytes.resize(rows.len() * length, 0);
        match &self.layout {
            Layout::Contiguous { offset } => {
                positioned::read_at(file, bytes, offset + (rows.start * length) as u64)
            }
            Layout::Scattered(shard) => read_scattered(file, &shard.offsets()[rows.clone()], length, bytes),
            Layout::Members(shard) => read_scattered(file, &shard.offsets()[rows.clone()], length, bytes),
            Layout::Odd { .. } => unreachable!("read above"),
            #[cfg(feature = "parquet")]
            Layout::Encoded(_) => unreachable!("encoded rows are read in their order"),
        }
        .map_err(|error| self.read_error(error, rows.end))
    }

    fn read_error(&self, error: std::io::Error, end: usize) -> Error {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let detail = format!("the file ends before row {end}: it was cut off meanwhile");
                Error::format(&self.path, detail)
            }
            _ => Error::io(&self.path, error),
        }
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
