//! What `torch.save` wrote before PyTorch 1.6, and writes still with `_use_new_zipfile_serialization=False`.
//!
//! ```text
//! pickle    a magic number
//! pickle    the version of the protocol, 1001
//! pickle    a dict: byte order, and sizes of C types
//! pickle    the dict of name -> tensor
//! pickle    a list of the keys of all storages
//! bytes     for each of them, in this order: the number of its values in 64 bits, and the values
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::embedding::positioned::read_at;
use crate::embedding::torch::{Content, Element, Entry, Item, builder};
use crate::{Error, Result};

/// The magic number and the version, as the pickles that they are.
const HEAD: [u8; 21] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
    0x2e, // the magic number
    0x80, 0x02, 0x4d, 0xe9, 0x03, 0x2e, // 1001
];

/// The pickle of a model with ten thousand tensors has 2 MB.
const MAX_PICKLES: u64 = 1 << 24;

/// The storages of such a file: where their values lie.
pub(super) struct LegacyStorages {
    file: File,
    /// The first byte and the number of bytes.
    places: HashMap<Box<str>, (u64, u64)>,
}

impl LegacyStorages {
    /// The bytes of a storage, if there is one of this key.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.places.get(key).map(|(_, bytes)| *bytes)
    }

    /// Some bytes of a storage; they lie within.
    pub fn read(&self, path: &Path, key: &str, offset: u64, count: u64) -> Result<Vec<u8>> {
        let (begin, _) = self.places[key];
        let mut bytes = vec![0; count as usize];
        read_at(&self.file, &mut bytes, begin + offset).map_err(|source| Error::io(path, source))?;
        Ok(bytes)
    }
}

/// Whether a file begins as one of these.
///
/// # Errors
///
/// [`Error::Io`] where it cannot be read.
pub(super) fn is_legacy(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    file.take(HEAD.len() as u64).read_to_end(&mut start).map_err(|source| Error::io(path, source))?;
    Ok(start == HEAD)
}

/// The entries of a file, and its storages.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, big-endian, or asks for anything but
/// tensors in plain dicts.
pub(super) fn open(path: &Path) -> Result<(Vec<Entry>, LegacyStorages)> {
    let io = |source| Error::io(path, source);
    let wrong = |detail: String| Error::format(path, detail);
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut head = vec![0; length.min(MAX_PICKLES) as usize];
    read_at(&file, &mut head, 0).map_err(io)?;

    let mut at = HEAD.len();
    let mut next = |what: &str| {
        let (content, used) = builder::read_first(&head[at..])
            .map_err(|detail| wrong(format!("the pickle of {what} at byte {at}: {detail}")))?;
        at += used as usize;
        Ok::<_, Error>((content, at))
    };
    let (_, end) = next("the byte order")?;
    if !is_little_endian(&head[HEAD.len()..end]) {
        return Err(wrong("expected a file of a little-endian machine, found another".to_string()));
    }
    let (tensors, _) = next("the tensors")?;
    let entries = tensors.entries().map_err(wrong)?;
    let (keys, begin) = next("the list of storages")?;
    let Content::Texts(keys) = keys else {
        return Err(wrong("expected a list of the keys of storages, found something else".to_string()));
    };

    let elements: HashMap<&str, Element> = entries
        .iter()
        .filter_map(|entry| match &entry.value {
            Item::Tensor(tensor) => Some((&*tensor.storage.key, tensor.storage.element)),
            _ => None,
        })
        .collect();
    let (mut places, mut at) = (HashMap::new(), begin as u64);
    for key in keys {
        let size = match elements.get(&*key).map(|element| (element, element.size())) {
            Some((_, Some(size))) => size,
            Some((element, None)) => {
                return Err(wrong(format!("storage {key}: values of type {} are not read", element.name())));
            }
            None => return Err(wrong(format!("storage {key}: expected a tensor on it, found none"))),
        };
        let mut count = [0; 8];
        let cut_off = || wrong(format!("storage {key} at byte {at}: the file ends at byte {length}"));
        if at + 8 > length {
            return Err(cut_off());
        }
        read_at(&file, &mut count, at).map_err(io)?;
        let bytes = u64::from_le_bytes(count).checked_mul(size);
        let end = bytes.and_then(|bytes| bytes.checked_add(at + 8)).filter(|end| *end <= length);
        let (Some(bytes), Some(end)) = (bytes, end) else { return Err(cut_off()) };
        if places.insert(Box::from(&*key), (at + 8, bytes)).is_some() {
            return Err(wrong(format!("storage {key}: expected once, found twice")));
        }
        at = end;
    }
    match length - at {
        0 => Ok((entries, LegacyStorages { file, places })),
        left => Err(wrong(format!("expected the end of the file at byte {at}, found {left} bytes more"))),
    }
}

/// Whether the pickled dict says `little_endian: True`; the text may be put into the memo, by an index of one byte.
fn is_little_endian(pickle: &[u8]) -> bool {
    let name = b"little_endian";
    let Some(at) = pickle.windows(name.len()).position(|bytes| bytes == name) else { return false };
    matches!(pickle[at + name.len()..], [0x88, ..] | [b'q', _, 0x88, ..])
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::weights::torch::TorchFile;

    /// `torch.save({"a.weight": arange(6).view(2, 3), "b": (arange(4) + 0.5).half(), "n": tensor(7)}, ...,
    /// _use_new_zipfile_serialization=False)`, see `tests/reference/make_tower_fixtures.py`.
    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder/legacy.pth")
    }

    #[test]
    fn files_from_before_the_archives_are_read() {
        let file = TorchFile::open(&fixture()).unwrap();
        assert_eq!(file.names(), ["a.weight", "b", "n"]);
        assert_eq!(file.shape("a.weight").unwrap(), [2, 3]);
        assert_eq!(file.read("a.weight").unwrap().values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(file.read("b").unwrap().values, [0.5, 1.5, 2.5, 3.5]);
        let error = file.read("n").unwrap_err().to_string();
        assert!(error.contains("\"n\"") && error.contains("int64"), "{error}");
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_an_error_that_names_it() {
        let bytes = std::fs::read(fixture()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.pth");
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let error = TorchFile::open(&path).err().expect("a part is not a file").to_string();
            assert!(error.contains("cut.pth"), "{error}");
        }
        std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
        let error = TorchFile::open(&path).err().unwrap().to_string();
        assert!(error.contains("found 4 bytes more"), "{error}");
    }

    #[test]
    fn a_byte_that_is_changed_never_panics() {
        let bytes = std::fs::read(fixture()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.pth");
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                std::fs::write(&path, changed).unwrap();
                if let Ok(file) = TorchFile::open(&path) {
                    file.names().iter().for_each(|name| drop(file.read(name)));
                }
            }
        }
    }
}
