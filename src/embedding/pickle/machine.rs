//! The loop over the opcodes of a file.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::arrays::Arrays;
use super::names::Names;
use super::opcode;
use super::rows::{Rows, Table};
use super::source::{Fault, Source};
use super::values::{Seven, Value};

/// Picklers hand over a list by the thousand; other writers may put all rows of a shard on the stack.
const MAX_STACK: usize = 1 << 22;

/// A list of dicts of arrays needs four.
const MAX_MARKS: usize = 64;

/// A shard notes one object in five bytes or more, so that a memo beyond one in four is no shard's.
const BYTES_A_MEMO: u64 = 4;
const FREE_MEMOS: u64 = 64;

/// What a file says about its rows.
pub(super) struct Index {
    pub(super) table: Table,
    /// The texts behind the numbers in the table.
    pub(super) names: Names,
    /// The bytes in the file: a file of another length is another file.
    pub(super) length: u64,
}

/// Reads a whole pickle.
///
/// # Errors
///
/// [`Fault::Format`] with opcode and byte where the file is no list of rows, [`Fault::Io`] where it cannot be
/// read.
pub(super) fn read<R: Read + Seek>(source: Source<R>) -> Result<Index, Fault> {
    if source.length() > Seven::MAX_PLACE {
        return Err(Fault::Format(format!("a file of {} bytes", source.length())));
    }
    let mut machine = Machine {
        source,
        at: 0,
        opcode: opcode::PROTO,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        has_list: false,
        names: Names::new(),
        places: HashMap::new(),
        arrays: Arrays::default(),
        rows: Rows::default(),
    };
    match machine.run() {
        Ok(()) => {}
        Err(Fault::End) => return Err(Fault::Format(machine.cut_off())),
        Err(fault) => return Err(fault),
    }
    // The memo is the largest part of the machine and goes first.
    let Machine { rows, arrays, names, source, .. } = machine;
    Ok(Index { table: rows.finish(arrays)?, names, length: source.length() })
}

/// The state of reading one file.
pub(super) struct Machine<R> {
    pub(super) source: Source<R>,
    /// Where the current opcode stands.
    pub(super) at: u64,
    opcode: u8,
    pub(super) stack: Vec<Value>,
    /// The heights of the stack at which a MARK stands.
    pub(super) marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    has_list: bool,
    pub(super) names: Names,
    /// Keys that were read as plain text before they were known as keys.
    pub(super) places: HashMap<u64, u16>,
    pub(super) arrays: Arrays,
    pub(super) rows: Rows,
}

impl<R: Read + Seek> Machine<R> {
    /// An error that names opcode, byte and, once there is one, the newest row; a list that holds a dict twice has
    /// more rows than dicts, so that the number is then too small.
    #[cold]
    pub(super) fn fault(&self, detail: impl AsRef<str>) -> Fault {
        match self.rows.dicts().checked_sub(1) {
            Some(row) => self.fault_in_row(row, detail),
            None => self.fault_outside(detail),
        }
    }

    #[cold]
    pub(super) fn fault_in_row(&self, row: usize, detail: impl AsRef<str>) -> Fault {
        let name = opcode::name(self.opcode);
        Fault::Format(format!("{name} at byte {}, row {row}: {}", self.at, detail.as_ref()))
    }

    /// An error that is about no row.
    #[cold]
    fn fault_outside(&self, detail: impl AsRef<str>) -> Fault {
        let name = opcode::name(self.opcode);
        Fault::Format(format!("{name} at byte {}: {}", self.at, detail.as_ref()))
    }

    fn cut_off(&self) -> String {
        let length = self.source.length();
        if self.at >= length {
            return format!("the file ends at byte {length} without STOP");
        }
        format!("the file ends at byte {length}, inside {} at byte {}", opcode::name(self.opcode), self.at)
    }

