//! Zip archives, whose entries are checked before they are read.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use zip::read::ZipReadOptions;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::{Error, Result};

/// Deflate makes at most 1032 bytes of one.
const MAX_DEFLATION: u64 = 1032;

/// How a zip archive starts.
const ZIP: &[u8; 4] = b"PK\x03\x04";

/// Storage for one array is set aside up to here before its bytes have been seen.
const SET_ASIDE: u64 = 1 << 24;

/// An open archive.
pub(crate) struct Archive {
    path: PathBuf,
    /// The bytes in the file.
    length: u64,
    zip: ZipArchive<BufReader<File>>,
    /// The folder of all entries, with a slash at its end, or nothing.
    root: String,
    /// The bytes of the entries that were claimed, as they lie in the file.
    claimed: u64,
}

impl Archive {
    /// An archive of PyTorch: all entries are in one folder, that of `data.pkl`.
    pub(crate) fn open_torch(path: &Path) -> Result<Self> {
        let advice = "as PyTorch 1.6 and later write; load it in a newer PyTorch and save it again";
        let mut archive = Self::open(path, advice)?;
        archive.root = root(path, &archive.zip)?;
        Ok(archive)
    }

    /// An archive; `advice` tells what to do where the file is none.
    pub(crate) fn open(path: &Path, advice: &str) -> Result<Self> {
        let io = |source| Error::io(path, source);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut magic = [0; 4];
        match file.read_exact(&mut magic) {
            Ok(()) if &magic == ZIP => {}
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(io(error)),
            _ => {
                return Err(Error::format(path, format!("no zip archive, {advice}")));
            }
        }
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| wrong(path, error))?;
        if zip.has_duplicate_names() {
            return Err(Error::format(path, "a zip archive with two entries of one name"));
        }
        Ok(Self { path: path.to_path_buf(), length, zip, root: String::new(), claimed: 0 })
    }

    /// The names of all entries, in order.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let names = self.zip.file_names().map(|name| name.map(|name| name.to_string()));
        names.collect::<Result<_, _>>().map_err(|error| wrong(&self.path, error))
    }

    /// Where in the file an entry lies whose bytes are as they are; `None` where it is deflated.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the entry is damaged, or goes beyond the file.
    pub(crate) fn stored_at(&mut self, name: &str) -> Result<Option<u64>> {
        let full = self.full(name);
        let path = &self.path;
        let damaged = |error: ZipError| wrong(path, error);
        let index = self.zip.index_for_name(&full).ok_or(ZipError::FileNotFound).map_err(damaged)?;
        let entry = self.zip.by_index(index).map_err(damaged)?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        if entry.compression() != CompressionMethod::Stored {
            return Ok(None);
        }
        let begin =
            entry.data_start().filter(|begin| size == packed && begin.saturating_add(size) <= self.length);
        let Some(begin) = begin else {
            return Err(Error::format(path, format!("{full}: {size} bytes that lie outside the file")));
        };
        Ok(Some(begin))
    }

    /// Writes an entry of `size` bytes to `out`, unpacked; its checksum is checked.
    ///
    /// # Errors
    ///
    /// Those of [`Archive::read`]; those of `out` are of the file `path`.
    pub(crate) fn unpack(&mut self, name: &str, size: u64, out: &mut impl io::Write) -> Result<()> {
        let full = self.full(name);
        let mut entry = self.entry(&full)?;
        let copied = io::copy(&mut entry, out);
        drop(entry);
        match copied {
            Ok(found) if found == size => Ok(()),
            Ok(found) => Err(self.wrong(&full, format!("declares {size} bytes, found {found}"))),
            Err(error) => Err(damaged_io(&self.path, &full, error)),
        }
    }

    /// The number of bytes in an entry; `None` where there is no such entry. To be asked once an entry.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the entry, or all that were claimed together, hold more than the file can.
    pub(crate) fn claim(&mut self, name: &str) -> Result<Option<u64>> {
        let full = self.full(name);
        let Some(index) = self.zip.index_for_name(&full) else { return Ok(None) };
        let entry = self.zip.by_index_data(index).map_err(|error| wrong(&self.path, error))?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        let most = match entry.compression() {
            CompressionMethod::Stored => packed,
            CompressionMethod::Deflated => packed.saturating_mul(MAX_DEFLATION),
            method => return Err(self.wrong(&full, format!("expected stored or deflated, found {method}"))),
        };
        if size > most {
            return Err(self.wrong(&full, format!("declares {size} bytes, and {packed} hold at most {most}")));
        }
        // Entries that lie upon each other would make much out of little.
        self.claimed = self.claimed.saturating_add(packed);
        if self.claimed > self.length {
            let detail = format!("with it, entries have {} bytes in a file of {}", self.claimed, self.length);
            return Err(self.wrong(&full, detail));
        }
        Ok(Some(size))
    }

    /// The `count` bytes at `offset` of an entry of `size` bytes. All of it goes through a small buffer, so that its
    /// checksum is checked as well.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the entry is damaged, [`Error::Io`] where it cannot be read.
    pub(crate) fn read(&mut self, name: &str, size: u64, offset: u64, count: u64) -> Result<Vec<u8>> {
        let full = self.full(name);
        let mut entry = self.entry(&full)?;
        let bytes = take(&mut entry, size, offset, count);
        drop(entry);
        bytes.map_err(|error| damaged_io(&self.path, &full, error))
    }

    /// The first bytes of an entry, at most `count`; its checksum is not checked.
    ///
    /// # Errors
    ///
    /// Those of [`Archive::read`].
    pub(crate) fn start(&mut self, name: &str, count: u64) -> Result<Vec<u8>> {
        let (full, path) = (self.full(name), self.path.clone());
        let mut bytes = Vec::new();
        let read = self.entry(&full)?.by_ref().take(count).read_to_end(&mut bytes);
        read.map_err(|error| damaged_io(&path, &full, error))?;
        Ok(bytes)
    }

    /// An entry in a file of its own, which has no name and is gone when it is closed, or in this file where it lies as
    /// it is: that file, and where the entry begins there.
    ///
    /// # Errors
    ///
    /// Those of [`Archive::read`], and [`Error::Io`] where nothing can be written in the system's folder for such files.
    pub(crate) fn place(&mut self, name: &str, size: u64) -> Result<(Option<File>, u64)> {
        if let Some(begin) = self.stored_at(name)? {
            return Ok((None, begin));
        }
        let file = tempfile::tempfile().map_err(|error| Error::io(std::env::temp_dir(), error))?;
        let mut out = io::BufWriter::with_capacity(1 << 18, file);
        self.unpack(name, size, &mut out)?;
        let file = out.into_inner().map_err(|error| Error::io(std::env::temp_dir(), error.into_error()))?;
        Ok((Some(file), 0))
    }

    /// An entry to read from, without its checksum where there is none.
    fn entry(&mut self, full: &str) -> Result<zip::read::ZipFile<'_, BufReader<File>>> {
        let path = &self.path;
        let damaged = |error: ZipError| match error {
            ZipError::Io(error) => damaged_io(path, full, error),
            other => Error::format(path, format!("{full}: {other}")),
        };
        let by_index = |zip: &ZipArchive<_>| zip.index_for_name(full).ok_or(ZipError::FileNotFound);
        let index = by_index(&self.zip).map_err(damaged)?;
        // `torch.serialization.set_crc32_options(False)` writes 0 for every checksum.
        let unchecked = self.zip.by_index_data(index).map_err(damaged)?.crc32() == 0;
        let options = ZipReadOptions::new().ignore_crc32(unchecked);
        self.zip.by_index_with_options(index, options).map_err(damaged)
    }

    /// A small entry as a whole; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Those of [`Archive::read`], and [`Error::Format`] where the entry has more than `limit` bytes.
    pub(crate) fn small(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(size) = self.claim(name)? else { return Ok(None) };
        if size > limit {
            return Err(self.wrong(&self.full(name), format!("expected at most {limit} bytes, found {size}")));
        }
        self.read(name, size, 0, size).map(Some)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.root)
    }

    fn wrong(&self, entry: &str, detail: impl AsRef<str>) -> Error {
        Error::format(&self.path, format!("{entry}: {}", detail.as_ref()))
    }
}

