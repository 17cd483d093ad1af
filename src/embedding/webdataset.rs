//! WebDataset's tar files: the members of a sample follow each other, and are called alike up to the first dot.
//!
//! ```text
//! 000017.npy       a vector, [d] or [1, d]; also `000017.NAME.npy`
//! 000017.json      an object with other fields
//! 000017.txt       a caption
//! ```
//!
//! Members are stored as they are, so that a row is read from its place. In memory are 16 bytes a row; ids are read again.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tar::{Archive, Entry};

use super::matrix::Element;
use super::records::{Record, Records, Tally};
use super::{FloatType, StoreOptions, npy};
use crate::json::Mended;
use crate::{Error, Result};

/// The size of a block, and of what marks the end.
const BLOCK: u64 = 512;
/// The longest name of a member.
const MAX_NAME: usize = 4096;

/// One tar file of samples, of which the headers have been read.
#[derive(Debug)]
pub(super) struct TarShard {
    path: PathBuf,
    float: FloatType,
    dim: usize,
    /// The ending that embeddings have.
    pub ending: String,
    /// Where the values of each row begin.
    offsets: Vec<u64>,
    /// Where the first member of each row's sample begins.
    samples: Vec<u64>,
    /// Samples without an embedding, which are no rows.
    pub without: usize,
    /// What was mended in the JSON of samples.
    pub tally: Tally,
}

/// A sample while its members are read.
struct Sample {
    key: String,
    begin: u64,
    /// Endings of embeddings found so far, and where the values lie.
    found: Vec<(String, u64)>,
}

impl TarShard {
    /// Reads the headers of all members. The embedding of a sample ends in `.npy`; the options name the ending where there
    /// are several.
    pub fn open(path: &Path, options: &StoreOptions) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut archive = Archive::new(Within { file: &mut file, begin: 0 });
        let mut index = Index {
            path,
            options,
            shape: None,
            ending: None,
            offsets: Vec::new(),
            samples: Vec::new(),
            without: 0,
        };
        let (mut sample, mut end): (Option<Sample>, u64) = (None, 0);
        for entry in archive.entries_with_seek().map_err(|error| damaged(path, error))? {
            let mut entry = entry.map_err(|error| damaged(path, error))?;
            let begin = std::mem::replace(&mut end, after(&entry));
            if end > length {
                let detail =
                    format!("the file ends within the member {:?}", name(&entry).unwrap_or_default());
                return Err(Error::format(path, detail));
            }
            let Some(name) = name(&entry).filter(|_| entry.header().entry_type().is_file()) else { continue };
            let Some((key, ending)) = split(&name) else { continue };
            if sample.as_ref().is_none_or(|sample| sample.key != key) {
                index.take(sample.replace(Sample { key: key.to_string(), begin, found: Vec::new() }))?;
            }
            if is_wanted(ending, options)
                && let Some(sample) = &mut sample
            {
                let place = index.vector(&mut entry, &name)?;
                sample.found.push((ending.to_string(), place));
            }
        }
        index.take(sample)?;
        check_end(path, &mut file, end)?;
        let (float, dim) = index.shape.unwrap_or((FloatType::F32, 0));
        if index.offsets.is_empty() && index.without > 0 {
            let detail = format!("{} samples, and none has a member {}", index.without, wanted(options));
            return Err(Error::format(path, detail));
        }
        Ok(Self {
            path: path.to_path_buf(),
            float,
            dim,
            ending: index.ending.unwrap_or_default(),
            offsets: index.offsets,
            samples: index.samples,
            without: index.without,
            tally: Tally::default(),
        })
    }

    pub fn float(&self) -> FloatType {
        self.float
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// The other members of every sample, or its key alone, as records; `id` is the key.
    pub fn records(&self, only_ids: bool) -> Result<Records<'_>> {
        let file = File::open(&self.path).map_err(|error| Error::io(&self.path, error))?;
        let mut file = BufReader::with_capacity(1 << 13, file);
        let (mut failed, mut mended) = (false, Mended::default());
        Ok(Box::new(self.samples.iter().map_while(move |&begin| {
            if failed {
                return None;
            }
            let record = self.record(&mut file, begin, only_ids, &mut mended);
            failed = record.is_err();
            self.tally.found(mended);
            Some(record)
        })))
    }

    fn record(
        &self,
        file: &mut BufReader<File>,
        begin: u64,
        only_id: bool,
        mended: &mut Mended,
    ) -> Result<Record> {
        let path = self.path.as_path();
        file.seek(SeekFrom::Start(begin)).map_err(|error| damaged(path, error))?;
        let mut archive = Archive::new(Within { file, begin });
        let mut record = Record::new();
        let mut caption = None;
        let mut key: Option<String> = None;
        for entry in archive.entries_with_seek().map_err(|error| damaged(path, error))? {
            let mut entry = entry.map_err(|error| damaged(path, error))?;
            let Some(name) = name(&entry).filter(|_| entry.header().entry_type().is_file()) else { continue };
            let Some((found, ending)) = split(&name) else { continue };
            match &key {
                None => key = Some(found.to_string()),
                Some(key) if key != found => break,
                Some(_) => {}
            }
            if only_id {
                break;
            }
            let wrong = |detail: String| Error::format(path, format!("{name:?}: {detail}"));
            if matches!(ending, "json" | "txt") {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(|error| damaged(path, error))?;
                if ending == "json" {
                    let fields: Record = crate::json::parse(&bytes, mended)
                        .map_err(|error| wrong(format!("expected an object: {error}")))?;
                    record.extend(fields);
                } else {
                    let text =
                        String::from_utf8(bytes).map_err(|error| wrong(format!("no UTF-8: {error}")))?;
                    caption = Some(text);
                }
            }
        }
        let key = key
            .ok_or_else(|| Error::format(path, format!("no member at byte {begin}: the file has changed")))?;
        if let Some(caption) = caption {
            record.entry("caption").or_insert_with(|| caption.into());
        }
        record.insert("id".to_string(), key.into());
        Ok(record)
    }
}

