//! The header of NumPy's `.npy` files (NumPy Enhancement Proposal 1).

use std::io::Read;
use std::path::Path;

use super::matrix::{Element, Matrix};
use super::{FloatType, StoreOptions};
use crate::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy pads so that the values begin at a multiple of 64; ours have one size whatever the shape.
const HEADER: usize = 128;

/// What the header of a file says.
#[derive(Debug)]
pub(super) struct Array {
    /// The type of the values, as NumPy calls it.
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<u64>,
    /// The byte at which the values begin.
    pub offset: u64,
}

/// Reads where the matrix of a file of `length` bytes lies, and checks that it is all there. An array without values is
/// a matrix of no rows.
pub(super) fn read_header(
    path: &Path,
    file: &mut impl Read,
    length: u64,
    options: &StoreOptions,
) -> Result<Matrix> {
    read_array(path, file, length)?.matrix(path, length, options)
}

impl Array {
    /// The matrix that it is, in a file of `length` bytes.
    pub fn matrix(&self, path: &Path, length: u64, options: &StoreOptions) -> Result<Matrix> {
        let wrong = |detail: String| Error::format(path, detail);
        let element = element(&self.descr, options).map_err(wrong)?;
        let shape = match *self.shape.as_slice() {
            [rows, dim] => [rows, dim],
            [0] => [0, 0],
            _ => {
                let shape = &self.shape;
                return Err(wrong(format!("expected a matrix [rows, dimensions], found shape {shape:?}")));
            }
        };
        if shape[1] == 0 && shape[0] > 0 {
            return Err(wrong("rows of 0 dimensions".to_string()));
        }
        element.check_scale(options).map_err(wrong)?;
        let matrix = Matrix::checked(path, element, shape, self.offset, length - self.offset)?;
        Ok(if self.fortran_order { matrix.by_columns() } else { matrix })
    }
}

/// Reads the header of a file of `length` bytes.
pub(super) fn read_array(path: &Path, file: &mut impl Read, length: u64) -> Result<Array> {
    let wrong = |detail: String| Error::format(path, detail);
    let mut start = [0; 12];
    read(path, file, &mut start[..10], "the magic string")?;
    if &start[..6] != MAGIC {
        return Err(wrong(format!(
            "not a .npy file: expected it to begin with {MAGIC:?}, found {:?}",
            &start[..6]
        )));
    }
    let (size, begin) = match start[6] {
        1 => (u64::from(u16::from_le_bytes([start[8], start[9]])), 10),
        2 | 3 => {
            read(path, file, &mut start[10..12], "the header's length")?;
            (u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]])), 12)
        }
        version => return Err(wrong(format!("expected .npy version 1, 2 or 3, found {version}"))),
    };
    let offset = begin + size;
    if offset > length {
        return Err(wrong(format!("a header up to byte {offset} in a file of {length} bytes")));
    }
    // Longer ones belong to tables of many columns.
    if size > 1 << 16 {
        return Err(wrong(format!("a header of {size} bytes is not that of one matrix")));
    }
    let mut header = vec![0; size as usize];
    read(path, file, &mut header, "the header")?;
    let header =
        String::from_utf8(header).map_err(|error| wrong(format!("the header is not text: {error}")))?;
    let Fields { descr, fortran_order, shape } =
        parse(&header).map_err(|detail| wrong(format!("header {:?}: {detail}", header.trim_end())))?;
    Ok(Array { descr, fortran_order, shape, offset })
}

fn read(path: &Path, file: &mut impl Read, bytes: &mut [u8], what: &str) -> Result<()> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::format(path, format!("the file ends within {what}")),
        _ => Error::io(path, error),
    })
}

