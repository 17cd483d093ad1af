//! The loop over the opcodes of a pickle.

use std::io::{Read, Seek};

use super::builder::Builder;
use super::literals::int_of;
use super::stack::Stack;
use super::{Fault, Source, opcode};

/// A longer name is no module's.
const MAX_NAME: usize = 255;

/// Reads the first of several pickles that stand one behind the other: what was built, the value, and the bytes of the pickle.
///
/// # Errors
///
/// Those of [`read`].
pub(crate) fn read_first<R: Read + Seek, B: Builder>(
    source: Source<R>,
    builder: B,
) -> Result<(B, B::Value, u64), Fault> {
    let mut machine =
        Machine { source, at: 0, opcode: opcode::PROTO, stack: Stack::new(), builder, is_first: true };
    match machine.run() {
        Ok(content) => Ok((machine.builder, content, machine.source.position())),
        Err(Fault::End) => Err(Fault::Format(machine.cut_off())),
        Err(fault) => Err(fault),
    }
}

/// Reads a whole pickle, and returns what was built and the value that the pickle stands for.
///
/// # Errors
///
/// [`Fault::Format`] with opcode and byte where the pickle is not what the builder expects, [`Fault::Io`] where it
/// cannot be read.
pub(crate) fn read<R: Read + Seek, B: Builder>(
    source: Source<R>,
    builder: B,
) -> Result<(B, B::Value), Fault> {
    let mut machine =
        Machine { source, at: 0, opcode: opcode::PROTO, stack: Stack::new(), builder, is_first: false };
    match machine.run() {
        Ok(content) => Ok((machine.builder, content)),
        Err(Fault::End) => Err(Fault::Format(machine.cut_off())),
        Err(fault) => Err(fault),
    }
}

/// The state of reading one pickle.
struct Machine<R, B: Builder> {
    source: Source<R>,
    /// Where the current opcode stands.
    at: u64,
    opcode: u8,
    stack: Stack<B>,
    builder: B,
    /// Whether more may stand behind the pickle.
    is_first: bool,
}

impl<R: Read + Seek, B: Builder> Machine<R, B> {
    /// The error with opcode and byte.
    #[cold]
    fn located(&self, fault: Fault, context: Option<String>) -> Fault {
        let Fault::Format(detail) = fault else { return fault };
        let (name, at) = (opcode::name(self.opcode), self.at);
        Fault::Format(match context {
            Some(context) => format!("{name} at byte {at}, {context}: {detail}"),
            None => format!("{name} at byte {at}: {detail}"),
        })
    }

    fn cut_off(&self) -> String {
        let (length, container) = (self.source.length(), B::CONTAINER);
        if self.at >= length {
            return format!("the {container} ends at byte {length} without STOP");
        }
        format!("{} at byte {}: the {container} ends at byte {length}", opcode::name(self.opcode), self.at)
    }

    fn run(&mut self) -> Result<B::Value, Fault> {
        self.start()?;
        loop {
            self.at = self.source.position();
            let [opcode] = self.source.array()?;
            self.opcode = opcode;
            if opcode == opcode::STOP {
                return self.stop().map_err(|fault| self.located(fault, None));
            }
            if let Err(fault) = self.step(opcode) {
                return Err(self.located(fault, self.builder.context()));
            }
        }
    }

    fn start(&mut self) -> Result<(), Fault> {
        let [first] = self.source.array()?;
        if first != opcode::PROTO {
            let detail = format!("no pickle of protocol 2 or higher: it starts with the byte 0x{first:02x}");
            return Err(Fault::Format(detail));
        }
        let [protocol] = self.source.array()?;
        if !(2..=5).contains(&protocol) {
            let detail = format!("expected protocol 2 to 5, found {protocol}");
            return Err(self.located(detail.into(), None));
        }
        Ok(())
    }

    fn stop(&self) -> Result<B::Value, Fault> {
        let content = self.stack.only()?;
        self.builder.check_content(content)?;
        match self.source.left() {
            0 => Ok(content.clone()),
            _ if self.is_first => Ok(content.clone()),
            left => Err(format!("bytes after the end of the pickle: {left}").into()),
        }
    }

