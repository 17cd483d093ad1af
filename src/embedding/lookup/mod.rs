//! Rows of a store by their ids, read where they lie on the disk.
//!
//! ```text
//! index      id -> row, 24 bytes a row in memory
//! reader     row -> file and place there -> float32
//! lru        a cache of what was used last: open files, decoded pages of Parquet files
//! identity   a number that tells one store from another
//! ```

mod identity;
mod index;
mod lru;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use super::Store;
use crate::{Error, Result};
pub(crate) use index::IdIndex;
use index::id_at;
use reader::Reader;

/// The rows of a [`Store`] by id, for sets that do not fit in memory: opening reads the ids once, and after that only
/// the rows that are asked for are read.
///
/// In memory it holds 24 bytes a row, or nothing where the store has no ids (then the rows' numbers in the store are
/// the ids, from `"0"`), and shares what the [`Store`] itself holds; the store may be dropped. Ids are told apart by
/// hashes of 128 bits. Any number of threads may read at the same time.
///
/// A row of a `.npy`, `.safetensors` or `.pkl` file is one read of its own bytes, and neighbours asked for together are
/// one read. A row of a Parquet file is read by decoding the page in which it lies (where the file has no index of its
/// pages: its row group up to there), and the pages decoded last are kept, up to 64 MiB; other formats need no cache
/// beside that of the operating system. For training in random order, convert such files to `.npy`.
///
/// ```no_run
/// use burn_revision::embedding::{Store, StoreLookup};
///
/// # fn main() -> burn_revision::Result<()> {
/// let lookup = StoreLookup::open(&Store::open("images/")?)?;
/// let rows: Vec<usize> = ["cat", "dog"].iter().filter_map(|id| lookup.position(id)).collect();
/// let mut values = vec![0.0; rows.len() * lookup.dim()];
/// lookup.read(&rows, &mut values)?;
/// # Ok(())
/// # }
/// ```
pub struct StoreLookup {
    place: PathBuf,
    ids: IdIndex,
    reader: Reader,
    fingerprint: String,
}

impl StoreLookup {
    /// Reads the ids of a store, and nothing else of it: the `.jsonl` files beside matrices, the column of ids of Parquet
    /// and Arrow files, the names of samples, the ids in pickles.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be read, [`Error::Format`] where it is damaged, has changed since the store
    /// was opened, or where ids do not belong to their matrix, [`Error::MissingId`] where a row among others with ids
    /// has none, [`Error::DuplicateId`] with both files and rows where an id stands twice.
    pub fn open(store: &Store) -> Result<Self> {
        let shards = store.shared_shards();
        let ids = IdIndex::read(&shards, |id| id)?;
        if let Some((first, second)) = ids.first_double() {
            let id = id_at(&shards, first)?;
            return Err(store.name_in(Error::DuplicateId { what: String::new(), id, first, second }));
        }
        let fingerprint = identity::fingerprint(&shards)?;
        let reader = Reader::new(shards)?;
        Ok(Self { place: store.place().to_path_buf(), ids, reader, fingerprint })
    }

    /// Keeps up to `bytes` of the decoded pages of Parquet files.
    #[cfg(test)]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { reader: self.reader.with_cache(bytes), ..self }
    }

    /// The row of an id, counted over all shards.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.ids.position(id)
    }

    /// Where `part` of every id stands; all ids are read once more.
    ///
    /// # Errors
    ///
    /// Those of reading the ids, as in [`open`](Self::open). A part may stand several times.
    pub(crate) fn index_by(&self, part: fn(&str) -> &str) -> Result<IdIndex> {
        IdIndex::read(self.reader.shards(), part)
    }

    /// The id of a row: all ids of its file are read.
    ///
    /// # Errors
    ///
    /// As in [`open`](Self::open).
    pub(crate) fn id_at(&self, row: usize) -> Result<String> {
        id_at(self.reader.shards(), row)
    }

    /// Where the store lies.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.reader.len()
    }

    /// Whether there is no row; never, for a store that was opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.reader.dim()
    }

    /// The file of a row, and the row's number there.
    pub(crate) fn locate(&self, row: usize) -> (&Path, usize) {
        self.reader.locate(row)
    }

    /// Reads rows, in any order and also repeatedly, into `out`, row-major `[rows.len(), dim]`: as they are stored,
    /// converted to float32, and whatever their values are.
    ///
    /// Rows are read in the order in which they lie in the files, so that one call for many is faster than many calls.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `out` has another length, [`Error::TooFewRows`] where there is no such row,
    /// [`Error::Format`] naming file and row where a file has changed since the store was opened (its length and the
    /// time of its last change are compared before it is read), ends early or is damaged, [`Error::Io`] where it
    /// cannot be read. What `out` holds then is not to be used.
    pub fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<()> {
        if out.len() != rows.len() * self.dim() {
            let what = format!("{}: values of {} rows", self.place.display(), rows.len());
            return Err(Error::mismatch(what, rows.len() * self.dim(), out.len()));
        }
        if let Some(&row) = rows.iter().find(|row| **row >= self.len()) {
            let what = format!("{}: reading row {row}", self.place.display());
            return Err(Error::TooFewRows { what, needed: row.saturating_add(1), actual: self.len() });
        }
        self.reader.read(rows, out)
    }

    /// A number that tells this store from others, so that an interrupted run only goes on with the same data.
    ///
    /// It is made of the shards' names relative to the folder that they share, what is read of each (the number of
    /// rows and dimensions, the type, the matrix or column), and the length and the first and last 64 KiB of every
    /// file, those of ids included. A copy in another folder has the same one whatever its times are. A change in the
    /// middle of a file that leaves its length is not noticed.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

impl fmt::Debug for StoreLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreLookup")
            .field("place", &self.place)
            .field("len", &self.len())
            .field("dim", &self.dim())
            .finish_non_exhaustive()
    }
}