    fn run(&mut self) -> Result<(), Fault> {
        self.start()?;
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

    fn start(&mut self) -> Result<(), Fault> {
        if self.source.length() == 0 {
            return Err(Fault::Format("the file is empty".to_string()));
        }
        let [first] = self.source.array()?;
        if first != opcode::PROTO {
            let detail = format!("no pickle of protocol 2 or higher: it starts with the byte 0x{first:02x}");
            return Err(Fault::Format(detail));
        }
        let [protocol] = self.source.array()?;
        if !(2..=5).contains(&protocol) {
            return Err(self.fault(format!("protocol {protocol}, expected 2 to 5")));
        }
        Ok(())
    }

    fn stop(&self) -> Result<(), Fault> {
        let marks = self.marks.len();
        match *self.stack {
            [Value::List] if marks == 0 => {}
            [value] if marks == 0 => {
                let detail = format!("expected a list of dicts, found {}", value.describe());
                return Err(self.fault_outside(detail));
            }
            _ => {
                let values = self.stack.len();
                let detail = format!("an unfinished pickle: {values} on the stack and {marks} open marks");
                return Err(self.fault_outside(detail));
            }
        }
        match self.source.left() {
            0 => Ok(()),
            left => Err(self.fault_outside(format!("bytes after the end of the pickle: {left}"))),
        }
    }

    #[inline]
    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            opcode::MEMOIZE => self.put(self.memo.len() as u64),
            opcode::BINPUT => {
                let [index] = self.source.array()?;
                self.put(index.into())
            }
            opcode::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.source.array()?);
                self.put(index.into())
            }
            opcode::BINGET => {
                let [index] = self.source.array()?;
                self.get(index.into())
            }
            opcode::LONG_BINGET => {
                let index = u32::from_le_bytes(self.source.array()?);
                self.get(index)
            }
            opcode::MARK => {
                if self.marks.len() == MAX_MARKS {
                    return Err(self.fault(format!("nested more than {MAX_MARKS} deep")));
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            opcode::SHORT_BINUNICODE | opcode::BINUNICODE | opcode::BINUNICODE8 => self.text(),
            opcode::SHORT_BINBYTES | opcode::BINBYTES | opcode::BINBYTES8 | opcode::BYTEARRAY8 => {
                let length = self.declared_length()?;
                let bytes = self.arrays.bytes(self.source.position(), length);
                let bytes = bytes.map_err(|detail| self.fault(detail))?;
                self.source.skip(length)?;
                self.push(bytes)
            }
            opcode::NONE => self.push(Value::None),
            opcode::NEWTRUE => self.push(Value::Bool(true)),
            opcode::NEWFALSE => self.push(Value::Bool(false)),
            opcode::BININT1 => {
                let [value] = self.source.array()?;
                self.push_int(value.into())
            }
            opcode::BININT2 => {
                let value = u16::from_le_bytes(self.source.array()?);
                self.push_int(value.into())
            }
            opcode::BININT => {
                let value = i32::from_le_bytes(self.source.array()?);
                self.push_int(value.into())
            }
            opcode::LONG1 => self.long(),
            opcode::BINFLOAT => {
                self.source.array::<8>()?;
                self.push(Value::Float(Seven::from_place(self.at)))
            }
            opcode::TUPLE => {
                let mark = self.mark()?;
                self.tuple(mark)
            }
            opcode::EMPTY_TUPLE => self.tuple(self.stack.len()),
            opcode::TUPLE1 => self.short_tuple(1),
            opcode::TUPLE2 => self.short_tuple(2),
            opcode::TUPLE3 => self.short_tuple(3),
            opcode::EMPTY_DICT => {
                if self.stack.is_empty() {
                    return Err(self.fault("expected a list of dicts, found a dict"));
                }
                let dict = self.rows.dict().map_err(|detail| self.fault(detail))?;
                self.push(dict)
            }
            opcode::SETITEM => {
                let from = self.below(2)?;
                self.set_items(from)
            }
            opcode::SETITEMS => {
                let from = self.mark()?;
                self.set_items(from)
            }
            opcode::EMPTY_LIST => {
                if std::mem::replace(&mut self.has_list, true) {
                    return Err(self.fault("a second list; rows are dicts of plain values and one vector"));
                }
                self.push(Value::List)
            }
            opcode::APPEND => {
                let from = self.below(1)?;
                self.append(from)
            }
            opcode::APPENDS => {
                let from = self.mark()?;
                self.append(from)
            }
            opcode::GLOBAL => self.global(),
            opcode::STACK_GLOBAL => self.stack_global(),
            opcode::REDUCE => {
                let args = self.pop()?;
                let callee = self.pop()?;
                let made = self.arrays.reduce(callee, args).map_err(|detail| self.fault(detail))?;
                self.push(made)
            }
            opcode::BUILD => {
                let state = self.pop()?;
                let target = self.pop()?;
                self.arrays.build(target, state).map_err(|detail| self.fault(detail))?;
                self.push(target)
            }
            opcode::FRAME => {
                let length = u64::from_le_bytes(self.source.array()?);
                self.check_claim(length)
            }
            opcode::PROTO => Err(self.fault("a second start")),
            _ => {
                Err(self
                    .fault("this opcode is in no list of dicts with NumPy vectors, and nothing is executed"))
            }
        }
    }

    #[inline]
    pub(super) fn push(&mut self, value: Value) -> Result<(), Fault> {
        if self.stack.len() >= MAX_STACK {
            return Err(self.fault(format!("more than {MAX_STACK} values on the stack")));
        }
        self.stack.push(value);
        Ok(())
    }

    #[inline]
    pub(super) fn push_int(&mut self, value: i64) -> Result<(), Fault> {
        let value =
            Seven::from_int(value).map_or_else(|| Value::Long(Seven::from_place(self.at)), Value::Int);
        self.push(value)
    }

    /// The height of the stack `count` values below its top, which are above the last MARK.
    #[inline]
    pub(super) fn below(&self, count: usize) -> Result<usize, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= floor => Ok(from),
            _ => Err(self.fault("too few values on the stack")),
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Result<Value, Fault> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    #[inline]
    pub(super) fn top(&self) -> Result<Value, Fault> {
        let from = self.below(1)?;
        Ok(self.stack[from])
    }

    #[inline]
    pub(super) fn mark(&mut self) -> Result<usize, Fault> {
        self.marks.pop().ok_or_else(|| self.fault("needs a MARK"))
    }

    #[inline]
    fn put(&mut self, index: u64) -> Result<(), Fault> {
        let value = self.top()?;
        if index == self.memo.len() as u64 && index < FREE_MEMOS + self.at / BYTES_A_MEMO {
            self.memo.push(Some(value));
            return Ok(());
        }
        self.put_anywhere(index, value)
    }

    /// Picklers count up by one; others may leave gaps, as long as those are small.
    #[cold]
    fn put_anywhere(&mut self, index: u64, value: Value) -> Result<(), Fault> {
        let limit = FREE_MEMOS + self.at / BYTES_A_MEMO;
        if index >= limit {
            return Err(
                self.fault(format!("object {index} of the memo, expected less than {limit} up to here"))
            );
        }
        let index = index as usize;
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(value);
        Ok(())
    }

    #[inline]
    fn get(&mut self, index: u32) -> Result<(), Fault> {
        match self.memo.get(index as usize) {
            Some(Some(value)) => self.push(*value),
            _ => Err(self.fault(format!("object {index} of the memo, which is not there"))),
        }
    }

    /// The length that text or bytes declare, which the file can hold.
    #[inline]
    pub(super) fn declared_length(&mut self) -> Result<u64, Fault> {
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
            return Err(self.fault(format!("declares {length} bytes, and the file ends after {left}")));
        }
        Ok(())
    }
}
