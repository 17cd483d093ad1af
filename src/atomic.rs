//! Files that are complete or not there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Lets `write` fill a temporary file beside `path`, flushes it to the disk and renames it to `path`. Nothing is
/// left behind where any of that fails.
pub(crate) fn replace<T, E>(
    path: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<T, E>,
    io: impl Fn(std::io::Error) -> E,
) -> std::result::Result<T, E> {
    let mut name = OsString::from(path.as_os_str());
    name.push(".part");
    let temporary = Path::new(&name);
    let written = write(temporary).and_then(|value| {
        File::open(temporary).and_then(|file| file.sync_all()).map_err(&io)?;
        fs::rename(temporary, path).map_err(&io)?;
        Ok(value)
    });
    if written.is_err() {
        fs::remove_file(temporary).ok();
    }
    written
}

/// Writes `bytes` to `path`, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |source| Error::io(path, source);
    replace(
        path,
        |temporary| File::create(temporary).and_then(|mut file| file.write_all(bytes)).map_err(io),
        io,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_old_file_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        write(&path, b"old").unwrap();
        let failed: Result<()> = replace(
            &path,
            |temporary| {
                fs::write(temporary, b"half").unwrap();
                Err(Error::format(temporary, "the disk is full"))
            },
            |source| Error::io("data", source),
        );
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
