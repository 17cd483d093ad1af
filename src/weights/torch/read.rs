//! From the tensors of an archive to arrays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::legacy::{self, LegacyStorages};
use crate::embedding::FloatType;
use crate::embedding::archive::Archive;
use crate::embedding::torch::{Element, Entry, Item, Storage, View, is_big_endian, read_pickle};
use crate::weights::array::{NamedArray, decode};
use crate::{Error, Result};

/// The pickle of a model with ten thousand tensors has 2 MB.
const MAX_PICKLE: u64 = 1 << 24;

/// Tensors may share a storage, but not so that a small file fills the memory.
const MAX_SHARING: u32 = 16;

/// Reads the arrays of an archive that `select` chooses: the places of their names among all of them. The values of the
/// others are not read.
///
/// Float types are f16, bf16, f32 and f64; views of shared storage, with any strides, are read as the tensors that they
/// are.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, holds an array of another type,
/// or asks for anything but tensors in plain dicts; errors of `select`.
pub(crate) fn read(
    path: &Path,
    select: impl FnOnce(&[&str]) -> Result<Vec<usize>>,
) -> Result<Vec<NamedArray>> {
    let (entries, mut reader) = open(path)?;
    let names: Vec<&str> = entries.iter().map(|entry| &*entry.key).collect();
    let selected = select(&names)?;
    selected.into_iter().map(|index| reader.array(&entries[index])).collect()
}

/// The entries of an archive, and what reads their values.
pub(super) fn open(path: &Path) -> Result<(Vec<Entry>, Reader)> {
    if legacy::is_legacy(path)? {
        let (entries, storages) = legacy::open(path)?;
        let reader = Reader {
            path: path.to_path_buf(),
            values: Values::Legacy(storages),
            swapped: false,
            storages: HashMap::new(),
        };
        return Ok((entries, reader));
    }
    let mut archive = Archive::open_torch(path)?;
    let content = read_pickle(path, &mut archive, MAX_PICKLE)?;
    let entries = content.entries().map_err(|detail| Error::format(path, format!("data.pkl: {detail}")))?;
    let swapped = is_big_endian(path, &mut archive)?;
    let values = Values::Archive(archive);
    Ok((entries, Reader { path: path.to_path_buf(), values, swapped, storages: HashMap::new() }))
}

/// Where values lie.
enum Values {
    Archive(Archive),
    Legacy(LegacyStorages),
}

/// A storage that was asked for.
#[derive(Clone, Copy)]
struct Used {
    bytes: u64,
    times: u32,
}

pub(super) struct Reader {
    path: PathBuf,
    values: Values,
    swapped: bool,
    storages: HashMap<Box<str>, Used>,
}

impl Reader {
    /// The array of an entry.
    pub(super) fn array(&mut self, entry: &Entry) -> Result<NamedArray> {
        let path = self.path.clone();
        let wrong = |detail: String| Error::format(&path, format!("{:?}: {detail}", entry.key));
        let tensor = match &entry.value {
            Item::Tensor(tensor) => tensor,
            Item::Texts(_) => return Err(wrong("expected a tensor, found a list".to_string())),
            Item::Other(what) => return Err(wrong(format!("expected a tensor, found {what}"))),
        };
        let float = match tensor.storage.element {
            Element::Float(float) => float,
            Element::Int8 | Element::UInt8 | Element::Other(_) => {
                let name = tensor.storage.element.name();
                return Err(wrong(format!(
                    "expected type float16, bfloat16, float32 or float64, found {name}"
                )));
            }
        };
        let view = View::of(tensor).map_err(wrong)?;
        let bytes = self.claim(&tensor.storage)?.map_err(wrong)?;
        let needed = i128::from(tensor.storage.count) * float.size() as i128;
        if needed != i128::from(bytes) {
            let Storage { key, count, .. } = &*tensor.storage;
            return Err(wrong(format!(
                "expected {needed} bytes in storage {key}, for {count} values of {float}, found {bytes}"
            )));
        }
        let values = self.values(entry, &tensor.storage, &view, float, bytes)?;
        Ok(NamedArray { name: entry.key.to_string(), shape: view.shape, values })
    }

    /// The bytes of a storage, which is used once more.
    fn claim(&mut self, storage: &Storage) -> Result<Result<u64, String>> {
        let key = &storage.key;
        let used = match self.storages.get(&**key) {
            Some(used) => *used,
            None => {
                let found = match &mut self.values {
                    Values::Archive(archive) => archive.claim(&format!("data/{key}"))?,
                    Values::Legacy(storages) => storages.bytes(key),
                };
                match found {
                    Some(bytes) => Used { bytes, times: 0 },
                    None => {
                        return Ok(Err(format!("expected an entry data/{key} in the archive, found none")));
                    }
                }
            }
        };
        if used.times == MAX_SHARING {
            return Ok(Err(format!("expected at most {MAX_SHARING} tensors on storage {key}, found more")));
        }
        self.storages.insert((**key).into(), Used { times: used.times + 1, ..used });
        Ok(Ok(used.bytes))
    }

    fn values(
        &mut self,
        entry: &Entry,
        storage: &Storage,
        view: &View,
        float: FloatType,
        size: u64,
    ) -> Result<Vec<f32>> {
        let width = float.size() as u64;
        let (offset, count) = (view.offset * width, view.reach * width);
        let mut bytes = match &mut self.values {
            Values::Archive(archive) => {
                archive.read(&format!("data/{}", storage.key), size, offset, count)?
            }
            Values::Legacy(storages) => storages.read(&self.path, &storage.key, offset, count)?,
        };
        if self.swapped {
            bytes.chunks_exact_mut(float.size()).for_each(<[u8]>::reverse);
        }
        Ok(view.gather(decode(&self.path, &entry.key, &bytes, float)?))
    }
}
