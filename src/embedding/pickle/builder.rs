//! What the pickle of a shard becomes.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::arrays::{Arrays, is_switch};
use super::names::{MAX_NAME, Names};
use super::rows::{PLAIN, Rows, Table};
use super::values::{Bits56, Global, Value};
use crate::pickle::literals::read_text;
use crate::pickle::{self, Builder, Fault, Limits, Source, pairs};

/// Looked-up places of keys that are kept; there is one a name, but for files that are made to be odd.
const MAX_PLACES: usize = 1 << 16;

/// What a file says about its rows.
pub(super) struct Index {
    pub(super) table: Table,
    /// The texts behind the numbers in the table.
    pub(super) names: Names,
    /// The bytes in the file: a file of another length is another file.
    pub(super) length: u64,
}

/// Reads a whole shard.
///
/// # Errors
///
/// [`Fault::Format`] with opcode and byte where the file is no list of rows, [`Fault::Io`] where it cannot be
/// read.
pub(super) fn read<R: Read + Seek>(source: Source<R>) -> Result<Index, Fault> {
    let length = source.length();
    if length == 0 {
        return Err("the file is empty".into());
    }
    if length > Bits56::MAX_PLACE {
        return Err(format!("a file of {length} bytes").into());
    }
    let (builder, _) = pickle::read(source, ShardBuilder::new())?;
    let ShardBuilder { rows, arrays, names, .. } = builder;
    Ok(Index { table: rows.finish(arrays)?, names, length })
}

/// The rows of a shard while it is read.
struct ShardBuilder {
    has_list: bool,
    /// The row that could not be appended to the list.
    refused: Option<usize>,
    names: Names,
    /// Keys that were read as plain text before they were known as keys.
    places: HashMap<u64, u16>,
    arrays: Arrays,
    rows: Rows,
}

impl ShardBuilder {
    fn new() -> Self {
        Self {
            has_list: false,
            refused: None,
            names: Names::new(),
            places: HashMap::new(),
            arrays: Arrays::default(),
            rows: Rows::default(),
        }
    }

    /// Says what is wrong with fields for a dict that is not the newest: as a rule, one of them holds a dict.
    #[cold]
    fn older_dict<R: Read + Seek>(&mut self, source: &mut Source<R>, fields: &[[Value; 2]]) -> Fault {
        let inner = fields.iter().find(|[_, value]| matches!(value, Value::Dict(_)));
        match inner.map(|[key, _]| self.key(source, *key)) {
            Some(Ok(key)) => {
                let key = self.names.text(key);
                format!("field {key:?}: expected {PLAIN}, found a dict").into()
            }
            Some(Err(fault)) => fault,
            None => "a dict that gets fields after another one has begun".into(),
        }
    }

    #[inline]
    fn key<R: Read + Seek>(&mut self, source: &mut Source<R>, key: Value) -> Result<u16, Fault> {
        match key {
            Value::Name(name) => Ok(name),
            Value::Text(place) => self.new_key(source, place.place()),
            other => Err(format!("{} as a key, expected text", other.describe()).into()),
        }
    }

    /// Reads a key that was taken for plain text; from now on it is known.
    #[cold]
    fn new_key<R: Read + Seek>(&mut self, source: &mut Source<R>, place: u64) -> Result<u16, Fault> {
        if let Some(name) = self.places.get(&place) {
            return Ok(*name);
        }
        let mut text = Vec::new();
        let length = read_text(source, place, MAX_NAME, &mut text)?;
        if length > MAX_NAME as u64 {
            return Err(format!("a key of {length} bytes, expected at most {MAX_NAME}").into());
        }
        let name = self.names.add(&text)?;
        if self.places.len() < MAX_PLACES {
            self.places.insert(place, name);
        }
        Ok(name)
    }
}

