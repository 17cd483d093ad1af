use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::read::{self, Reader};
use crate::embedding::torch::{Entry, Item, View};
use crate::weights::array::NamedArray;
use crate::{Error, Result};

/// An open archive: the names of its arrays, which are read when they are asked for.
pub(crate) struct TorchFile {
    path: PathBuf,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    reader: RefCell<Reader>,
}

impl TorchFile {
    /// Opens an archive and reads its pickle.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, asks for anything but tensors in
    /// plain dicts, or holds two of one name.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (entries, reader) = read::open(path)?;
        let mut by_name = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if by_name.insert(entry.key.to_string(), index).is_some() {
                return Err(Error::format(path, format!("{:?}: expected once, found twice", entry.key)));
            }
        }
        Ok(Self { path: path.to_path_buf(), entries, by_name, reader: RefCell::new(reader) })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all entries in the order of the file.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.key.to_string()).collect()
    }

    /// The shape of an array.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] without such an array, or where it cannot be.
    pub(crate) fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let wrong = |detail: String| Error::format(&self.path, format!("{name:?}: {detail}"));
        match &self.entry(name)?.value {
            Item::Tensor(tensor) => Ok(View::of(tensor).map_err(wrong)?.shape),
            Item::Texts(_) => Err(wrong("expected a tensor, found a list".to_string())),
            Item::Other(what) => Err(wrong(format!("expected a tensor, found {what}"))),
        }
    }

    /// An array with its values.
    ///
    /// # Errors
    ///
    /// Those of [`read`](super::read()) for an array.
    pub(crate) fn read(&self, name: &str) -> Result<NamedArray> {
        self.reader.borrow_mut().array(self.entry(name)?)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let index = self.by_name.get(name);
        let found = index.map(|index| &self.entries[*index]);
        found.ok_or_else(|| Error::format(&self.path, format!("{name:?}: expected in the file, found none")))
    }
}
