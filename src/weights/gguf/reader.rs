use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::dequant::{READABLE, dequantise, is_readable};
use super::metadata::Metadata;
use super::product::BlockMatrix;
use super::split::Split;
use super::tensor::TensorInfo;
use crate::embedding::positioned::read_at;
use crate::{Error, Result};

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;
/// About how many stored bytes of a tensor are in memory at once.
const CHUNK: u64 = 1 << 20;

/// An open GGUF file: its metadata, and its tensors, which are read when they are asked for. A model that is split into
/// several files is one.
#[derive(Debug)]
pub(crate) struct GgufFile {
    path: PathBuf,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    parts: Vec<Part>,
}

/// A file with tensors.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    /// Where the tensors begin.
    data: u64,
}

impl GgufFile {
    /// Opens a file of version 2 or 3 in little-endian byte order, and checks that all tensors lie within it. Where it is
    /// one of several parts, the others are opened too; the metadata is that of the first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] naming the key or tensor where it is damaged, and
    /// for a part that is missing or belongs to another model.
    pub(crate) fn open(path: impl AsRef<Path>) -> Result<Self> {
        let opened = Self::open_part(path.as_ref())?;
        match Split::of(&opened.metadata)? {
            Some(split) => Self::joined(opened, &split),
            None => Ok(opened),
        }
    }

    /// The model that `opened` is a part of.
    fn joined(opened: Self, split: &Split) -> Result<Self> {
        let mut whole = Self::open_part(&split.part(0)?)?;
        split.check(0, &whole.metadata)?;
        for number in 1..split.count {
            let part = Self::open_part(&split.part(number)?)?;
            split.check(number, &part.metadata)?;
            for tensor in part.tensors {
                let place = (tensor.name.clone(), whole.tensors.len());
                if let Some(other) = whole.by_name.insert(place.0, place.1) {
                    let other = whole.parts[whole.tensors[other].part].path.display();
                    let detail =
                        format!("tensor {:?}: expected in one part, found in {other} too", tensor.name);
                    return Err(Error::format(&part.path, detail));
                }
                whole.tensors.push(TensorInfo { part: whole.parts.len(), ..tensor });
            }
            whole.parts.extend(part.parts);
        }
        split.check_tensors(whole.tensors.len(), &whole.metadata)?;
        Ok(Self { path: opened.path, ..whole })
    }

