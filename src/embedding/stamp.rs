use std::fs::{File, Metadata};
use std::path::Path;
use std::time::SystemTime;

use crate::{Error, Result};

/// What tells a file from what it was when it was opened: its length, and when it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    /// `None` where the file system does not say.
    modified: Option<SystemTime>,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }

    /// The bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Checks that `file`, which errors call `path`, still has this stamp.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] that says what has changed, [`Error::Io`] where the file system does not answer.
    pub fn check(&self, path: &Path, file: &File) -> Result<()> {
        let metadata = file.metadata().map_err(|error| Error::io(path, error))?;
        let now = Self::of(&metadata);
        if now == *self {
            return Ok(());
        }
        let detail = match now.length == self.length {
            true => "it was written meanwhile".to_string(),
            false => format!("it had {} bytes and now has {}", self.length, now.length),
        };
        Err(Error::format(path, format!("the file has changed since it was opened: {detail}")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn other_lengths_and_other_times_are_changes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"four").unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let stamp = Stamp::of(&metadata);
        stamp.check(file.path(), file.as_file()).unwrap();
        let later = metadata.modified().unwrap() + std::time::Duration::from_secs(2);
        file.as_file().set_modified(later).unwrap();
        let error = stamp.check(file.path(), file.as_file()).unwrap_err().to_string();
        assert!(error.contains("written meanwhile"), "{error}");
        file.as_file().set_len(3).unwrap();
        let error = stamp.check(file.path(), file.as_file()).unwrap_err().to_string();
        assert!(error.contains("it had 4 bytes and now has 3"), "{error}");
    }
}
