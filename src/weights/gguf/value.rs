use std::fmt::Arguments;

use super::cursor::Cursor;
use crate::Result;

/// Arrays may hold arrays; real files nest none or one, and unbounded nesting would exhaust the stack.
const MAX_DEPTH: usize = 4;

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Strings in one piece of memory, so that many short ones take no more of it than they do in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Strings {
    /// The number of strings.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.text[start..end])
    }

    /// All strings in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> FromIterator<&'a str> for Strings {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        texts.into_iter().fold(Self::default(), |mut strings, text| {
            strings.text.push_str(text);
            strings.ends.push(strings.text.len());
            strings
        })
    }
}

macro_rules! values {
    ($($code:literal $name:ident $type:ty, $doc:literal;)*) => {
        /// A value of the metadata.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Value {
            $(#[doc = $doc] $name($type),)*
            /// UTF-8 text.
            String(String),
            /// Values of one type.
            Array(Array),
        }

        /// Values of one type.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Array {
            $(#[doc = $doc] $name(Vec<$type>),)*
            /// UTF-8 texts.
            String(Strings),
            /// Arrays.
            Nested(Vec<Array>),
        }

        impl Value {
            /// The number of the type.
            pub(super) fn code(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $code,)*
                    Self::String(_) => STRING,
                    Self::Array(_) => ARRAY,
                }
            }

            /// Puts the value behind `bytes` as it is stored.
            pub(super) fn put(&self, bytes: &mut Vec<u8>) {
                match self {
                    $(Self::$name(value) => value.put(bytes),)*
                    Self::String(text) => put_string(text, bytes),
                    Self::Array(array) => array.put(bytes),
                }
            }

            pub(super) fn read(cursor: &mut Cursor<'_>, code: u32, what: Arguments<'_>) -> Result<Self> {
                Ok(match code {
                    $($code => Self::$name(<$type as Scalar>::read(cursor, what)?),)*
                    STRING => Self::String(cursor.string(what)?),
                    ARRAY => Self::Array(Array::read(cursor, MAX_DEPTH, what)?),
                    _ => return Err(unknown_type(cursor, code, what)),
                })
            }
        }

        impl Array {
            /// The number of values.
            pub(crate) fn len(&self) -> usize {
                match self {
                    $(Self::$name(values) => values.len(),)*
                    Self::String(values) => values.len(),
                    Self::Nested(values) => values.len(),
                }
            }

            /// The name of the values' type.
            pub(crate) fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($type),)*
                    Self::String(_) => "string",
                    Self::Nested(_) => "array",
                }
            }

            fn put(&self, bytes: &mut Vec<u8>) {
                let code: u32 = match self {
                    $(Self::$name(_) => $code,)*
                    Self::String(_) => STRING,
                    Self::Nested(_) => ARRAY,
                };
                bytes.extend(code.to_le_bytes());
                bytes.extend((self.len() as u64).to_le_bytes());
                match self {
                    $(Self::$name(values) => values.iter().for_each(|value| value.put(bytes)),)*
                    Self::String(texts) => texts.iter().for_each(|text| put_string(text, bytes)),
                    Self::Nested(arrays) => arrays.iter().for_each(|array| array.put(bytes)),
                }
            }

            fn read(cursor: &mut Cursor<'_>, depth_left: usize, what: Arguments<'_>) -> Result<Self> {
                let code = cursor.u32(format_args!("the element type of {what}"))?;
                let count = cursor.u64(format_args!("the number of elements of {what}"))?;
                Ok(match code {
                    $($code => Self::$name(scalars(cursor, count, what)?),)*
                    STRING => Self::String(strings(cursor, count, what)?),
                    ARRAY if depth_left == 0 => {
                        return Err(cursor.wrong(format!(
                            "{what}: arrays in arrays, expected at most {MAX_DEPTH} levels of them, found more"
                        )));
                    }
                    ARRAY => Self::Nested(arrays(cursor, count, depth_left - 1, what)?),
                    _ => return Err(unknown_type(cursor, code, what)),
                })
            }
        }
    };
}

values! {
    0 U8 u8, "8 bits without sign.";
    1 I8 i8, "8 bits with sign.";
    2 U16 u16, "16 bits without sign.";
    3 I16 i16, "16 bits with sign.";
    4 U32 u32, "32 bits without sign.";
    5 I32 i32, "32 bits with sign.";
    6 F32 f32, "32-bit floating point.";
    7 Bool bool, "A Boolean.";
    10 U64 u64, "64 bits without sign.";
    11 I64 i64, "64 bits with sign.";
    12 F64 f64, "64-bit floating point.";
}

/// A value of fixed size.
trait Scalar: Sized {
    fn read(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Result<Self>;

    fn put(&self, bytes: &mut Vec<u8>);
}

/// A length and as many bytes.
pub(super) fn put_string(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Scalar for $type {
            fn read(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Result<Self> {
                Ok(Self::from_le_bytes(cursor.bytes(what)?))
            }

            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        })*
    };
}

numbers!(u8 i8 u16 i16 u32 i32 f32 u64 i64 f64);

impl Scalar for bool {
    fn read(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Result<Self> {
        match cursor.bytes(what)? {
            [0u8] => Ok(false),
            [1] => Ok(true),
            [other] => Err(cursor.wrong(format!("{what}: expected a Boolean, 0 or 1, found {other}"))),
        }
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }
}

fn scalars<T: Scalar>(cursor: &mut Cursor<'_>, count: u64, what: Arguments<'_>) -> Result<Vec<T>> {
    let count = cursor.check_count(count, size_of::<T>() as u64, format_args!("the length of {what}"))?;
    let mut values = Vec::with_capacity(count);
    for index in 0..count {
        values.push(T::read(cursor, format_args!("element {index} of {what}"))?);
    }
    Ok(values)
}

fn strings(cursor: &mut Cursor<'_>, count: u64, what: Arguments<'_>) -> Result<Strings> {
    // Its length alone takes a string 8 bytes of the file, as many as the end that is kept here.
    let count = cursor.check_count(count, 8, format_args!("the length of {what}"))?;
    let mut strings = Strings { text: String::new(), ends: Vec::with_capacity(count) };
    for index in 0..count {
        cursor.push_string(&mut strings.text, format_args!("element {index} of {what}"))?;
        strings.ends.push(strings.text.len());
    }
    Ok(strings)
}

fn arrays(cursor: &mut Cursor<'_>, count: u64, depth_left: usize, what: Arguments<'_>) -> Result<Vec<Array>> {
    let count = cursor.check_count(count, 12, format_args!("the length of {what}"))?;
    // An array takes more memory than an empty one takes of the file, so none is asked for in advance.
    let mut values = Vec::new();
    for index in 0..count {
        values.push(Array::read(cursor, depth_left, format_args!("element {index} of {what}"))?);
    }
    Ok(values)
}

fn unknown_type(cursor: &Cursor<'_>, code: u32, what: Arguments<'_>) -> crate::Error {
    cursor.wrong(format!("{what}: expected a value type from 0 to 12, found {code}"))
}
