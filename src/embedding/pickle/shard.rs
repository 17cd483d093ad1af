//! A pickled shard as a table.

use std::fmt;
use std::fs::File;
#[cfg(test)]
use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::builder::{self, Index};
use super::records::Records;
use crate::embedding::FloatType;
use crate::pickle::{Fault, Source};
use crate::{Error, Result};

/// An indexed shard: where the vector of every row stands in the file, and what else the rows hold.
///
/// Neither vectors nor texts are in memory, but for the keys; it takes about forty bytes a row.
pub(crate) struct PickleShard {
    path: PathBuf,
    index: Index,
}

impl fmt::Debug for PickleShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PickleShard").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PickleShard {
    /// Indexes the file in one pass over it, without loading its vectors.
    ///
    /// Every row is checked: it has an `id`, text or a whole number, and under `embed` a vector, of the same float
    /// type and length as that of the first row, with as many bytes as that takes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Format`] with opcode and byte, or with the row, where it
    /// is cut off, holds anything but such rows, or asks for anything to be executed.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let index = source(path).and_then(builder::read).map_err(|fault| error(path, fault))?;
        Ok(Self { path: path.to_path_buf(), index })
    }

    /// The float type of the values.
    pub(crate) fn float(&self) -> FloatType {
        self.index.table.float
    }

    /// The values in a row, at least one.
    pub(crate) fn dim(&self) -> usize {
        self.index.table.dim
    }

    /// The number of rows, at least one.
    pub(crate) fn rows(&self) -> usize {
        self.index.table.offsets.len()
    }

    /// Where in the file the little-endian values of every row begin, in the order of the list; they need not
    /// ascend. `dim * float.size()` bytes from each are inside the file.
    pub(crate) fn offsets(&self) -> &[u64] {
        &self.index.table.offsets
    }

    /// The fields of every row but `embed`, in the order of the list.
    ///
    /// Text is read from the file as its row comes, so that no more than one row is in memory. NaN becomes `null`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it has changed since it was indexed, or,
    /// as an item, with the row and field of a value that JSON cannot hold.
    pub(crate) fn records(&self) -> Result<impl Iterator<Item = Result<Map<String, Value>>> + '_> {
        self.fields(None)
    }

    /// As [`PickleShard::records`], with no other field than `id`.
    ///
    /// # Errors
    ///
    /// Those of [`PickleShard::records`].
    pub(crate) fn ids(&self) -> Result<impl Iterator<Item = Result<Map<String, Value>>> + '_> {
        self.fields(Some("id"))
    }

    fn fields(
        &self,
        only: Option<&'static str>,
    ) -> Result<impl Iterator<Item = Result<Map<String, Value>>> + '_> {
        let path = self.path.as_path();
        let records = source(path).and_then(|source| Records::new(&self.index, source));
        let records = records.map_err(|fault| error(path, fault))?;
        Ok(records.only(only).map(move |record| record.map_err(|fault| error(path, fault))))
    }
}

fn source(path: &Path) -> Result<Source<File>, Fault> {
    Source::new(File::open(path)?)
}

fn error(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Io(source) => Error::io(path, source),
        Fault::End => Error::format(path, "the file has changed: it ends early"),
        Fault::Format(detail) => Error::format(path, detail),
    }
}

/// Reads a file in memory, vectors and records and all, and throws it away; it must never panic, whatever the bytes
/// are.
///
/// Returns the rows of a file that can be read, for a fuzzer to count.
#[cfg(test)]
pub(crate) fn fuzz(bytes: &[u8]) -> Option<usize> {
    let index = builder::read(Source::new(Cursor::new(bytes)).ok()?).ok()?;
    let size = index.table.dim * index.table.float.size();
    for offset in &index.table.offsets {
        let from = usize::try_from(*offset).expect("an offset fits");
        assert!(size > 0 && from + size <= bytes.len(), "a vector at {offset} goes beyond the file");
    }
    let records = Records::new(&index, Source::new(Cursor::new(bytes)).ok()?).expect("the same file");
    for fields in records.flatten() {
        assert!(fields["id"].is_string() || fields["id"].is_i64(), "{fields:?}");
        assert!(!fields.contains_key("embed"), "{fields:?}");
    }
    Some(index.table.offsets.len())
}
