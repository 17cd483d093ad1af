//! How tuples and calls become vectors of floats.
//!
//! NumPy writes a vector in one of two ways. Up to protocol 4, and for some arrays after it:
//!
//! ```text
//! _reconstruct(ndarray, (0,), b'b')                          an empty array
//! BUILD with (1, shape, dtype, fortran, bytes)               fills it
//! ```
//!
//! and from protocol 5 on `_frombuffer(bytes, dtype, shape, order)`. The type is
//! `dtype('f2', False, True)`, which a BUILD with `(3, '<', None, None, None, -1, -1, 0)` makes little-endian.

use super::names::{BIG, C_ORDER, FORTRAN_ORDER, LITTLE, NATIVE, float};
use super::values::{Global, Value};
use crate::embedding::FloatType;

const UNBUILT: u32 = u32::MAX;

/// Bytes of the file, and the type of the values in them once an array has claimed them.
#[derive(Clone, Copy)]
struct Blob {
    offset: u64,
    length: u32,
    float: Option<FloatType>,
}

/// A vector: where its values stand and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vector {
    pub(super) offset: u64,
    pub(super) dim: usize,
    pub(super) float: FloatType,
}

/// The bytes and the arrays of a file.
#[derive(Default)]
pub(super) struct Arrays {
    blobs: Vec<Blob>,
    /// The bytes of every array, or [`UNBUILT`].
    arrays: Vec<u32>,
}

impl Arrays {
    /// Notes the place of some bytes.
    ///
    /// # Errors
    ///
    /// Where there are more bytes, or more pieces of bytes, than any shard has.
    pub(super) fn bytes(&mut self, offset: u64, length: u64) -> Result<Value, String> {
        let Ok(length) = u32::try_from(length) else {
            return Err(format!("{length} bytes in one piece, which no vector has"));
        };
        let number = number(self.blobs.len())?;
        self.blobs.push(Blob { offset, length, float: None });
        Ok(Value::Bytes(number))
    }

    fn array(&mut self, blob: u32) -> Result<Value, String> {
        let number = number(self.arrays.len())?;
        self.arrays.push(blob);
        Ok(Value::Array(number))
    }

    /// The vector of an array, where it has been built.
    pub(super) fn vector(&self, array: u32) -> Option<Vector> {
        let blob = self.blobs.get(*self.arrays.get(array as usize)? as usize)?;
        let float = blob.float?;
        Some(Vector { offset: blob.offset, dim: blob.length as usize / float.size(), float })
    }

    /// The part of an array that these values are as a tuple.
    ///
    /// # Errors
    ///
    /// What is wrong, where they are none, or one of an array that is no little-endian vector of floats.
    pub(super) fn tuple(&mut self, items: &[Value]) -> Result<Value, String> {
        let none = || Err(format!("a tuple of {} values that is no part of a vector of floats", items.len()));
        match *items {
            [Value::Int(length)] => match u32::try_from(length.int()) {
                Ok(length) => Ok(Value::Length(length)),
                Err(_) => none(),
            },
            [Value::Int(rows), Value::Int(columns)] => {
                match (u16::try_from(rows.int()), u32::try_from(columns.int())) {
                    (Ok(rows), Ok(columns)) => Ok(Value::Pair { rows, columns }),
                    _ => none(),
                }
            }
            [Value::Text(_) | Value::Name(_), Value::Text(_) | Value::Name(_)] => Ok(Value::EncodeArgs),
            [Value::Global(Global::NdArray), Value::Length(0), Value::Bytes(_) | Value::Encoded] => {
                Ok(Value::ReconstructArgs)
            }
            [Value::Name(name), copy, align] if is_switch(copy) && is_switch(align) => match float(name) {
                Some(float) => Ok(Value::DtypeArgs(float)),
                None => none(),
            },
            [version, Value::Name(order), Value::None, Value::None, Value::None, size, alignment, flags]
                if [version, size, alignment, flags].map(Value::int)
                    == [Some(3), Some(-1), Some(-1), Some(0)] =>
            {
                match order {
                    LITTLE | NATIVE => Ok(Value::DtypeState),
                    BIG => Err("byte order '>': expected little-endian values".to_string()),
                    _ => none(),
                }
            }
            [version, shape, Value::Dtype(float), fortran, Value::Bytes(blob)]
                if version.int() == Some(1) && is_switch(fortran) =>
            {
                self.claim(blob, shape, float)?;
                Ok(Value::ArrayState(blob))
            }
            [_, _, Value::Dtype(_), _, Value::Encoded] => Err(
                "the values of an array are written as text, as protocol 2 does; save the file again with protocol 3 or higher"
                    .to_string(),
            ),
            [Value::Bytes(blob), Value::Dtype(float), shape, Value::Name(C_ORDER | FORTRAN_ORDER)] => {
                self.claim(blob, shape, float)?;
                Ok(Value::BufferArgs(blob))
            }
            _ => none(),
        }
    }

