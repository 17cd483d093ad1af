//! Models that are split into several files, `NAME-00001-of-00003.gguf` and so on, as `llama-gguf-split` and the
//! converter of llama.cpp write them.

use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use crate::{Error, Result};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The parts of a model.
pub(super) struct Split {
    /// The part that was opened.
    opened: PathBuf,
    /// What the names of all parts begin with.
    name: String,
    pub(super) count: usize,
}

impl Split {
    /// The parts of the model that a file is one of; `None` for a whole model.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the name of the file is not that of its part, so that the others cannot be found.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Self>> {
        let Some(count) = metadata.count(COUNT)?.filter(|count| *count > 1) else { return Ok(None) };
        let number = metadata.required(NUMBER, metadata.count(NUMBER)?)?;
        if number >= count {
            let detail =
                format!("key {NUMBER:?}: expected the number of one of {count} parts, found {number}");
            return Err(metadata.wrong(detail));
        }
        let opened = metadata.path().to_path_buf();
        let file = opened.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let Some(name) = file.strip_suffix(&suffix(number, count)) else {
            return Err(metadata.wrong(format!(
                "part {} of {count} of a model: expected a name that ends in {:?}, so that the other parts are found",
                number + 1,
                suffix(number, count)
            )));
        };
        let name = name.to_string();
        Ok(Some(Self { opened, name, count }))
    }

    /// Where a part is, counted from zero.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where it is not.
    pub(super) fn part(&self, number: usize) -> Result<PathBuf> {
        let name = format!("{}{}", self.name, suffix(number, self.count));
        let path = self.opened.parent().unwrap_or(Path::new("")).join(&name);
        if path.is_file() {
            return Ok(path);
        }
        let detail = format!("expected all {} parts of the model in one folder, found no {name}", self.count);
        Err(Error::format(&self.opened, detail))
    }

    /// Refuses a part that says that it is another one.
    pub(super) fn check(&self, number: usize, metadata: &Metadata) -> Result<()> {
        for (key, expected) in [(NUMBER, number), (COUNT, self.count)] {
            let found = metadata.required(key, metadata.count(key)?)?;
            if found != expected {
                return Err(metadata.wrong(format!("key {key:?}: expected {expected}, found {found}")));
            }
        }
        Ok(())
    }

    /// Refuses parts that do not hold as many tensors as the first says.
    pub(super) fn check_tensors(&self, found: usize, first: &Metadata) -> Result<()> {
        match first.count(TENSORS)? {
            Some(expected) if expected != found => Err(first.wrong(format!(
                "key {TENSORS:?}: expected {expected} tensors in {} parts, found {found}",
                self.count
            ))),
            _ => Ok(()),
        }
    }
}

fn suffix(number: usize, count: usize) -> String {
    format!("-{:05}-of-{count:05}.gguf", number + 1)
}