    fn open_part(path: &Path) -> Result<Self> {
        let io = |source| Error::io(path, source);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut cursor = Cursor::new(path, &file, length);
        check_version(&mut cursor)?;
        let tensors = cursor.u64(format_args!("the number of tensors"))?;
        let keys = cursor.u64(format_args!("the number of metadata keys"))?;
        let metadata = Metadata::read(&mut cursor, path, keys)?;
        let alignment = alignment(&metadata)?;
        let count = cursor.check_count(
            tensors,
            TensorInfo::MIN_ENTRY_BYTES,
            format_args!("the number of tensors"),
        )?;
        let mut tensors = Vec::new();
        let mut by_name = HashMap::new();
        for index in 0..count {
            let tensor = TensorInfo::read(&mut cursor, index)?;
            if by_name.insert(tensor.name.clone(), index).is_some() {
                return Err(cursor.wrong(format!("tensor {:?}: expected once, found twice", tensor.name)));
            }
            tensors.push(tensor);
        }
        let data = cursor.position().next_multiple_of(alignment);
        check_places(path, &tensors, alignment, length.saturating_sub(data))?;
        let parts = vec![Part { path: path.to_path_buf(), file, data }];
        Ok(Self { path: path.to_path_buf(), metadata, tensors, by_name, parts })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys and values.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors in the order of the file.
    pub(crate) fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of a name.
    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|index| &self.tensors[*index])
    }

    /// All values of a tensor.
    ///
    /// # Errors
    ///
    /// Those of [`read_rows`](Self::read_rows).
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.known(name)?;
        self.read_rows(name, 0..tensor.len() / tensor.width())
    }

    /// Some rows of a tensor, all its dimensions but the last taken together.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the file has no such tensor or no such rows, or where its type is not one of those that
    /// are read; [`Error::Io`] where the file cannot be read.
    pub(crate) fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let tensor = self.known(name)?;
        let part = &self.parts[tensor.part];
        let wrong = |detail: String| Error::format(&part.path, format!("tensor {name:?}: {detail}"));
        let all = tensor.len() / tensor.width();
        if rows.start > rows.end || rows.end > all {
            return Err(wrong(format!("expected rows within 0..{all}, found {rows:?}")));
        }
        let block = tensor.dtype.block().filter(|_| is_readable(tensor.dtype));
        let Some((block_values, block_bytes)) = block else {
            return Err(wrong(format!("expected type {READABLE}, found {}", tensor.dtype.name())));
        };
        let row_bytes = tensor.width() as u64 / block_values * block_bytes;
        let mut offset = part.data + tensor.offset + rows.start as u64 * row_bytes;
        let mut left = rows.len() as u64 * row_bytes;
        let mut values = Vec::with_capacity(rows.len() * tensor.width());
        let mut bytes = vec![0; left.min(CHUNK / block_bytes * block_bytes) as usize];
        while left > 0 {
            let size = left.min(bytes.len() as u64);
            let bytes = &mut bytes[..size as usize];
            read_at(&part.file, bytes, offset).map_err(|source| Error::io(&part.path, source))?;
            dequantise(tensor.dtype, bytes, &mut values);
            offset += size;
            left -= size;
        }
        Ok(values)
    }

    /// Some rows of a tensor as they are stored, all its dimensions but the last taken together.
    ///
    /// # Errors
    ///
    /// Those of [`read_rows`](Self::read_rows).
    pub(crate) fn read_blocks(&self, name: &str, rows: Option<Range<usize>>) -> Result<BlockMatrix> {
        let tensor = self.known(name)?;
        let part = &self.parts[tensor.part];
        let wrong = |detail: String| Error::format(&part.path, format!("tensor {name:?}: {detail}"));
        let all = tensor.len() / tensor.width();
        let rows = rows.unwrap_or(0..all);
        if rows.start > rows.end || rows.end > all {
            return Err(wrong(format!("expected rows within 0..{all}, found {rows:?}")));
        }
        let block = tensor.dtype.block().filter(|_| is_readable(tensor.dtype));
        let Some((block_values, block_bytes)) = block else {
            return Err(wrong(format!("expected type {READABLE}, found {}", tensor.dtype.name())));
        };
        let row_bytes = (tensor.width() as u64 / block_values * block_bytes) as usize;
        let mut bytes = vec![0; rows.len() * row_bytes];
        let offset = part.data + tensor.offset + (rows.start * row_bytes) as u64;
        read_at(&part.file, &mut bytes, offset).map_err(|source| Error::io(&part.path, source))?;
        Ok(BlockMatrix { dtype: tensor.dtype, width: tensor.width(), row_bytes, bytes })
    }

    fn known(&self, name: &str) -> Result<&TensorInfo> {
        self.tensor(name).ok_or_else(|| {
            Error::format(&self.path, format!("tensor {name:?}: expected in the file, found none"))
        })
    }
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<()> {
    let magic = cursor.bytes::<4>(format_args!("the magic string"))?;
    if &magic != MAGIC {
        return Err(cursor.wrong(format!(
            "not a GGUF file: expected it to begin with \"GGUF\", found \"{}\"",
            magic.escape_ascii()
        )));
    }
    match cursor.u32(format_args!("the version"))? {
        2 | 3 => Ok(()),
        version if matches!(version.swap_bytes(), 2 | 3) => {
            Err(cursor.wrong("expected little-endian byte order, found big-endian"))
        }
        version => Err(cursor.wrong(format!("expected GGUF version 2 or 3, found {version}"))),
    }
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    const KEY: &str = "general.alignment";
    let Some(alignment) = metadata.count(KEY)? else { return Ok(DEFAULT_ALIGNMENT) };
    // Larger than any page size is no alignment; the bound also keeps sums within 64 bits.
    if !alignment.is_power_of_two() || alignment > 1 << 30 {
        return Err(
            metadata.wrong(format!("key {KEY:?}: expected a power of two up to 2^30, found {alignment}"))
        );
    }
    Ok(alignment as u64)
}

/// Checks that tensors are aligned, lie within the `available` bytes behind the header, and that none overlaps another:
/// a small file could otherwise ask for any amount of memory.
fn check_places(path: &Path, tensors: &[TensorInfo], alignment: u64, available: u64) -> Result<()> {
    for TensorInfo { name, offset, bytes, .. } in tensors {
        if !offset.is_multiple_of(alignment) {
            return Err(Error::format(
                path,
                format!("tensor {name:?}: expected an offset of a multiple of {alignment}, found {offset}"),
            ));
        }
        if offset.checked_add(*bytes).is_none_or(|end| end > available) {
            return Err(Error::format(
                path,
                format!(
                    "tensor {name:?}: expected {bytes} bytes at offset {offset}, found {available} bytes for all tensors"
                ),
            ));
        }
    }
    let mut by_place: Vec<_> = tensors.iter().collect();
    by_place.sort_by_key(|tensor| tensor.offset);
    for pair in by_place.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        if first.offset + first.bytes > second.offset {
            return Err(Error::format(
                path,
                format!(
                    "tensor {:?}: expected behind tensor {:?}, which ends at offset {}, found at {}",
                    second.name,
                    first.name,
                    first.offset + first.bytes,
                    second.offset
                ),
            ));
        }
    }
    Ok(())
}