    #[inline]
    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        let Self { source, at, stack, builder, .. } = self;
        let value = match opcode {
            opcode::MEMOIZE => return Ok(stack.memoize(*at)?),
            opcode::BINPUT => {
                let [index] = source.array()?;
                return Ok(stack.put(index.into(), *at)?);
            }
            opcode::LONG_BINPUT => {
                let index = u32::from_le_bytes(source.array()?);
                return Ok(stack.put(index.into(), *at)?);
            }
            opcode::BINGET => {
                let [index] = source.array()?;
                return Ok(stack.get(index.into())?);
            }
            opcode::LONG_BINGET => {
                let index = u32::from_le_bytes(source.array()?);
                return Ok(stack.get(index)?);
            }
            opcode::MARK => return Ok(stack.mark()?),
            opcode::SHORT_BINUNICODE | opcode::BINUNICODE | opcode::BINUNICODE8 => {
                let length = self.declared_length()?;
                self.builder.text(&mut self.source, self.at, length)?
            }
            opcode::SHORT_BINBYTES | opcode::BINBYTES | opcode::BINBYTES8 | opcode::BYTEARRAY8 => {
                let length = self.declared_length()?;
                let bytes = self.builder.bytes(self.source.position(), length)?;
                self.source.skip(length)?;
                bytes
            }
            opcode::NONE => builder.none(),
            opcode::NEWTRUE => builder.bool(true),
            opcode::NEWFALSE => builder.bool(false),
            opcode::BININT1 => {
                let [value] = source.array()?;
                builder.int(value.into(), *at)
            }
            opcode::BININT2 => builder.int(u16::from_le_bytes(source.array()?).into(), *at),
            opcode::BININT => builder.int(i32::from_le_bytes(source.array()?).into(), *at),
            opcode::LONG1 => self.long()?,
            opcode::BINFLOAT => {
                source.array::<8>()?;
                builder.float(*at)
            }
            opcode::TUPLE => {
                let from = stack.unmark()?;
                return self.tuple(from);
            }
            opcode::EMPTY_TUPLE => return self.tuple(self.stack.len()),
            opcode::TUPLE1 | opcode::TUPLE2 | opcode::TUPLE3 => {
                let from = stack.below(usize::from(opcode - opcode::TUPLE1) + 1)?;
                return self.tuple(from);
            }
            opcode::EMPTY_DICT => builder.dict(stack.is_empty())?,
            opcode::SETITEM => {
                let from = stack.below(2)?;
                return self.set_items(from);
            }
            opcode::SETITEMS => {
                let from = stack.unmark()?;
                return self.set_items(from);
            }
            opcode::EMPTY_LIST => builder.list()?,
            opcode::APPEND => {
                let from = stack.below(1)?;
                return self.append(from);
            }
            opcode::APPENDS => {
                let from = stack.unmark()?;
                return self.append(from);
            }
            opcode::GLOBAL => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name)?
            }
            opcode::STACK_GLOBAL => {
                let (name, module) = (stack.pop()?, stack.pop()?);
                match (builder.as_text(source, &module)?, builder.as_text(source, &name)?) {
                    (Some(module), Some(name)) => self.global(&module, &name)?,
                    _ => return Err("expected text as module and name".into()),
                }
            }
            opcode::BINPERSID => {
                let id = stack.pop()?;
                builder.persistent_load(&id)?.ok_or_else(refused::<B>)?
            }
            opcode::REDUCE => {
                let arguments = stack.pop()?;
                let callee = stack.pop()?;
                builder.reduce(&callee, &arguments)?
            }
            opcode::BUILD => {
                let state = stack.pop()?;
                return builder.build(stack.top()?, &state);
            }
            opcode::FRAME => {
                let length = u64::from_le_bytes(source.array()?);
                return self.check_claim(length);
            }
            opcode::PROTO => return Err("a second start".into()),
            _ => return Err(refused::<B>()),
        };
        Ok(self.stack.push(value)?)
    }

    fn long(&mut self) -> Result<B::Value, Fault> {
        let [length] = self.source.array()?;
        if length > 8 {
            let value = self.builder.long_int(length)?;
            self.source.skip(length.into())?;
            return Ok(value);
        }
        let value = int_of(self.source.bytes(length.into())?);
        Ok(self.builder.int(value, self.at))
    }

    #[inline]
    fn tuple(&mut self, from: usize) -> Result<(), Fault> {
        let tuple = self.builder.tuple(&mut self.source, self.stack.above(from))?;
        self.stack.truncate(from);
        Ok(self.stack.push(tuple)?)
    }

    #[inline]
    fn set_items(&mut self, from: usize) -> Result<(), Fault> {
        let (dict, items) = (self.stack.container(from), self.stack.above(from));
        self.builder.set_items(&mut self.source, dict, items)?;
        self.stack.truncate(from);
        Ok(())
    }

    #[inline]
    fn append(&mut self, from: usize) -> Result<(), Fault> {
        self.builder.append(self.stack.container(from), self.stack.above(from))?;
        self.stack.truncate(from);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<B::Value, Fault> {
        self.builder.find_class(module, name).ok_or_else(|| {
            let dotted = format!("{module}.{name}");
            let (dotted, item) = (dotted.escape_debug(), B::ITEM);
            format!("asks for {dotted}, which no {item} needs; nothing is executed").into()
        })
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

    /// The length that text or bytes declare, which the file can hold.
    #[inline]
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

    #[inline]
    fn check_claim(&self, length: u64) -> Result<(), Fault> {
        let left = self.source.left();
        if length > left {
            let container = B::CONTAINER;
            return Err(format!("declares {length} bytes, and the {container} ends after {left}").into());
        }
        Ok(())
    }
}

#[cold]
fn refused<B: Builder>() -> Fault {
    format!("this opcode is in no {}, and nothing is executed", B::CONTENT).into()
}
