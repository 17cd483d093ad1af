use std::fs::{File, Metadata};
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::beside::{self, Beside};
#[cfg(feature = "parquet")]
use super::encoded::Encoded;
use super::matrix::{Matrix, Packed};
use super::pickle::PickleShard;
use super::records::{self, IdsFingerprint, Record, Records};
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

    /// Whether the rows have ids of their own, and not their numbers in the store.
    pub(crate) fn has_ids(&self) -> bool {
        match self.ids {
            Ids::Rows => false,
            Ids::Shard => true,
            Ids::Own => self.has_own_ids(),
        }
    }

    fn has_own_ids(&self) -> bool {
        match &self.beside {
            Beside::Nothing => false,
            Beside::List(_) => true,
            Beside::Lines(lines) => lines.has_ids(),
            #[cfg(feature = "parquet")]
            Beside::Table(table) => table.has(self.column()),
            Beside::Inside => match &self.layout {
                #[cfg(feature = "parquet")]
                Layout::Encoded(shard) => shard.extras_schema().fields().find(self.column()).is_some(),
                _ => true,
            },
        }
    }

    /// The field that holds the ids.
    fn column(&self) -> &str {
        self.id_column.as_deref().unwrap_or("id")
    }

    /// Where there are other fields beside the rows but no ids: the file, and fields that might have been meant.
    pub(super) fn missing_ids(&self) -> Option<(&Path, Vec<String>)> {
        if self.ids != Ids::Own || self.has_own_ids() {
            return None;
        }
        match &self.beside {
            Beside::Lines(lines) => Some((&lines.path, lines.candidates.clone())),
            #[cfg(feature = "parquet")]
            Beside::Table(table) => Some((table.path(), table.candidates())),
            #[cfg(feature = "parquet")]
            Beside::Inside => self.encoded().map(|shard| (self.path(), shard.candidates())),
            _ => None,
        }
    }

    /// What was mended in the file of records so far.
    pub(super) fn mended(&self) -> Mended {
        self.beside.mended()
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

    /// The fields beside the vectors, where there are any: ids, captions and whatever else. Where the rows have ids, those
    /// are in `id`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where the file of the ids cannot be read. Each record may be an error too,
    /// and the last one is where there are fewer or more records than rows, or those of another matrix.
    pub fn records(&self) -> Result<Option<Records<'_>>> {
        let own = self.own_records(false)?;
        self.identified(own)
    }

    /// The ids alone, as [`Shard::records`], where there are any; the other fields are not read and need not be there.
    pub(super) fn ids(&self) -> Result<Option<Records<'_>>> {
        if !self.has_ids() {
            return Ok(None);
        }
        let own = if self.has_own_ids() { self.own_records(true)? } else { None };
        self.identified(own)
    }

    /// What the files say, with the ids of the field that holds them.
    fn own_records(&self, only_ids: bool) -> Result<Option<Records<'_>>> {
        Ok(Some(match (&self.beside, &self.layout) {
            (Beside::Nothing, _) => return Ok(None),
            (Beside::List(ids), _) => beside::of_list(ids),
            (Beside::Lines(lines), _) => {
                let records = lines.records(only_ids)?;
                Box::new(Checked::new(self, lines.path.clone(), records))
            }
            #[cfg(feature = "parquet")]
            (Beside::Table(table), _) => match only_ids {
                true => self.with_id(Box::new(table.column(self.column())?)),
                false => self.with_id(Box::new(table.records()?)),
            },
            (Beside::Inside, Layout::Scattered(shard)) => match only_ids && self.id_column.is_none() {
                true => Box::new(shard.ids()?),
                false => self.with_id(Box::new(shard.records()?)),
            },
            (Beside::Inside, Layout::Members(shard)) => {
                self.with_id(shard.records(only_ids && self.id_column.is_none())?)
            }
            #[cfg(feature = "parquet")]
            (Beside::Inside, Layout::Encoded(shard)) => {
                self.with_id(Box::new(shard.records(only_ids.then(|| self.column()))?))
            }
            (Beside::Inside, Layout::Contiguous { .. } | Layout::Odd { .. }) => return Ok(None),
        }))
    }

    /// Puts the field that was named for it into `id`.
    fn with_id<'a>(&'a self, records: Records<'a>) -> Records<'a> {
        let Some(column) = self.id_column.as_deref().filter(|_| self.ids != Ids::Rows) else {
            return records;
        };
        Box::new(records.enumerate().map(move |(row, record)| {
            let mut record = record?;
            match records::identify(&mut record, column) {
                Ok(()) => Ok(record),
                Err(found) => {
                    let detail = format!("row {row}: expected an id in {column:?}: {found}");
                    Err(Error::format(self.other_file().unwrap_or(&self.path), detail))
                }
            }
        }))
    }

    /// Gives records the ids that are wanted.
    fn identified<'a>(&'a self, own: Option<Records<'a>>) -> Result<Option<Records<'a>>> {
        match self.ids {
            Ids::Own => Ok(own),
            Ids::Rows => Ok(own.map(|records| -> Records<'a> {
                Box::new(records.enumerate().map(|(row, record)| {
                    let mut record = record?;
                    record.insert("id".to_string(), (self.first + row).to_string().into());
                    Ok(record)
                }))
            })),
            Ids::Shard => {
                let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let has_own = self.has_own_ids();
                let records = own.unwrap_or_else(|| Box::new((0..self.rows).map(|_| Ok(Record::new()))));
                Ok(Some(Box::new(records.enumerate().map(move |(row, record)| {
                    let mut record = record?;
                    let own = records::id(&record).filter(|_| has_own).unwrap_or_else(|| row.to_string());
                    record.insert("id".to_string(), format!("{stem}/{own}").into());
                    Ok(record)
                }))))
            }
        }
    }

    /// The columns beside the rows with their types, where they have some; ids that were chosen are text.
    #[cfg(feature = "parquet")]
    pub(crate) fn extras_schema(&self) -> Option<arrow_schema::SchemaRef> {
        let schema = match (&self.beside, &self.layout) {
            (Beside::Table(table), _) => table.extras_schema(),
            (_, Layout::Encoded(shard)) => shard.extras_schema(),
            _ => return None,
        };
        let chosen = self.ids != Ids::Own || self.id_column.as_deref().is_some_and(|column| column != "id");
        Some(if chosen { std::sync::Arc::new(super::parquet::with_ids(&schema)) } else { schema })
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
                id: self.column().to_string(),
            })?;
            visit(row, &id);
        }
        Ok(true)
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

    /// How the file is read, where that is not the plain way: other ids, whole numbers with a scale.
    pub(crate) fn reading(&self) -> Option<String> {
        let is_plain =
            self.ids == Ids::Own && self.id_column.is_none() && !matches!(self.layout, Layout::Odd { .. });
        (!is_plain).then(|| self.choice())
    }

    /// Checks that a file is what this shard was when it was opened.
    pub(super) fn check_unchanged(&self, file: &File) -> Result<()> {
        // What was unpacked is nobody else's.
        if self.unpacked.is_some() { Ok(()) } else { self.stamp.check(&self.path, file) }
    }

    /// Whether the records are written as they stand in their file, ids and all.
    pub(crate) fn keeps_records(&self) -> bool {
        self.ids == Ids::Own && self.column() == "id" && self.has_own_ids()
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
            // Of the field `id`; another one may have been named.
            Some(written)
                if *written != fingerprint && self.shard.column() == "id" && self.shard.has_ids() =>
            {
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
