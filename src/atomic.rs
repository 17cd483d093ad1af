//! Atomic writes: files are complete or absent.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Writes a file atomically: `write` fills a temporary file in the folder of `path`, which is then flushed to the disk and
/// renamed to `path`.
///
/// Missing folders are created. If any step fails, an earlier file at `path` is unchanged, and nothing but such folders
/// remains.
///
/// # Errors
///
/// [`Error::Io`] if `write` fails, or the folder cannot be created or written to.
///
/// # Example
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("results/table.csv");
/// burn_revision::atomic::write(&path, |file| std::io::Write::write_all(file, b"method,gap\n"))?;
/// assert!(path.exists());
/// # Ok::<(), burn_revision::Error>(())
/// ```
pub fn write(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<()> {
    let io = |source| Error::io(path, source);
    let mut file = temporary(path).map_err(io)?;
    let mut buffer = BufWriter::new(file.as_file_mut());
    write(&mut buffer).and_then(|()| buffer.flush()).map_err(io)?;
    drop(buffer);
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map(drop).map_err(|error| io(error.error))
}

fn temporary(path: &Path) -> std::io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&folder)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As for any new file: the umask of the process removes the permissions that it should not have.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.prefix(".partial-").tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_failure_keeps_the_old_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let half = write(&path, |file| file.write_all(b"half").and_then(|()| Err(full())));
        assert!(half.unwrap_err().to_string().contains("data"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn folders_are_made_unless_a_file_is_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/data");
        write(&path, |file| file.write_all(b"data")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"data");
        let error = write(&path.join("below/data"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
