//! How dicts become rows.

use std::collections::HashMap;

use super::arrays::{Arrays, Vector, number};
use super::names::{EMBED, ID, Names};
use super::values::Value;
use crate::embedding::FloatType;

/// What a field may hold.
pub(super) const PLAIN: &str = "text, a number, a truth value or None";

const ABSENT: u32 = u32::MAX;

/// A dict of the file: which keys, where the values begin, and the array under `embed`.
struct Dict {
    keys: u32,
    first: u32,
    embed: u32,
}

/// What is kept of a row: which keys, and where their values begin.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) keys: u32,
    pub(super) first: u32,
}

/// Everything a finished file says.
pub(super) struct Table {
    pub(super) float: FloatType,
    pub(super) dim: usize,
    pub(super) offsets: Vec<u64>,
    pub(super) records: Vec<Record>,
    /// The lists of keys that occur; most files have one.
    pub(super) keys: Vec<Box<[u16]>>,
    pub(super) values: Vec<Value>,
}

/// The dicts of a file and the list of them.
///
/// A pickler writes one dict after the other, so that the values of each stand together; a dict that gets
/// fields after the next one has begun holds that next one, and rows hold no dicts.
#[derive(Default)]
pub(super) struct Rows {
    dicts: Vec<Dict>,
    values: Vec<Value>,
    keys: Vec<Box<[u16]>>,
    known_keys: HashMap<Box<[u16]>, u32>,
    /// The keys of the newest dict, while it is open.
    open: Vec<u16>,
    is_open: bool,
    list: Vec<u32>,
    first: Option<Vector>,
}

impl Rows {
    /// A new dict, which closes the one before.
    ///
    /// # Errors
    ///
    /// Where there are more dicts than any shard has.
    pub(super) fn dict(&mut self) -> Result<Value, String> {
        self.close()?;
        let dict = number(self.dicts.len())?;
        self.dicts.push(Dict { keys: ABSENT, first: number(self.values.len())?, embed: ABSENT });
        self.is_open = true;
        Ok(Value::Dict(dict))
    }

    fn close(&mut self) -> Result<(), String> {
        if !self.is_open {
            return Ok(());
        }
        let keys = match self.dicts.iter().rev().nth(1) {
            // Almost always the keys of the dict before.
            Some(before) if before.keys != ABSENT && *self.keys[before.keys as usize] == *self.open => {
                before.keys
            }
            _ => self.number_of_keys()?,
        };
        self.open.clear();
        self.is_open = false;
        if let Some(dict) = self.dicts.last_mut() {
            dict.keys = keys;
        }
        Ok(())
    }

    /// The number of the open dict's list of keys; a new list is checked for keys that stand twice.
    fn number_of_keys(&mut self) -> Result<u32, String> {
        if let Some(keys) = self.known_keys.get(self.open.as_slice()) {
            return Ok(*keys);
        }
        let mut sorted = self.open.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a dict that holds a field twice".to_string());
        }
        let keys = number(self.keys.len())?;
        self.keys.push(self.open.as_slice().into());
        self.known_keys.insert(self.open.as_slice().into(), keys);
        Ok(keys)
    }

    /// Whether fields of this dict can still be set.
    #[inline]
    pub(super) fn is_newest(&self, dict: u32) -> bool {
        self.is_open && dict as usize + 1 == self.dicts.len()
    }

    /// Sets a field of a dict that [`Rows::is_newest`].
    ///
    /// # Errors
    ///
    /// The field and what was found, where it cannot hold such a value.
    #[inline]
    pub(super) fn set(&mut self, dict: u32, key: u16, value: Value, names: &Names) -> Result<(), String> {
        let text = matches!(value, Value::Text(_) | Value::Name(_));
        let whole = matches!(value, Value::Int(_) | Value::Long(_));
        let expected = match (key, value) {
            (EMBED, Value::Array(_)) => None,
            (EMBED, _) => Some("a NumPy vector of floats"),
            (ID, _) if text || whole => None,
            (ID, _) => Some("text or a whole number"),
            (_, Value::None | Value::Bool(_) | Value::Float(_)) => None,
            _ if text || whole => None,
            _ => Some(PLAIN),
        };
        if let Some(expected) = expected {
            let key = names.text(key);
            return Err(format!("field {key:?}: expected {expected}, found {}", value.describe()));
        }
        match value {
            Value::Array(array) => {
                let embed = &mut self.dicts[dict as usize].embed;
                if *embed != ABSENT {
                    return Err("a dict that holds the field \"embed\" twice".to_string());
                }
                *embed = array;
            }
            value => {
                self.open.push(key);
                self.values.push(value);
            }
        }
        Ok(())
    }

    /// The dicts so far.
    pub(super) fn dicts(&self) -> usize {
        self.dicts.len()
    }

    /// The rows so far.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Puts a value into the list as its next row.
    ///
    /// # Errors
    ///
    /// What is wrong with it: no dict, no `id`, no `embed`, or a vector unlike that of the first row.
    pub(super) fn append(&mut self, value: Value, arrays: &Arrays) -> Result<(), String> {
        let Value::Dict(number) = value else {
            return Err(format!("expected a dict, found {}", value.describe()));
        };
        self.close()?;
        let dict = &self.dicts[number as usize];
        if !self.keys[dict.keys as usize].contains(&ID) {
            return Err("no field \"id\"".to_string());
        }
        if dict.embed == ABSENT {
            return Err("no field \"embed\"".to_string());
        }
        let Some(vector) = arrays.vector(dict.embed) else {
            return Err("field \"embed\": an array without values".to_string());
        };
        let first = *self.first.get_or_insert(vector);
        if vector.float != first.float {
            let (expected, actual) = (first.float, vector.float);
            return Err(format!("field \"embed\": expected {expected} as in row 0, found {actual}"));
        }
        if vector.dim != first.dim {
            let (expected, actual) = (first.dim, vector.dim);
            return Err(format!("field \"embed\": expected {expected} values as in row 0, found {actual}"));
        }
        self.list.push(number);
        Ok(())
    }

    /// What is kept when the file has been read.
    ///
    /// # Errors
    ///
    /// Where there are no rows.
    pub(super) fn finish(mut self, arrays: Arrays) -> Result<Table, String> {
        let Some(Vector { float, dim, .. }) = self.first else {
            return Err("the list is empty".to_string());
        };
        let vector = |&row: &u32| {
            let vector = arrays.vector(self.dicts[row as usize].embed);
            vector.expect("append has looked at every row").offset
        };
        let offsets = self.list.iter().map(vector).collect();
        drop(arrays);
        let record = |&row: &u32| {
            let Dict { keys, first, .. } = self.dicts[row as usize];
            Record { keys, first }
        };
        let records = self.list.iter().map(record).collect();
        self.values.shrink_to_fit();
        Ok(Table { float, dim, offsets, records, keys: self.keys, values: self.values })
    }
}
