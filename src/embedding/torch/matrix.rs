use std::path::Path;
use std::rc::Rc;

use super::builder::{Content, Item};
use super::content::{is_big_endian, read_pickle};
use super::values::{Element as Stored, Tensor};
use super::view::View;
use crate::embedding::archive::Archive;
use crate::embedding::matrix::{Element, Matrix, Packed};
use crate::embedding::{EMBEDDINGS_KEY, StoreOptions};
use crate::{Error, Result};

/// A pickle with the ids of some million rows.
const MAX_PICKLE: u64 = 1 << 26;

/// Reads which tensor of the archive at `path` holds the embeddings, and the ids beside it: the tensor that the file is, or
/// of a dict the entry that is named, or `embeddings`, or the only matrix.
///
/// The ids are a list of the dict: the one that is named, or the only one with as many entries as rows.
pub(crate) fn read_matrix(path: &Path, options: &StoreOptions) -> Result<Packed> {
    let wrong = |detail: String| Error::format(path, detail);
    let mut archive = Archive::open_torch(path)?;
    let content = read_pickle(path, &mut archive, MAX_PICKLE)?;
    if is_big_endian(path, &mut archive)? {
        return Err(wrong("the values are big-endian; save the file on a machine that is not".to_string()));
    }
    let (name, tensor, lists) = choose(content, options).map_err(wrong)?;
    let wrong = |detail: String| wrong(format!("{name}: {detail}"));
    let element = match tensor.storage.element {
        Stored::Float(float) => Element::Float(float),
        Stored::Int8 => Element::Int8,
        Stored::UInt8 => Element::UInt8,
        Stored::Other(other) => {
            return Err(wrong(format!("expected a float type, int8 or uint8, found {other}")));
        }
    };
    element.check_scale(options).map_err(wrong)?;
    let view = View::of(&tensor).map_err(wrong)?;
    let (rows, dim) = match *view.shape.as_slice() {
        [rows, dim] if dim > 0 || rows == 0 => (rows, dim),
        [0] => (0, 0),
        _ => {
            return Err(wrong(format!("expected a matrix [rows, dimensions], found shape {:?}", view.shape)));
        }
    };
    let steps = match *view.strides.as_slice() {
        [row, 1] if row == dim as u64 => None,
        _ if rows <= 1 && dim <= 1 => None,
        [row, 1] => Some([row, 1]),
        [1, column] => Some([1, column]),
        [_, column] if rows == 1 => Some([1, column]),
        [row, _] if dim == 1 => Some([row, 1]),
        _ if rows == 0 => None,
        _ => {
            let strides = &view.strides;
            return Err(wrong(format!("strides {strides:?}; save the tensor as .contiguous()")));
        }
    };
    let key = &tensor.storage.key;
    let entry = format!("data/{key}");
    let Some(size) = archive.claim(&entry)? else {
        return Err(wrong(format!("expected an entry data/{key} in the archive, found none")));
    };
    let needed = u64::try_from(tensor.storage.count).ok();
    let needed = needed.and_then(|count| count.checked_mul(element.size() as u64));
    if needed != Some(size) {
        let count = tensor.storage.count;
        return Err(wrong(format!("{count} values in storage {key} do not take its {size} bytes")));
    }
    let (unpacked, begin) = archive.place(&entry, size)?;
    let offset = begin + view.offset * element.size() as u64;
    let matrix = Matrix { element, rows, dim, offset, steps };
    let ids = choose_ids(lists, rows, options).map_err(|detail| Error::format(path, detail))?;
    Ok(Packed { matrix, unpacked, ids })
}

type Lists = Vec<(Rc<str>, Vec<Rc<str>>)>;

/// The tensor, what errors call it, and the lists beside it.
fn choose(content: Content, options: &StoreOptions) -> Result<(String, Rc<Tensor>, Lists), String> {
    let entries = match (content, &options.key) {
        (Content::Tensor(tensor), None) => return Ok(("the tensor".to_string(), tensor, Vec::new())),
        (Content::Tensor(_), Some(key)) => {
            return Err(format!("one tensor, and none that is called {key:?}"));
        }
        (content, _) => content.entries()?,
    };
    let (mut tensors, mut lists) = (Vec::new(), Vec::new());
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.key.to_string());
        match entry.value {
            Item::Tensor(tensor) => tensors.push((entry.key, tensor)),
            Item::Texts(texts) => lists.push((entry.key, texts)),
            Item::Other(_) => {}
        }
    }
    let named = |name: &str| tensors.iter().find(|(key, _)| &**key == name);
    let found = match &options.key {
        Some(key) => named(key).ok_or_else(|| format!("no tensor {key:?}; found {names:?}"))?,
        None => {
            let matrices: Vec<_> = tensors.iter().filter(|(_, tensor)| tensor.shape.len() == 2).collect();
            let usual = || named(EMBEDDINGS_KEY).or_else(|| named("embedding"));
            let found = match matrices.as_slice() {
                [only] => Some(*only),
                _ => usual(),
            };
            found.ok_or_else(|| {
                format!("expected a matrix {EMBEDDINGS_KEY:?} or only one, found {names:?}; name one")
            })?
        }
    };
    Ok((format!("{:?}", found.0), found.1.clone(), lists))
}

/// The list that holds the ids, where there is one.
fn choose_ids(lists: Lists, rows: usize, options: &StoreOptions) -> Result<Option<Vec<Box<str>>>, String> {
    let names: Vec<String> = lists.iter().map(|(name, _)| name.to_string()).collect();
    let texts = match &options.id_column {
        // Nothing to choose from: ids may stand beside the file.
        Some(_) if lists.is_empty() => return Ok(None),
        Some(wanted) => {
            let found = lists.into_iter().find(|(name, _)| **name == **wanted);
            let (_, texts) =
                found.ok_or_else(|| format!("no list {wanted:?} of ids; found lists {names:?}"))?;
            if texts.len() != rows {
                return Err(format!("{wanted:?}: expected {rows} ids, one a row, found {}", texts.len()));
            }
            texts
        }
        None => {
            let mut fit = lists.into_iter().filter(|(_, texts)| texts.len() == rows);
            match (fit.next(), fit.next()) {
                (Some((_, texts)), None) => texts,
                (Some(one), Some(two)) => {
                    let mut all = [one, two].into_iter().chain(fit);
                    let is_usual = |name: &str| ["id", "ids", "key", "keys"].contains(&name);
                    match all.find(|(name, _)| is_usual(name)) {
                        Some((_, texts)) => texts,
                        None => return Err(format!("several lists may be the ids, name one: {names:?}")),
                    }
                }
                (None, _) => return Ok(None),
            }
        }
    };
    Ok(Some(texts.into_iter().map(|text| Box::from(&*text)).collect()))
}
