//! The rows of a file as JSON objects.

use std::collections::HashMap;
use std::io::{Read, Seek};

use serde_json::{Map, Number, Value as Json};

use super::builder::Index;
use super::values::{Bits56, Value};
use crate::pickle::literals::{read_float, read_long, read_text};
use crate::pickle::{Fault, Source};

/// The text in one row; a file in which a row refers to one long text again and again must not fill the memory.
const MAX_TEXT: u64 = 16 << 20;

/// Texts far back in the file that are kept, since rows often share a word such as the name of their source.
const MAX_SHARED: usize = 1024;
const MAX_SHARED_BYTES: usize = 4096;

/// Goes over the rows in their order; text is read when its row comes.
pub(super) struct Records<'a, R> {
    index: &'a Index,
    source: Source<R>,
    /// The only field to read; all without one.
    only: Option<&'static str>,
    row: usize,
    shared: HashMap<u64, String>,
    bytes: Vec<u8>,
}

impl<'a, R: Read + Seek> Records<'a, R> {
    /// # Errors
    ///
    /// [`Fault::Format`] where the file has not the length with which it was indexed.
    pub(super) fn new(index: &'a Index, source: Source<R>) -> Result<Self, Fault> {
        if source.length() != index.length {
            return Err(Fault::Format(format!(
                "the file has changed: it had {} bytes and now has {}",
                index.length,
                source.length()
            )));
        }
        Ok(Self { index, source, only: None, row: 0, shared: HashMap::new(), bytes: Vec::new() })
    }

    /// Reads no other field than `only`, where it names one.
    pub(super) fn only(self, only: Option<&'static str>) -> Self {
        Self { only, ..self }
    }

    fn record(&mut self, row: usize) -> Result<Map<String, Json>, Fault> {
        let index = self.index;
        let record = index.table.records[row];
        let keys = &index.table.keys[record.keys as usize];
        let values = &index.table.values[record.first as usize..][..keys.len()];
        let mut fields = Map::new();
        let mut left = MAX_TEXT;
        for (key, value) in keys.iter().zip(values) {
            let key = index.names.text(*key);
            if self.only.is_some_and(|only| only != key) {
                continue;
            }
            let value = self.json(*value, &mut left).map_err(|fault| match fault {
                Fault::Io(error) => Fault::Io(error),
                Fault::End => Fault::Format(format!("row {row}, field {key:?}: the file has changed")),
                Fault::Format(detail) => Fault::Format(format!("row {row}, field {key:?}: {detail}")),
            })?;
            fields.insert(key.to_string(), value);
        }
        Ok(fields)
    }

    fn json(&mut self, value: Value, left: &mut u64) -> Result<Json, Fault> {
        match value {
            Value::None => Ok(Json::Null),
            Value::Bool(value) => Ok(value.into()),
            Value::Int(value) => Ok(value.int().into()),
            Value::Long(place) => Ok(read_long(&mut self.source, place.place())?.into()),
            Value::Float(place) => number(read_float(&mut self.source, place.place())?),
            Value::Name(name) => Ok(self.index.names.text(name).into()),
            Value::Text(place) => Ok(self.text(place, left)?.into()),
            other => Err(Fault::Format(format!("expected a plain value, found {}", other.describe()))),
        }
    }

    fn text(&mut self, place: Bits56, left: &mut u64) -> Result<String, Fault> {
        let place = place.place();
        let text = match self.shared.get(&place) {
            Some(text) => text.clone(),
            None => {
                let is_back = self.source.is_back(place);
                let length = read_text(&mut self.source, place, *left as usize, &mut self.bytes)?;
                if length > *left {
                    return Err(too_long());
                }
                let Ok(text) = std::str::from_utf8(&self.bytes) else {
                    return Err(Fault::Format("text that is not UTF-8".to_string()));
                };
                if is_back && text.len() <= MAX_SHARED_BYTES && self.shared.len() < MAX_SHARED {
                    self.shared.insert(place, text.to_string());
                }
                text.to_string()
            }
        };
        *left = left.checked_sub(text.len() as u64).ok_or_else(too_long)?;
        Ok(text)
    }
}

impl<R: Read + Seek> Iterator for Records<'_, R> {
    type Item = Result<Map<String, Json>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row;
        if row >= self.index.table.records.len() {
            return None;
        }
        self.row += 1;
        Some(self.record(row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.index.table.records.len() - self.row;
        (left, Some(left))
    }
}

/// NaN is what pandas leaves where a field is missing, and becomes `null`; for infinities JSON has no word.
fn number(value: f64) -> Result<Json, Fault> {
    match Number::from_f64(value) {
        Some(number) => Ok(Json::Number(number)),
        None if value.is_nan() => Ok(Json::Null),
        None => Err(Fault::Format(format!("{value}, which JSON cannot hold"))),
    }
}

fn too_long() -> Fault {
    Fault::Format(format!("more than {MAX_TEXT} bytes of text in one row"))
}