    /// Gives the bytes their type, after checking that they are as many as the shape needs.
    fn claim(&mut self, blob: u32, shape: Value, float: FloatType) -> Result<(), String> {
        let dim = match shape {
            Value::Length(dim) | Value::Pair { rows: 1, columns: dim } => dim,
            Value::Pair { rows, columns } => {
                return Err(format!(
                    "an array of shape ({rows}, {columns}), expected one vector: (d,) or (1, d)"
                ));
            }
            other => {
                return Err(format!(
                    "{} as the shape of an array, expected (d,) or (1, d)",
                    other.describe()
                ));
            }
        };
        if dim == 0 {
            return Err("an array of 0 values".to_string());
        }
        let blob = &mut self.blobs[blob as usize];
        let needed = u64::from(dim) * float.size() as u64;
        if u64::from(blob.length) != needed {
            return Err(format!(
                "an array of {dim} {} values needs {needed} bytes, found {}",
                float, blob.length
            ));
        }
        // An array keeps its type here: the same bytes under two types would change one array behind its back.
        match blob.float.replace(float) {
            Some(other) if other != float => Err(format!("the same bytes as {} and as {}", other, float)),
            _ => Ok(()),
        }
    }

    /// What REDUCE makes of a known global and its arguments.
    ///
    /// # Errors
    ///
    /// What was called with what, where it is not one of the calls that make an array.
    pub(super) fn reduce(&mut self, callee: Value, args: Value) -> Result<Value, String> {
        match (callee, args) {
            (Value::Global(Global::Reconstruct), Value::ReconstructArgs) => self.array(UNBUILT),
            (Value::Global(Global::FromBuffer), Value::BufferArgs(blob)) => self.array(blob),
            (Value::Global(Global::Dtype), Value::DtypeArgs(float)) => Ok(Value::Dtype(float)),
            (Value::Global(Global::Encode), Value::EncodeArgs) => Ok(Value::Encoded),
            (callee, args) => Err(format!(
                "a call of {} with {}, which makes no vector of floats",
                callee.describe(),
                args.describe()
            )),
        }
    }

    /// What BUILD does to an array or a dtype.
    ///
    /// # Errors
    ///
    /// Where anything else is built, or an array twice.
    pub(super) fn build(&mut self, target: Value, state: Value) -> Result<(), String> {
        match (target, state) {
            (Value::Dtype(_), Value::DtypeState) => Ok(()),
            (Value::Array(array), Value::ArrayState(blob)) => {
                let array = &mut self.arrays[array as usize];
                if *array != UNBUILT {
                    return Err("an array that is filled twice".to_string());
                }
                *array = blob;
                Ok(())
            }
            (target, state) => Err(format!(
                "{} filled with {}, which makes no vector of floats",
                target.describe(),
                state.describe()
            )),
        }
    }
}

/// A flag of NumPy's: `False` and `True`, or `0` and `1` from old versions.
pub(super) fn is_switch(value: Value) -> bool {
    matches!(value, Value::Bool(_)) || matches!(value.int(), Some(0 | 1))
}

/// The next number of a collection; [`UNBUILT`] is never one.
pub(super) fn number(length: usize) -> Result<u32, String> {
    match u32::try_from(length) {
        Ok(number) if number != UNBUILT => Ok(number),
        _ => Err(format!("more than {} objects of one kind", UNBUILT)),
    }
}
