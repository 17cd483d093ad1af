//! What the larger opcodes do: text, arrays, rows and the names of globals.

use std::io::{Read, Seek};

use super::arrays::is_switch;
use super::literals::{int_of, read_text};
use super::machine::Machine;
use super::names::MAX_NAME;
use super::rows::PLAIN;
use super::source::Fault;
use super::values::{Global, Seven, Value};

/// Looked-up places of keys that are kept; there is one a name, but for files that are made to be odd.
const MAX_PLACES: usize = 1 << 16;

impl<R: Read + Seek> Machine<R> {
    /// Pushes text: by its number where it is known, or else by its place.
    #[inline]
    pub(super) fn text(&mut self) -> Result<(), Fault> {
        let length = self.declared_length()?;
        let place = Value::Text(Seven::from_place(self.at));
        if !self.names.may_hold(length) {
            self.source.skip(length)?;
            return self.push(place);
        }
        let text = self.source.bytes(length as usize)?;
        let value = self.names.find(text).map_or(place, Value::Name);
        self.push(value)
    }

    pub(super) fn long(&mut self) -> Result<(), Fault> {
        let [length] = self.source.array()?;
        if length > 8 {
            return Err(self.fault(format!("a whole number of {length} bytes, expected at most 8")));
        }
        let value = int_of(self.source.bytes(length.into())?);
        self.push_int(value)
    }

    #[inline]
    pub(super) fn short_tuple(&mut self, count: usize) -> Result<(), Fault> {
        let from = self.below(count)?;
        self.tuple(from)
    }

    pub(super) fn tuple(&mut self, from: usize) -> Result<(), Fault> {
        if let [Value::Text(place), copy, align] = self.stack[from..]
            && is_switch(copy)
            && is_switch(align)
        {
            let text = self.look_back(place)?;
            return Err(self.fault(format!("dtype {text:?}, expected f2, f4 or f8")));
        }
        let tuple = self.arrays.tuple(&self.stack[from..]).map_err(|detail| self.fault(detail))?;
        self.stack.truncate(from);
        self.push(tuple)
    }

    /// The container below the values from here on, where it is above the last MARK.
    #[inline]
    fn target(&self, from: usize) -> Option<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        (from > floor).then(|| self.stack[from - 1])
    }

    pub(super) fn set_items(&mut self, from: usize) -> Result<(), Fault> {
        let Some(Value::Dict(dict)) = self.target(from) else {
            return Err(self.fault("needs a dict to put fields into"));
        };
        if !(self.stack.len() - from).is_multiple_of(2) {
            return Err(self.fault("a key without a value"));
        }
        if !self.rows.is_newest(dict) {
            return Err(self.older_dict(from));
        }
        for at in (from..self.stack.len()).step_by(2) {
            let (key, value) = (self.stack[at], self.stack[at + 1]);
            let key = self.key(key)?;
            self.rows.set(dict, key, value, &self.names).map_err(|detail| self.fault(detail))?;
        }
        self.stack.truncate(from);
        Ok(())
    }

    /// Says what is wrong with fields for a dict that is not the newest: as a rule, one of them holds a dict.
    #[cold]
    fn older_dict(&mut self, from: usize) -> Fault {
        let pairs = self.stack[from..].chunks_exact(2);
        let inner = pairs.map(|pair| (pair[0], pair[1])).find(|(_, value)| matches!(value, Value::Dict(_)));
        match inner.map(|(key, _)| self.key(key)) {
            Some(Ok(key)) => {
                let key = self.names.text(key);
                self.fault(format!("field {key:?}: expected {PLAIN}, found a dict"))
            }
            Some(Err(fault)) => fault,
            None => self.fault("a dict that gets fields after another one has begun"),
        }
    }

    #[inline]
    fn key(&mut self, key: Value) -> Result<u16, Fault> {
        match key {
            Value::Name(name) => Ok(name),
            Value::Text(place) => self.new_key(place),
            other => Err(self.fault(format!("{} as a key, expected text", other.describe()))),
        }
    }

    /// Reads a key that was taken for plain text; from now on it is known.
    #[cold]
    fn new_key(&mut self, place: Seven) -> Result<u16, Fault> {
        if let Some(name) = self.places.get(&place.place()) {
            return Ok(*name);
        }
        let mut text = Vec::new();
        let length = read_text(&mut self.source, place.place(), MAX_NAME, &mut text)?;
        if length > MAX_NAME as u64 {
            return Err(self.fault(format!("a key of {length} bytes, expected at most {MAX_NAME}")));
        }
        let name = self.names.add(&text).map_err(|detail| self.fault(detail))?;
        if self.places.len() < MAX_PLACES {
            self.places.insert(place.place(), name);
        }
        Ok(name)
    }

    /// The beginning of a text, for a message.
    #[cold]
    fn look_back(&mut self, place: Seven) -> Result<String, Fault> {
        let mut text = Vec::new();
        read_text(&mut self.source, place.place(), MAX_NAME, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(super) fn append(&mut self, from: usize) -> Result<(), Fault> {
        let Some(Value::List) = self.target(from) else {
            return Err(self.fault("needs the list of rows"));
        };
        for value in &self.stack[from..] {
            if let Err(detail) = self.rows.append(*value, &self.arrays) {
                return Err(self.fault_in_row(self.rows.len(), detail));
            }
        }
        self.stack.truncate(from);
        Ok(())
    }

    pub(super) fn global(&mut self) -> Result<(), Fault> {
        let module = self.line()?;
        let name = self.line()?;
        self.push_global(&module, &name)
    }

    fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        loop {
            match self.source.array()? {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [byte] => line.push(byte),
            }
            if line.len() > MAX_NAME {
                return Err(self.fault(format!("a name of more than {MAX_NAME} bytes")));
            }
        }
    }

    pub(super) fn stack_global(&mut self) -> Result<(), Fault> {
        let name = self.pop()?;
        let module = self.pop()?;
        let name = self.global_part(name)?;
        let module = self.global_part(module)?;
        self.push_global(&module, &name)
    }

    fn global_part(&mut self, part: Value) -> Result<String, Fault> {
        match part {
            Value::Name(name) => Ok(self.names.text(name).to_string()),
            Value::Text(place) => self.look_back(place),
            other => Err(self.fault(format!("{} as a name, expected text", other.describe()))),
        }
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => {
                let dotted = format!("{module}.{name}");
                let dotted = dotted.escape_debug();
                Err(self
                    .fault(format!("asks for {dotted}, which no NumPy vector needs; nothing is executed")))
            }
        }
    }
}
