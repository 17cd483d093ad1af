use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::Place;
use super::records;
use super::{EmbeddingTable, Numbered, Pieces, Record, Shard, StoreOptions, StoreReport};
use crate::{Error, Result};

/// Ids whose hashes are in memory at once while they are compared.
const IDS_A_PASS: usize = 1 << 21;

/// Embeddings on disk: a file, a folder of shards, or the files that a pattern matches, in the natural order of their
/// names: `e_2` before `e_10`.
///
/// Only headers are read when a store is opened; rows are streamed from it ([`crate::alignment::stream`]) or read as a
/// table ([`Store::read_table`]).
///
/// ```no_run
/// use burn_revision::embedding::Store;
///
/// # fn main() -> burn_revision::Result<()> {
/// let store = Store::open("captions/*.npy")?;
/// println!("{} rows of {} dimensions", store.len(), store.dim());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Store {
    place: PathBuf,
    shards: Arc<[Shard]>,
    rows: usize,
    is_file: bool,
    report: StoreReport,
}

impl Store {
    /// Opens a file, the shards of a folder, or what a pattern with `*`, `?` or `[...]` matches.
    ///
    /// # Errors
    ///
    /// Those of [`Store::open_with`].
    pub fn open(place: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(place, &StoreOptions::default())
    }

    /// As [`Store::open`], where files leave a choice: which matrix or column is meant, which field holds the ids, what
    /// whole numbers are worth.
    ///
    /// A folder as clip-retrieval writes it (`img_emb`, `text_emb`, `metadata`) is the half of it that
    /// [`StoreOptions::modality`] names, joined row by row with the metadata of the same number.
    ///
    /// ```no_run
    /// use burn_revision::embedding::{Store, StoreOptions};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let options = StoreOptions { id_column: Some("image_path".into()), ..StoreOptions::default() };
    /// let store = Store::open_with("laion/img_emb", &options)?;
    /// for note in store.report().notes() {
    ///     println!("note: {note}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be read, [`Error::Format`] where it does not hold what its format promises,
    /// or where the shards differ in format or dimensions, or hold no row.
    pub fn open_with(place: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        let place = place.as_ref();
        let mut shards = Vec::new();
        let mut report = StoreReport::default();
        let mut rows = 0;
        for Place { path, table } in super::place::find(place, options)? {
            let mut shard = Shard::open(&path, table.as_deref(), options)?;
            report.samples_without_embedding += shard.without_embedding();
            if shard.len() == 0 {
                report.empty_files.push(path);
                continue;
            }
            if report.numbered.is_none()
                && let Some((path, fields)) = shard.missing_ids()
            {
                report.numbered = Some(Numbered { path: path.to_path_buf(), fields });
            }
            shard.set_first(rows);
            rows += shard.len();
            shards.push(shard);
        }
        let Some(first) = shards.first() else {
            return Err(Error::format(place, "there is no row"));
        };
        for shard in &shards {
            if shard.dim() != first.dim() {
                let (expected, found, first) = (first.dim(), shard.dim(), first.path().display());
                let detail = format!("rows of {found} dimensions, but {first} has rows of {expected}");
                return Err(Error::format(shard.path(), detail));
            }
            if shard.format() != first.format() {
                let (found, first) = (shard.format(), first.path().display());
                let detail =
                    format!("a {found} file beside {first}: name one of them, or a pattern like *.{found}");
                return Err(Error::format(shard.path(), detail));
            }
        }
        let is_file = place.is_file();
        Ok(Self { place: place.to_path_buf(), shards: shards.into(), rows, is_file, report })
    }

    /// What is worth knowing of how the files were read. What was mended in files of records is known when they have been
    /// read, as by [`Store::check_ids`] or by a conversion.
    pub fn report(&self) -> StoreReport {
        let mut report = self.report.clone();
        for shard in self.shards() {
            report.mended += shard.mended();
        }
        report
    }

    /// What was opened.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Whether it is one file, and not a folder or a pattern.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// The files, in order.
    pub(crate) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The files, for readers that outlive the store.
    pub(super) fn shared_shards(&self) -> Arc<[Shard]> {
        Arc::clone(&self.shards)
    }