/// What has been found of a file so far.
struct Index<'a> {
    path: &'a Path,
    options: &'a StoreOptions,
    shape: Option<(FloatType, usize)>,
    ending: Option<String>,
    offsets: Vec<u64>,
    samples: Vec<u64>,
    without: usize,
}

impl Index<'_> {
    /// Takes a sample whose members have all been read.
    fn take(&mut self, sample: Option<Sample>) -> Result<()> {
        let Some(Sample { key, begin, found }) = sample else { return Ok(()) };
        match found.as_slice() {
            [] => self.without += 1,
            [(ending, place)] => {
                self.ending.get_or_insert_with(|| ending.clone());
                self.offsets.push(*place);
                self.samples.push(begin);
            }
            several => {
                let endings: Vec<&str> = several.iter().map(|(ending, _)| ending.as_str()).collect();
                let detail = format!("sample {key:?} has several embeddings, name one ending: {endings:?}");
                return Err(Error::format(self.path, detail));
            }
        }
        Ok(())
    }

    /// Where the values of a vector begin, which is like those before.
    fn vector(&mut self, entry: &mut Entry<'_, impl Read>, name: &str) -> Result<u64> {
        let wrong = |detail: String| Error::format(self.path, format!("{name:?}: {detail}"));
        let (size, begin) = (entry.size(), entry.raw_file_position());
        let array = npy::read_array(self.path, entry, size);
        let array = array.map_err(|error| match error {
            Error::Format { detail, .. } => wrong(detail),
            error => error,
        })?;
        let element = npy::element(&array.descr, self.options).map_err(wrong)?;
        let Element::Float(float) = element else {
            return Err(wrong("expected a float type, found whole numbers".to_string()));
        };
        let dim = match *array.shape.as_slice() {
            [dim] | [1, dim] if dim > 0 => dim,
            _ => return Err(wrong(format!("expected a vector, found shape {:?}", array.shape))),
        };
        let needed = dim.checked_mul(float.size() as u64);
        if needed != Some(size - array.offset) {
            let found = size - array.offset;
            return Err(wrong(format!("{dim} values of {float} do not take {found} bytes")));
        }
        let shape = (float, dim as usize);
        let expected = *self.shape.get_or_insert(shape);
        if shape != expected {
            let ((float, dim), (other, expected)) = (shape, expected);
            return Err(wrong(format!(
                "{dim} values of {float}, where those before have {expected} of {other}"
            )));
        }
        Ok(begin + array.offset)
    }
}

/// A file whose bytes before one do not count, for an archive that begins there.
struct Within<'a> {
    file: &'a mut BufReader<File>,
    begin: u64,
}

impl Read for Within<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for Within<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.begin.saturating_add(at)),
            other => other,
        };
        // Within the buffer, where it can be.
        let now = self.file.stream_position()?;
        let place = match to {
            SeekFrom::Current(by) => now.checked_add_signed(by),
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(_) => None,
        };
        match place.and_then(|place| place.checked_signed_diff(now)) {
            Some(by) => self.file.seek_relative(by)?,
            None => drop(self.file.seek(to)?),
        }
        Ok(self.file.stream_position()?.saturating_sub(self.begin))
    }
}

/// The key of a member and its ending, as WebDataset cuts names: at the first dot behind the last slash.
fn split(name: &str) -> Option<(&str, &str)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    (dot > base).then(|| (&name[..dot], &name[dot + 1..]))
}

fn is_wanted(ending: &str, options: &StoreOptions) -> bool {
    match options.key.as_deref() {
        Some(key) => ending == key || ending.strip_suffix(".npy") == Some(key),
        None => ending == "npy" || ending.ends_with(".npy"),
    }
}

fn wanted(options: &StoreOptions) -> String {
    options.key.as_ref().map_or("KEY.npy".to_string(), |key| format!("KEY.{key}"))
}

/// The name of a member, where it is text of a usual length.
fn name(entry: &Entry<'_, impl Read>) -> Option<String> {
    let bytes = entry.path_bytes();
    (bytes.len() <= MAX_NAME).then(|| String::from_utf8(bytes.into_owned()).ok()).flatten()
}

/// The byte after a member and what fills its last block.
fn after(entry: &Entry<'_, impl Read>) -> u64 {
    let end = entry.raw_file_position().saturating_add(entry.size());
    end.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// A file that is cut off between two members would look like a shorter one: blocks of zeros mark the end.
fn check_end(path: &Path, file: &mut BufReader<File>, end: u64) -> Result<()> {
    let mut block = [1; BLOCK as usize];
    let read = file.seek(SeekFrom::Start(end)).and_then(|_| file.read_exact(&mut block));
    match read {
        Ok(()) if block == [0; BLOCK as usize] => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(Error::io(path, error)),
        _ => Err(Error::format(path, "the file ends without the mark of its end: it was cut off")),
    }
}

/// What the library finds wrong is the file's fault, unless the operating system says so.
fn damaged(path: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        None => Error::format(path, format!("tar file: {error}")),
        Some(_) => Error::io(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_as_webdataset_does() {
        assert_eq!(split("a/b.c/000.img.npy"), Some(("a/b.c/000", "img.npy")));
        assert_eq!(split("000.npy"), Some(("000", "npy")));
        assert_eq!(split("./000.json"), Some(("./000", "json")));
        for name in ["readme", ".hidden", "a/.b", ""] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