/// The type of values that NumPy calls `descr`.
pub(super) fn element(descr: &str, options: &StoreOptions) -> Result<Element, String> {
    let untyped = |size: usize, how: &str| match options.dtype_in {
        Some(float) if float.size() == size => Ok(Element::Float(float)),
        Some(float) => {
            Err(format!("values of type {descr:?} have {size} bytes, and {float} has {}", float.size()))
        }
        None => Err(format!("values of type {descr:?}{how}")),
    };
    match descr {
        "<f2" => Ok(Element::Float(FloatType::F16)),
        "<f4" => Ok(Element::Float(FloatType::F32)),
        "<f8" => Ok(Element::Float(FloatType::F64)),
        "|i1" => Ok(Element::Int8),
        "|u1" => Ok(Element::UInt8),
        "|V2" | "<V2" => {
            untyped(2, ", which is how NumPy writes bfloat16: read them as `dtype_in` bf16 if they are")
        }
        // Bits of a type that NumPy does not have.
        "<u2" | "<i2" if options.dtype_in.is_some() => untyped(2, ""),
        _ if descr.contains('O') => {
            Err(format!("values of type {descr:?} are Python objects, which are not read"))
        }
        _ if descr.starts_with('>') => {
            Err(format!("values of type {descr:?} are big-endian; save them with .astype({:?})", &descr[1..]))
        }
        _ => Err(format!(
            "expected values of type <f2, <f4 or <f8 (or |i1, |u1 with a `scale`), found {descr:?}"
        )),
    }
}

/// The header of a matrix; as long for any shape, so that it can be written last.
pub(super) fn header(float: FloatType, [rows, dim]: [u64; 2]) -> Result<Vec<u8>> {
    let descr = match float {
        FloatType::F16 => "<f2",
        FloatType::F32 => "<f4",
        FloatType::F64 => "<f8",
        FloatType::BF16 => {
            return Err(Error::config("dtype", "a .npy file holds f16, f32 or f64, not bf16"));
        }
    };
    let dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(((HEADER - 10) as u16).to_le_bytes());
    header.extend(dictionary.as_bytes());
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    Ok(header)
}

struct Fields {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads the Python dictionary that the header is: three keys, whose values are a string, a truth value and a tuple.
fn parse(header: &str) -> Result<Fields, String> {
    let mut rest = Text(header);
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    rest.expect('{')?;
    while !rest.take('}') {
        let key = rest.string()?;
        rest.expect(':')?;
        match key {
            "descr" if rest.peek() == Some('[') => {
                return Err("a table of named columns, not a matrix".to_string());
            }
            "descr" => descr = Some(rest.string()?.to_string()),
            "fortran_order" => fortran_order = Some(rest.truth()?),
            "shape" => shape = Some(rest.tuple()?),
            _ => return Err(format!("unknown key {key:?}")),
        }
        if !rest.take(',') {
            rest.expect('}')?;
            break;
        }
    }
    if rest.peek().is_some() {
        return Err(format!("unexpected {:?} after the dictionary", rest.0.trim()));
    }
    Ok(Fields {
        descr: descr.ok_or("no key 'descr'")?,
        fortran_order: fortran_order.ok_or("no key 'fortran_order'")?,
        shape: shape.ok_or("no key 'shape'")?,
    })
}

struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn peek(&mut self) -> Option<char> {
        self.0 = self.0.trim_start();
        self.0.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.0 = &self.0[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("expected {wanted:?}, found {:?}", self.peek())) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = self.peek().filter(|quote| matches!(quote, '\'' | '"')).ok_or("expected a string")?;
        let (text, rest) = self.0[1..].split_once(quote).ok_or("a string without an end")?;
        self.0 = rest;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, String> {
        self.peek();
        for (name, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(name) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err("expected True or False".to_string())
    }

    fn tuple(&mut self) -> Result<Vec<u64>, String> {
        let mut numbers = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            self.peek();
            let digits = self.0.len() - self.0.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number = self.0[..digits].parse().map_err(|_| "expected a tuple of sizes")?;
            numbers.push(number);
            // Files of Python 2 have 3L for 3.
            self.0 = self.0[digits..].trim_start_matches('L');
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(numbers)
    }
}
