use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::value::{Array, Strings, Value};
use crate::{Error, Result};

/// The smallest entry of a file: the length of its key, its type and a value of one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 4 + 1;

/// The keys and values of a file.
///
/// The methods named for a type give `None` where a key is missing and an error where it holds another type.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    path: PathBuf,
    pub(crate) entries: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn read(cursor: &mut Cursor<'_>, path: &Path, count: u64) -> Result<Self> {
        let count =
            cursor.check_count(count, MIN_ENTRY_BYTES, format_args!("the number of metadata keys"))?;
        let mut entries = BTreeMap::new();
        for index in 0..count {
            let key = cursor.string(format_args!("metadata key {index}"))?;
            let code = cursor.u32(format_args!("the type of key {key:?}"))?;
            let value = Value::read(cursor, code, format_args!("key {key:?}"))?;
            if entries.contains_key(&key) {
                return Err(cursor.wrong(format!("key {key:?}: expected once, found twice")));
            }
            entries.insert(key, value);
        }
        Ok(Self { path: path.to_path_buf(), entries })
    }

    /// A whole number of at least zero, of any integer type.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number of at least 0", |value| match *value {
            Value::U8(value) => Some(value.into()),
            Value::U16(value) => Some(value.into()),
            Value::U32(value) => value.try_into().ok(),
            Value::U64(value) => value.try_into().ok(),
            Value::I8(value) => value.try_into().ok(),
            Value::I16(value) => value.try_into().ok(),
            Value::I32(value) => value.try_into().ok(),
            Value::I64(value) => value.try_into().ok(),
            _ => None,
        })
    }

    /// A finite number.
    ///
    /// One of 32 bits is taken for the decimal number it was written as: 1e-5 is not 9.999999747378752e-6.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        let number = self.typed(key, "a finite number", |value| match *value {
            Value::F32(value) => value.to_string().parse().ok(),
            Value::F64(value) => Some(value),
            _ => None,
        })?;
        match number {
            Some(number) if !f64::is_finite(number) => {
                Err(self.wrong(format!("key {key:?}: expected a finite number, found {number}")))
            }
            number => Ok(number),
        }
    }

    /// A Boolean.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a Boolean", |value| match *value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", |value| match value {
            Value::String(value) => Some(value.as_str()),
            _ => None,
        })
    }

    /// An array of texts.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&Strings>> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::String(values)) => Some(values),
            _ => None,
        })
    }

    /// An array of 32-bit integers.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<&[i32]>> {
        self.typed(key, "an array of i32", |value| match value {
            Value::Array(Array::I32(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit floats.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the key holds something else.
    pub(crate) fn floats(&self, key: &str) -> Result<Option<&[f32]>> {
        self.typed(key, "an array of f32", |value| match value {
            Value::Array(Array::F32(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// Whether there is a value under a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value that one of the methods above found, or an error that names the missing key.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] without a value.
    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.wrong(format!("key {key:?}: expected in the metadata, found none")))
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error about the file.
    pub(crate) fn wrong(&self, detail: impl Into<String>) -> Error {
        Error::format(&self.path, detail)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| {
            let found = match value {
                Value::Array(array) => format!("an array of {} {} values", array.len(), array.type_name()),
                Value::String(text) => format!("the string {:?}", excerpt(text)),
                other => format!("{other:?}"),
            };
            self.wrong(format!("key {key:?}: expected {expected}, found {found}"))
        })
    }
}

/// The beginning of a text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}
