use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::embedding::{EmbeddingTable, IdIndex, StoreLookup};
use crate::{Error, Result};

/// How the picture of a conversation is compared with the ids of embeddings.
///
/// # Example
///
/// ```
/// use burn_revision::embedding::{EmbeddingTable, NonFinite};
/// use burn_revision::revision::{IdMatch, VisualSource};
///
/// # fn main() -> burn_revision::Result<()> {
/// let table = EmbeddingTable::new(vec!["000123".into()], vec![1.0, 0.0], 2)?;
/// let source = VisualSource::new(table, 0.0, NonFinite::Error)?;
/// assert_eq!(source.position("coco/train2017/000123.jpg"), None);
/// let source = source.with_id_match(IdMatch::Stem)?;
/// assert_eq!(source.position("coco/train2017/000123.jpg"), Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdMatch {
    /// Both are the same text.
    #[default]
    Exact,
    /// Both have the same stem: the name of a file without folders and without an extension, which is up to five letters
    /// and digits after the last dot, a letter first. `coco/000123.jpg` and `000123` have the stem `000123`.
    Stem,
}

/// The most characters of an extension.
const EXTENSION: usize = 5;

/// The name of a file without folders and extension.
pub(super) fn stem(name: &str) -> &str {
    let file = without_extension(name);
    file.rfind(['/', '\\']).map_or(file, |at| &file[at + 1..])
}

fn without_extension(name: &str) -> &str {
    let is_extension = |text: &str| {
        text.len() <= EXTENSION
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    match name.rsplit_once('.') {
        Some((before, extension))
            if is_extension(extension) && !before.is_empty() && !before.ends_with(['/', '\\']) =>
        {
            before
        }
        _ => name,
    }
}

/// Whether two names of one stem may be of one picture: without extensions, one is the end of the other, folder by
/// folder.
pub(super) fn may_be_one(first: &str, second: &str) -> bool {
    let parts = |name| {
        let parts = without_extension(name).rsplit(['/', '\\']);
        parts.filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>()
    };
    let (first, second) = (parts(first), parts(second));
    first.iter().zip(&second).all(|(first, second)| first == second)
}

/// The rows of embeddings by the stems of their ids.
#[derive(Debug)]
pub(super) enum Stems {
    Table(HashMap<String, usize>),
    Store(IdIndex),
}

impl Stems {
    /// The stems of a table.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for two ids of one stem.
    pub fn of_table(table: &EmbeddingTable) -> Result<Self> {
        let mut rows = HashMap::with_capacity(table.len());
        for (row, id) in table.ids().iter().enumerate() {
            if let Some(first) = rows.insert(stem(id).to_string(), row) {
                return Err(two_ids("the embeddings", &table.ids()[first], id));
            }
        }
        Ok(Self::Table(rows))
    }

    /// The stems of a store, 24 bytes a row: all ids are read.
    ///
    /// # Errors
    ///
    /// Those of reading the ids, and [`Error::Config`] for two ids of one stem.
    pub fn of_store(store: &StoreLookup) -> Result<Self> {
        let index = store.index_by(stem)?;
        match index.first_double() {
            None => Ok(Self::Store(index)),
            Some((first, second)) => {
                let place = store.place().display().to_string();
                Err(two_ids(&place, &store.id_at(first)?, &store.id_at(second)?))
            }
        }
    }

    /// The row whose id has the stem of `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        let stem = stem(name);
        match self {
            Self::Table(rows) => rows.get(stem).copied(),
            Self::Store(index) => index.position(stem),
        }
    }
}

fn two_ids(place: &str, first: &str, second: &str) -> Error {
    let same = stem(first);
    Error::config("id_match", format!("{place}: {first:?} and {second:?} have the same stem, {same:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_has_neither_folders_nor_an_extension() {
        for (name, expected) in [
            ("coco/train2017/000123.jpg", "000123"),
            ("000123", "000123"),
            ("a\\b\\c.webp", "c"),
            ("v1.5.jpg", "v1.5"),
            ("v1.5", "v1.5"),
            ("a.b/c", "c"),
            (".hidden", ".hidden"),
            ("a/.jpg", ".jpg"),
            ("what is it. no, really", "what is it. no, really"),
            ("a/", ""),
            ("", ""),
            ("übung.JPEG", "übung"),
        ] {
            assert_eq!(stem(name), expected, "{name:?}");
        }
    }

    #[test]
    fn names_are_of_one_picture_where_one_is_the_end_of_the_other() {
        for (first, second, expected) in [
            ("train2017/1.jpg", "coco/train2017/1.png", true),
            ("1", "coco/1.jpg", true),
            ("./coco/1.jpg", "coco/1.jpg", true),
            ("coco/1.jpg", "vg/1.jpg", false),
            ("o/1.jpg", "coco/1.jpg", false),
        ] {
            assert_eq!(may_be_one(first, second), expected, "{first} {second}");
            assert_eq!(may_be_one(second, first), expected, "{second} {first}");
        }
    }
}
