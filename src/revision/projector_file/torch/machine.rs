//! The loop over the opcodes of a pickle.

use std::io::Cursor;
use std::rc::Rc;

use super::stack::Stack;
use super::tuples::tuple;
use super::values::{Global, Tensor, Value};
use crate::embedding::pickle::literals::int_of;
use crate::embedding::pickle::opcode;
use crate::embedding::pickle::source::{Fault, Source};

/// A longer text is no name of a tensor.
const MAX_TEXT: u64 = 1024;

/// A longer name is no module's.
const MAX_NAME: usize = 255;

/// More dicts, or entries of dicts, than any checkpoint has tensors.
const MAX_ENTRIES: usize = 1 << 20;

/// An entry of the dict that a file holds.
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) value: Item,
}

/// What stands under a name.
pub(super) enum Item {
    Tensor(Rc<Tensor>),
    /// Anything else, as messages call it.
    Other(&'static str),
}

/// The entries under text of the dict that a pickle holds.
///
/// # Errors
///
/// What is wrong, with opcode and byte.
pub(super) fn read(pickle: &[u8]) -> Result<Vec<Entry>, String> {
    let length = pickle.len();
    let source = Source::new(Cursor::new(pickle)).map_err(|fault| format!("{fault:?}"))?;
    let (stack, dicts) = (Stack::new(), Vec::new());
    let mut machine = Machine { source, at: 0, opcode: opcode::PROTO, stack, dicts, entries: 0 };
    match machine.run() {
        Ok(entries) => Ok(entries),
        Err(Fault::Format(detail)) => Err(machine.place(&detail)),
        Err(Fault::End) => Err(machine.place(&format!("the pickle ends at byte {length}"))),
        Err(Fault::Io(error)) => Err(machine.place(&error.to_string())),
    }
}

struct Machine<'a> {
    source: Source<Cursor<&'a [u8]>>,
    /// Where the current opcode stands.
    at: u64,
    opcode: u8,
    stack: Stack<Value>,
    /// The entries of all dicts under text; others are forgotten.
    dicts: Vec<Vec<(Rc<str>, Value)>>,
    /// The number of these entries.
    entries: usize,
}