/// `count` bytes at `offset` of a stream that has `size` bytes; reads it to its end.
fn take(entry: &mut impl Read, size: u64, offset: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count.min(SET_ASIDE) as usize);
    let before = io::copy(&mut entry.by_ref().take(offset), &mut io::sink())?;
    entry.by_ref().take(count).read_to_end(&mut bytes)?;
    let behind = io::copy(entry, &mut io::sink())?;
    match before + bytes.len() as u64 + behind {
        found if found == size && bytes.len() as u64 == count => Ok(bytes),
        found => {
            let detail = format!("declares {size} bytes, found {found}");
            Err(io::Error::new(ErrorKind::InvalidData, detail))
        }
    }
}

/// The folder that holds `data.pkl`: it is named after the file that was saved.
fn root(path: &Path, zip: &ZipArchive<BufReader<File>>) -> Result<String> {
    let mut roots = Vec::new();
    for name in zip.file_names() {
        let name = name.map_err(|error| wrong(path, error))?;
        if let Some(root) = name.strip_suffix("data.pkl")
            && root.strip_suffix('/').is_some_and(|folder| !folder.contains('/'))
        {
            roots.push(root.to_string());
        }
    }
    match roots.len() {
        1 => Ok(roots.remove(0)),
        _ => Err(Error::format(path, format!("expected one entry NAME/data.pkl, found {}", roots.len()))),
    }
}

fn wrong(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => damaged_io(path, "zip archive", error),
        other => Error::format(path, format!("zip archive: {other}")),
    }
}

/// What ends early or does not fit its checksum is the file's fault, the rest that of the operating system.
fn damaged_io(path: &Path, entry: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
            Error::format(path, format!("{entry}: {error}"))
        }
        _ => Error::io(path, error),
    }
}