    /// The number of rows of all shards.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row; never, for a store that was opened.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.shards[0].dim()
    }

    /// The bytes of all rows as they are stored.
    pub fn row_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| (shard.len() * shard.row_bytes()) as u64).sum()
    }

    /// The rows in pieces of at most `rows`, none of them across two shards.
    pub(crate) fn pieces(&self, rows: usize) -> Pieces<'_> {
        Pieces::new(&self.shards, rows)
    }

    /// Reads everything into memory, as float32. Where a shard has no ids, the row's number in the store is its id.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where a file cannot be read or has not as many ids as rows,
    /// [`Error::DuplicateId`] where an id stands twice.
    pub fn read_table(&self) -> Result<EmbeddingTable> {
        // A file may claim rows of any size: beyond what it can hold, memory is taken as values come.
        let held = self.shards().iter().map(|shard| shard.file_length() as usize).sum::<usize>();
        let mut rows = Vec::with_capacity(self.rows.saturating_mul(self.dim()).min(held));
        let (mut pieces, mut bytes) = (self.pieces(super::BLOCK_ROWS), Vec::new());
        while let Some(piece) = pieces.next(&mut bytes)? {
            rows.extend(piece.read(&mut bytes)?.to_single());
        }
        let mut ids = Vec::with_capacity(self.rows.min(held));
        for shard in self.shards() {
            match shard.records()?.filter(|_| shard.has_ids()) {
                Some(records) => {
                    for record in records {
                        ids.push(records::id(&record?).unwrap_or_else(|| ids.len().to_string()));
                    }
                }
                None => ids.extend((ids.len()..ids.len() + shard.len()).map(|row| row.to_string())),
            }
        }
        EmbeddingTable::new(ids, rows, self.dim()).map_err(|error| self.name_in(error))
    }

    /// What stands beside the rows: a record for each, in their order over all shards, read as they are asked for. Rows
    /// without one get a record of their `id` alone, the row's number in the store.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where the records of a shard cannot be read, or are not as many as its rows.
    pub fn records(&self) -> impl Iterator<Item = Result<Record>> + '_ {
        let mut first = 0;
        self.shards().iter().flat_map(move |shard| {
            let start = first;
            first += shard.len();
            let numbered = (start..first).map(|row| Ok(records::of_id(row.to_string())));
            let records: records::Records<'_> = match shard.records() {
                Ok(Some(records)) => records,
                Ok(None) => Box::new(numbered),
                Err(error) => Box::new(std::iter::once(Err(error))),
            };
            records.enumerate().map(move |(row, record)| {
                let mut record = record?;
                if !shard.has_ids() || !record.contains_key("id") {
                    record.insert("id".to_string(), (start + row).to_string().into());
                }
                Ok(record)
            })
        })
    }

    /// The record that stands under an id; reads the records up to it.
    ///
    /// # Errors
    ///
    /// Those of [`Store::records`], and [`Error::MissingId`] where no row has the id.
    pub fn record(&self, id: &str) -> Result<Record> {
        let is_wanted = |record: &Result<Record>| match record {
            Ok(record) => records::id(record).as_deref() == Some(id),
            Err(_) => true,
        };
        let missing = || Error::MissingId { what: self.place.display().to_string(), id: id.to_string() };
        self.records().find(is_wanted).ok_or_else(missing)?
    }

    /// Checks that the ids, where there are any, are as many as the rows and all different, in bounded memory.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where a file cannot be read or has not as many ids as rows,
    /// [`Error::MissingId`] where a record has none, and [`Error::DuplicateId`] where an id stands twice.
    pub fn check_ids(&self) -> Result<()> {
        self.check_ids_in_parts(self.rows.div_ceil(IDS_A_PASS))
    }

    fn check_ids_in_parts(&self, parts: usize) -> Result<()> {
        for part in 0..parts as u64 {
            let mut seen: HashMap<u64, usize> = HashMap::new();
            let mut double = None;
            self.each_id(|row, id| {
                let hash = hash(id);
                if hash % parts as u64 == part && double.is_none() {
                    if let Some(&first) = seen.get(&hash) {
                        double = Some((first, row, id.to_string()));
                    }
                    seen.insert(hash, row);
                }
            })?;
            // Two different ids may have the same hash.
            if let Some((first, second, id)) = double {
                let mut same = false;
                self.each_id(|row, other| same |= row == first && other == id)?;
                if same {
                    return Err(self.name_in(Error::DuplicateId { what: String::new(), id, first, second }));
                }
            }
        }
        Ok(())
    }

    /// Calls with every id and the number of its row in the store.
    fn each_id(&self, mut visit: impl FnMut(usize, &str)) -> Result<()> {
        let mut first = 0;
        for shard in self.shards() {
            shard.each_id(|row, id| visit(first + row, id))?;
            first += shard.len();
        }
        Ok(())
    }

    /// Names the files and rows of an id that stands twice.
    pub(super) fn name_in(&self, error: Error) -> Error {
        let Error::DuplicateId { id, first, second, .. } = error else { return error };
        let (file, first) = self.locate(first);
        let (other, second) = self.locate(second);
        let what = match file == other {
            true => file.display().to_string(),
            // Shards that number their rows each from the beginning.
            false => {
                let (file, other) = (file.display(), other.display());
                format!(
                    "{file} and {other} (`ids` = shard puts the name of the file before each id, rows numbers the rows)"
                )
            }
        };
        Error::DuplicateId { what, id, first, second }
    }

    /// The file of a row and its number there.
    fn locate(&self, row: usize) -> (&Path, usize) {
        let mut first = 0;
        for shard in self.shards() {
            if row < first + shard.len() {
                return (shard.path(), row - first);
            }
            first += shard.len();
        }
        (&self.place, row)
    }
}

fn hash(id: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
