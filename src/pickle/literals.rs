//! Literals of the file, read again at the place of their opcode.

use std::io::{Read, Seek};

use super::{Fault, Source, opcode};

/// Puts the text whose opcode stands at `place` into `text`, at most `limit` bytes of it, and returns the
/// length of the whole.
///
/// # Errors
///
/// [`Fault::Format`] where there is no text, [`Fault::End`] where it goes beyond the file.
pub(crate) fn read_text<R: Read + Seek>(
    source: &mut Source<R>,
    place: u64,
    limit: usize,
    text: &mut Vec<u8>,
) -> Result<u64, Fault> {
    let head = source.length().saturating_sub(place).min(9) as usize;
    source.read_at(place, head, text)?;
    let (prefix, length) = match *text.as_slice() {
        [opcode::SHORT_BINUNICODE, length, ..] => (2, length.into()),
        [opcode::BINUNICODE, a, b, c, d, ..] => (5, u32::from_le_bytes([a, b, c, d]).into()),
        [opcode::BINUNICODE8, a, b, c, d, e, f, g, h] => (9, u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        _ => return Err(Fault::Format(format!("no text at byte {place}: the file has changed"))),
    };
    let kept = usize::try_from(length).map_or(limit, |length| length.min(limit));
    source.read_at(place + prefix, kept, text)?;
    Ok(length)
}

/// A little-endian number in two's complement, of at most eight bytes; none at all are 0.
pub(crate) fn int_of(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// The whole number of up to 64 bits whose opcode stands at `place`.
///
/// # Errors
///
/// [`Fault::Format`] where there is none, [`Fault::End`] where it goes beyond the file.
pub(crate) fn read_long<R: Read + Seek>(source: &mut Source<R>, place: u64) -> Result<i64, Fault> {
    let mut bytes = Vec::new();
    source.read_at(place, 2, &mut bytes)?;
    let [opcode::LONG1, length @ ..=8] = *bytes.as_slice() else {
        return Err(Fault::Format(format!("no whole number at byte {place}: the file has changed")));
    };
    source.read_at(place + 2, length.into(), &mut bytes)?;
    Ok(int_of(&bytes))
}

/// The floating-point number whose opcode stands at `place`.
///
/// # Errors
///
/// [`Fault::Format`] where there is none, [`Fault::End`] where it goes beyond the file.
pub(crate) fn read_float<R: Read + Seek>(source: &mut Source<R>, place: u64) -> Result<f64, Fault> {
    let mut bytes = Vec::new();
    source.read_at(place, 9, &mut bytes)?;
    match *bytes.as_slice() {
        // The one number of the format that stands with its highest byte first.
        [opcode::BINFLOAT, a, b, c, d, e, f, g, h] => Ok(f64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => Err(Fault::Format(format!("no number at byte {place}: the file has changed"))),
    }
}