/// The beginning of the text whose opcode stands at `place`.
#[cold]
fn beginning<R: Read + Seek>(source: &mut Source<R>, place: Bits56) -> Result<String, Fault> {
    let mut text = Vec::new();
    read_text(source, place.place(), MAX_NAME, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Builder for ShardBuilder {
    type Value = Value;

    const LIMITS: Limits = Limits {
        // Picklers hand over a list by the thousand; other writers may put all rows of a shard on the stack.
        stack: 1 << 22,
        // A list of dicts of arrays needs four.
        marks: 64,
        memo: u64::MAX,
        // A shard keeps one object in five bytes or more, so that a memo beyond one in four is no shard's.
        bytes_per_memo: 4,
    };
    const CONTAINER: &'static str = "file";
    const CONTENT: &'static str = "list of dicts with NumPy vectors";
    const ITEM: &'static str = "NumPy vector";

    /// The newest row; a list that holds a dict twice has more rows than dicts, so that the number is then too small.
    fn context(&self) -> Option<String> {
        let row = self.refused.or(self.rows.dicts().checked_sub(1))?;
        Some(format!("row {row}"))
    }

    #[inline]
    fn none(&mut self) -> Value {
        Value::None
    }

    #[inline]
    fn bool(&mut self, value: bool) -> Value {
        Value::Bool(value)
    }

    #[inline]
    fn int(&mut self, value: i64, at: u64) -> Value {
        Bits56::from_int(value).map_or_else(|| Value::Long(Bits56::from_place(at)), Value::Int)
    }

    fn long_int(&mut self, length: u8) -> Result<Value, Fault> {
        Err(format!("a whole number of {length} bytes, expected at most 8").into())
    }

    #[inline]
    fn float(&mut self, at: u64) -> Value {
        Value::Float(Bits56::from_place(at))
    }

    /// By its number where it is known, or else by its place.
    #[inline]
    fn text<R: Read + Seek>(&mut self, source: &mut Source<R>, at: u64, length: u64) -> Result<Value, Fault> {
        let place = Value::Text(Bits56::from_place(at));
        if !self.names.may_hold(length) {
            source.skip(length)?;
            return Ok(place);
        }
        let text = source.bytes(length as usize)?;
        Ok(self.names.find(text).map_or(place, Value::Name))
    }

    #[inline]
    fn bytes(&mut self, offset: u64, length: u64) -> Result<Value, Fault> {
        Ok(self.arrays.bytes(offset, length)?)
    }

    fn tuple<R: Read + Seek>(&mut self, source: &mut Source<R>, items: &[Value]) -> Result<Value, Fault> {
        if let [Value::Text(place), copy, align] = *items
            && is_switch(copy)
            && is_switch(align)
        {
            let text = beginning(source, place)?;
            return Err(format!("dtype {text:?}, expected f2, f4 or f8").into());
        }
        Ok(self.arrays.tuple(items)?)
    }

    fn list(&mut self) -> Result<Value, Fault> {
        if std::mem::replace(&mut self.has_list, true) {
            return Err("a second list; rows are dicts of plain values and one vector".into());
        }
        Ok(Value::List)
    }

    #[inline]
    fn dict(&mut self, is_outermost: bool) -> Result<Value, Fault> {
        if is_outermost {
            return Err("expected a list of dicts, found a dict".into());
        }
        Ok(self.rows.dict()?)
    }

    fn append(&mut self, list: Option<&Value>, items: &[Value]) -> Result<(), Fault> {
        let Some(Value::List) = list else { return Err("needs the list of rows".into()) };
        for value in items {
            if let Err(detail) = self.rows.append(*value, &self.arrays) {
                self.refused = Some(self.rows.len());
                return Err(detail.into());
            }
        }
        Ok(())
    }

    #[inline]
    fn set_items<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        dict: Option<&Value>,
        items: &[Value],
    ) -> Result<(), Fault> {
        let Some(&Value::Dict(dict)) = dict else { return Err("needs a dict to put fields into".into()) };
        let fields = pairs(items)?;
        if !self.rows.is_newest(dict) {
            return Err(self.older_dict(source, fields));
        }
        for [key, value] in fields {
            let key = self.key(source, *key)?;
            self.rows.set(dict, key, *value, &self.names)?;
        }
        Ok(())
    }

    fn find_class(&mut self, module: &str, name: &str) -> Option<Value> {
        Global::find(module, name).map(Value::Global)
    }

    fn as_text<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        value: &Value,
    ) -> Result<Option<String>, Fault> {
        match *value {
            Value::Name(name) => Ok(Some(self.names.text(name).to_string())),
            Value::Text(place) => beginning(source, place).map(Some),
            _ => Ok(None),
        }
    }

    fn reduce(&mut self, callee: &Value, arguments: &Value) -> Result<Value, Fault> {
        Ok(self.arrays.reduce(*callee, *arguments)?)
    }

    fn build(&mut self, object: &Value, state: &Value) -> Result<(), Fault> {
        Ok(self.arrays.build(*object, *state)?)
    }

    fn check_content(&self, content: &Value) -> Result<(), Fault> {
        match content {
            Value::List => Ok(()),
            other => Err(format!("expected a list of dicts, found {}", other.describe()).into()),
        }
    }
}
