//! NumPy's `.npz`: a zip archive of `.npy` files, stored (`numpy.savez`) or deflated (`numpy.savez_compressed`).

use std::io::Cursor;
use std::path::Path;

use super::archive::Archive;
use super::matrix::{Matrix, Packed};
use super::npy::{self, Array};
use super::{EMBEDDINGS_KEY, StoreOptions};
use crate::{Error, Result};

/// The longest header of one array, magic string and all.
const MAX_HEADER: u64 = (1 << 16) + 12;
/// The members that hold ids, where none is named.
pub(super) const ID_NAMES: [&str; 4] = ["id", "ids", "key", "keys"];
/// Values of a member of ids that are read.
const MAX_IDS: u64 = 1 << 30;

/// A member of an archive: one array.
struct Member {
    /// Without `.npy`.
    name: String,
    entry: String,
    /// The bytes of the file that it is.
    size: u64,
    array: Array,
}

/// Reads which matrix of the archive at `path` holds the embeddings, and the ids beside it: the member that is named,
/// or `embeddings`, or the only matrix.
pub(super) fn open(path: &Path, options: &StoreOptions) -> Result<Packed> {
    let wrong = |detail: String| Error::format(path, detail);
    let mut archive = Archive::open(path, "as numpy.savez writes it")?;
    let mut members = Vec::new();
    for entry in archive.names()? {
        let Some(name) = entry.strip_suffix(".npy").map(str::to_string) else { continue };
        let Some(size) = archive.claim(&entry)? else { continue };
        let start = archive.start(&entry, MAX_HEADER)?;
        let array = npy::read_array(path, &mut Cursor::new(start), size);
        let array = array.map_err(|error| in_member(&name, error))?;
        members.push(Member { name, entry, size, array });
    }
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let fits = |member: &&Member| {
        member.array.shape.len() == 2 && npy::element(&member.array.descr, options).is_ok()
    };
    let found = match &options.key {
        Some(key) => members.iter().find(|member| member.name == *key),
        None => {
            let matrices: Vec<&Member> = members.iter().filter(fits).collect();
            let usual = || {
                members.iter().find(|member| [EMBEDDINGS_KEY, "embedding"].contains(&member.name.as_str()))
            };
            match matrices.as_slice() {
                [only] => Some(*only),
                [] if members.len() == 1 => members.first(),
                _ => usual(),
            }
        }
    };
    let Some(member) = found else {
        return Err(wrong(match &options.key {
            Some(key) => format!("no array {key:?}; found {names:?}"),
            None => format!("expected a matrix {EMBEDDINGS_KEY:?} or only one, found {names:?}; name one"),
        }));
    };
    let in_file = member.array.matrix(path, member.size, options);
    let in_file = in_file.map_err(|error| in_member(&member.name, error))?;
    let (unpacked, begin) = archive.place(&member.entry, member.size)?;
    let matrix = Matrix { offset: begin + in_file.offset, ..in_file };
    let ids = read_ids(path, &mut archive, &members, matrix.rows, options)?;
    Ok(Packed { matrix, unpacked, ids })
}

fn in_member(name: &str, error: Error) -> Error {
    match error {
        Error::Format { path, detail } => Error::Format { path, detail: format!("{name:?}: {detail}") },
        error => error,
    }
}

/// The ids of a member, of text or whole numbers; none is needed unless it is named.
fn read_ids(
    path: &Path,
    archive: &mut Archive,
    members: &[Member],
    rows: usize,
    options: &StoreOptions,
) -> Result<Option<Vec<Box<str>>>> {
    let named = |name: &str| members.iter().find(|member| member.name == name);
    let member = match &options.id_column {
        // A matrix alone leaves no choice; its ids may stand beside the file.
        Some(_) if members.len() == 1 => return Ok(None),
        Some(name) => named(name).ok_or_else(|| {
            let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
            Error::format(path, format!("no array {name:?} of ids; found {names:?}"))
        })?,
        None => {
            let readable =
                |member: &&Member| width(&member.array.descr).is_some() && member.array.shape.len() == 1;
            match ID_NAMES.iter().filter_map(|name| named(name)).find(readable) {
                Some(member) => member,
                None => return Ok(None),
            }
        }
    };
    let Member { name, entry, size, array } = member;
    let wrong = |detail: String| Error::format(path, format!("{name:?}: {detail}"));
    let Some(width) = width(&array.descr) else {
        return Err(wrong(format!(
            "expected ids of text or whole numbers, found values of type {:?}",
            array.descr
        )));
    };
    if array.shape != [rows as u64] {
        return Err(wrong(format!("expected {rows} ids, one a row, found shape {:?}", array.shape)));
    }
    let length = (rows as u64).checked_mul(width).filter(|length| *length <= MAX_IDS);
    let Some(length) = length.filter(|length| array.offset + length == *size) else {
        return Err(wrong(format!("{rows} values of {width} bytes, found {}", size - array.offset)));
    };
    let bytes = archive.read(entry, *size, array.offset, length)?;
    let ids = bytes.chunks_exact(width as usize).map(|value| id(&array.descr, value));
    let ids: Option<Vec<Box<str>>> = ids.collect();
    ids.map(Some).ok_or_else(|| wrong("an id is no text".to_string()))
}

/// The bytes of a value of a type that ids have.
fn width(descr: &str) -> Option<u64> {
    match descr {
        "|i1" | "|u1" => Some(1),
        "<i2" | "<u2" => Some(2),
        "<i4" | "<u4" => Some(4),
        "<i8" | "<u8" => Some(8),
        _ => {
            let (letter, size) =
                ["<U", "|S"].iter().find_map(|kind| Some((*kind, descr.strip_prefix(kind)?)))?;
            let size: u64 = size.parse().ok().filter(|size| *size > 0 && *size < 1 << 16)?;
            Some(if letter == "<U" { 4 * size } else { size })
        }
    }
}

fn id(descr: &str, value: &[u8]) -> Option<Box<str>> {
    if descr.starts_with("<U") {
        let units = value.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit));
        // Texts shorter than the longest end in zeros.
        let text: Option<String> = units.take_while(|unit| *unit != 0).map(char::from_u32).collect();
        return text.map(Into::into);
    }
    if descr.starts_with("|S") {
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        return str::from_utf8(&value[..end]).ok().map(Into::into);
    }
    let negative = descr.contains('i') && value.last().is_some_and(|byte| byte >> 7 == 1);
    let mut whole = [if negative { 0xFF } else { 0 }; 8];
    whole[..value.len()].copy_from_slice(value);
    Some(match descr.contains('i') {
        true => i64::from_le_bytes(whole).to_string().into(),
        false => u64::from_le_bytes(whole).to_string().into(),
    })
}
