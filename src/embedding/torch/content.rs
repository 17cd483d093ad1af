use std::path::Path;

use super::builder::{self, Content};
use crate::embedding::archive::Archive;
use crate::{Error, Result};

/// Reads what the pickle of an archive says, where it has at most `limit` bytes.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it is damaged or asks for anything but tensors
/// and lists in plain dicts.
pub(crate) fn read_pickle(path: &Path, archive: &mut Archive, limit: u64) -> Result<Content> {
    let Some(pickle) = archive.small("data.pkl", limit)? else {
        return Err(Error::format(path, "expected an entry data.pkl, found none"));
    };
    builder::read(&pickle).map_err(|detail| Error::format(path, format!("data.pkl: {detail}")))
}

/// Whether the values of an archive are big-endian.
pub(crate) fn is_big_endian(path: &Path, archive: &mut Archive) -> Result<bool> {
    match archive.small("byteorder", 16)?.as_deref() {
        // Older versions wrote no such entry, on machines that were little-endian.
        None | Some(b"little") => Ok(false),
        Some(b"big") => Ok(true),
        Some(other) => {
            let detail = format!("byteorder: expected little or big, found \"{}\"", other.escape_ascii());
            Err(Error::format(path, detail))
        }
    }
}