impl Machine<'_> {
    #[cold]
    fn place(&self, detail: &str) -> String {
        format!("{} at byte {}: {detail}", opcode::name(self.opcode), self.at)
    }

    fn run(&mut self) -> Result<Vec<Entry>, Fault> {
        match self.source.array()? {
            [opcode::PROTO, 2..=5] => {}
            start => {
                return Err(Fault::Format(format!("expected a pickle of protocol 2 to 5, found {start:x?}")));
            }
        }
        loop {
            self.at = self.source.position();
            let [opcode] = self.source.array()?;
            self.opcode = opcode;
            if opcode == opcode::STOP {
                return self.stop();
            }
            self.step(opcode)?;
        }
    }

    fn stop(&mut self) -> Result<Vec<Entry>, Fault> {
        let dict = match self.stack.only()? {
            Value::Dict(dict) => *dict,
            other => {
                return Err(Fault::Format(format!("expected a dict of tensors, found {}", other.describe())));
            }
        };
        match self.source.left() {
            0 => {}
            left => return Err(Fault::Format(format!("bytes after the end of the pickle: {left}"))),
        }
        let entries = std::mem::take(&mut self.dicts[dict as usize]).into_iter().map(|(key, value)| {
            let value = match value {
                Value::Tensor(tensor) => Item::Tensor(tensor),
                other => Item::Other(other.describe()),
            };
            Entry { key, value }
        });
        Ok(entries.collect())
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        let value = match opcode {
            opcode::MEMOIZE => return Ok(self.stack.memoize(self.at)?),
            opcode::BINPUT | opcode::LONG_BINPUT => {
                let index = self.number()?;
                return Ok(self.stack.put(index, self.at)?);
            }
            opcode::BINGET | opcode::LONG_BINGET => {
                let index = self.number()? as u32;
                return Ok(self.stack.get(index)?);
            }
            opcode::MARK => return Ok(self.stack.mark()?),
            opcode::APPEND => return self.append(1),
            opcode::APPENDS => {
                let from = self.stack.unmark()?;
                self.stack.split(from);
                return self.append(0);
            }
            opcode::SETITEM => {
                let from = self.stack.below(2)?;
                return self.set_items(from);
            }
            opcode::SETITEMS => {
                let from = self.stack.unmark()?;
                return self.set_items(from);
            }
            opcode::BUILD => return self.build(),
            opcode::FRAME => {
                let length = u64::from_le_bytes(self.source.array()?);
                return Ok(self.check_claim(length)?);
            }
            opcode::SHORT_BINUNICODE | opcode::BINUNICODE | opcode::BINUNICODE8 => self.text()?,
            opcode::SHORT_BINBYTES | opcode::BINBYTES | opcode::BINBYTES8 | opcode::BYTEARRAY8 => {
                let length = self.declared_length()?;
                self.source.skip(length)?;
                Value::Other("bytes")
            }
            opcode::NONE => Value::None,
            opcode::NEWTRUE | opcode::NEWFALSE => Value::Bool,
            opcode::BININT1 | opcode::BININT2 => Value::Int(self.number()? as i64),
            opcode::BININT => Value::Int(i32::from_le_bytes(self.source.array()?).into()),
            opcode::LONG1 => self.long()?,
            opcode::BINFLOAT => {
                self.source.array::<8>()?;
                Value::Other("a floating-point number")
            }
            opcode::TUPLE => {
                let from = self.stack.unmark()?;
                tuple(&self.stack.split(from))?
            }
            opcode::EMPTY_TUPLE => Value::Sizes(Rc::from([])),
            opcode::TUPLE1 | opcode::TUPLE2 | opcode::TUPLE3 => {
                let from = self.stack.below(usize::from(opcode - opcode::TUPLE1) + 1)?;
                tuple(&self.stack.split(from))?
            }
            opcode::EMPTY_DICT => self.dict()?,
            opcode::EMPTY_LIST => Value::Other("a list"),
            opcode::GLOBAL => {
                let module = self.line()?;
                let name = self.line()?;
                global(&module, &name)?
            }
            opcode::STACK_GLOBAL => match (self.stack.pop()?, self.stack.pop()?) {
                (Value::Text(name), Value::Text(module)) => global(&module, &name)?,
                _ => return Err("expected text as module and name".to_string().into()),
            },
            opcode::BINPERSID => match self.stack.pop()? {
                Value::StorageId(storage) => Value::Storage(storage),
                other => {
                    return Err(format!("expected the name of a storage, found {}", other.describe()).into());
                }
            },
            opcode::REDUCE => {
                let args = self.stack.pop()?;
                let callee = self.stack.pop()?;
                self.reduce(callee, args)?
            }
            opcode::PROTO => return Err("a second start".to_string().into()),
            _ => {
                return Err("this opcode is in no dict of tensors, and nothing is executed"
                    .to_string()
                    .into());
            }
        };
        Ok(self.stack.push(value)?)
    }

    /// The unsigned number behind the opcode.
    fn number(&mut self) -> Result<u64, Fault> {
        Ok(match self.opcode {
            opcode::BININT2 => u16::from_le_bytes(self.source.array()?).into(),
            opcode::LONG_BINPUT | opcode::LONG_BINGET => u32::from_le_bytes(self.source.array()?).into(),
            _ => u8::from_le_bytes(self.source.array()?).into(),
        })
    }

    fn dict(&mut self) -> Result<Value, String> {
        if self.dicts.len() == MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} dicts"));
        }
        self.dicts.push(Vec::new());
        Ok(Value::Dict(self.dicts.len() as u32 - 1))
    }

    fn text(&mut self) -> Result<Value, Fault> {
        let length = self.declared_length()?;
        if length > MAX_TEXT {
            self.source.skip(length)?;
            return Ok(Value::Other("a long text"));
        }
        let bytes = self.source.bytes(length as usize)?;
        // Python writes lone surrogates as well, which no name has.
        Ok(std::str::from_utf8(bytes)
            .map_or(Value::Other("text that is not UTF-8"), |text| Value::Text(text.into())))
    }

    fn long(&mut self) -> Result<Value, Fault> {
        let [length] = self.source.array()?;
        if length > 8 {
            self.source.skip(length.into())?;
            return Ok(Value::Other("a whole number of more than 64 bits"));
        }
        Ok(Value::Int(int_of(self.source.bytes(length.into())?)))
    }

    fn append(&mut self, count: usize) -> Result<(), Fault> {
        let from = self.stack.below(count)?;
        self.stack.split(from);
        match self.stack.top()? {
            Value::Other("a list") => Ok(()),
            other => Err(format!("expected a list, found {}", other.describe()).into()),
        }
    }

    fn set_items(&mut self, from: usize) -> Result<(), Fault> {
        let items = self.stack.split(from);
        let dict = match self.stack.top()? {
            Value::Dict(dict) => *dict,
            other => return Err(format!("expected a dict, found {}", other.describe()).into()),
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key without a value".to_string().into());
        }
        let texts = pairs.iter().filter_map(|[key, value]| match key {
            Value::Text(key) => Some((key.clone(), value.clone())),
            _ => None,
        });
        self.entries += pairs.len();
        if self.entries > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} entries in dicts").into());
        }
        self.dicts[dict as usize].extend(texts);
        Ok(())
    }

    /// A `state_dict` carries the versions of its modules as an attribute, which is left out here.
    fn build(&mut self) -> Result<(), Fault> {
        let state = self.stack.pop()?;
        match (self.stack.top()?, state) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            (target, state) => Err(format!("{} filled with {}", target.describe(), state.describe()).into()),
        }
    }

    /// What a known function makes of its arguments.
    fn reduce(&mut self, callee: Value, args: Value) -> Result<Value, Fault> {
        match (callee, args) {
            (Value::Global(Global::OrderedDict), Value::Sizes(none)) if none.is_empty() => Ok(self.dict()?),
            (Value::Global(Global::RebuildTensor), Value::TensorArgs(tensor))
            | (Value::Global(Global::RebuildParameter), Value::ParameterArgs(tensor)) => {
                Ok(Value::Tensor(tensor))
            }
            (callee, args) => Err(format!(
                "a call of {} with {}, which makes no tensor",
                callee.describe(),
                args.describe()
            )
            .into()),
        }
    }

    fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        loop {
            match self.source.array()? {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [byte] => line.push(byte),
            }
            if line.len() > MAX_NAME {
                return Err(format!("a name of more than {MAX_NAME} bytes").into());
            }
        }
    }

    /// The length that text or bytes declare, which the pickle can hold.
    fn declared_length(&mut self) -> Result<u64, Fault> {
        let length = match self.opcode {
            opcode::SHORT_BINUNICODE | opcode::SHORT_BINBYTES => {
                u8::from_le_bytes(self.source.array()?).into()
            }
            opcode::BINUNICODE | opcode::BINBYTES => u32::from_le_bytes(self.source.array()?).into(),
            _ => u64::from_le_bytes(self.source.array()?),
        };
        self.check_claim(length)?;
        Ok(length)
    }

    fn check_claim(&self, length: u64) -> Result<(), String> {
        match self.source.left() {
            left if length > left => {
                Err(format!("declares {length} bytes, and the pickle ends after {left}"))
            }
            _ => Ok(()),
        }
    }
}

fn global(module: &str, name: &str) -> Result<Value, String> {
    Global::find(module, name).map(Value::Global).ok_or_else(|| {
        let dotted = format!("{module}.{name}");
        format!("asks for {}, which no tensor needs; nothing is executed", dotted.escape_debug())
    })
}
