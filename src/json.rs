//! JSON as it is found in files: read where what is meant is plain, and what was mended is counted.
//!
//! Python writes `NaN` and `Infinity`, which JSON does not have, and cuts pairs of surrogates in two (`"\ud83d"`), which
//! no text has; programs on Windows put a byte order mark before the first character. Files of tens of millions of lines
//! have some of these, and a reader that stops there is of no use. Anything else that is not JSON is an error.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::ops::AddAssign;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What JSON does not allow and was read nevertheless, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// Byte order marks at the beginning of a file, passed over.
    pub byte_order_marks: usize,
    /// Halves of surrogate pairs, in place of which U+FFFD is read.
    pub surrogates: usize,
    /// `NaN`, `Infinity` and `-Infinity`, in place of which `null` is read.
    pub not_numbers: usize,
}

impl Mended {
    /// Whether nothing had to be mended.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The larger of the two numbers of each kind: what two readings of one file have found.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            byte_order_marks: self.byte_order_marks.max(other.byte_order_marks),
            surrogates: self.surrogates.max(other.surrogates),
            not_numbers: self.not_numbers.max(other.not_numbers),
        }
    }
}

impl AddAssign for Mended {
    fn add_assign(&mut self, other: Self) {
        self.byte_order_marks += other.byte_order_marks;
        self.surrogates += other.surrogates;
        self.not_numbers += other.not_numbers;
    }
}

/// One line for people; empty where nothing was mended.
impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.byte_order_marks, "byte order marks passed over"),
            (self.surrogates, "lone surrogates read as U+FFFD"),
            (self.not_numbers, "NaN or infinities read as null"),
        ];
        let found = kinds.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = found.map(|(count, what)| format!("{count} {what}")).collect();
        f.pad(&told.join(", "))
    }
}

/// The lines of a file that are not blank, in one buffer.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// The number of the line, counted from one.
    number: usize,
    /// What was mended so far; [`parse`] adds to it.
    pub mended: Mended,
}

impl<R: Read> Lines<R> {
    pub fn new(file: R) -> Self {
        let reader = BufReader::with_capacity(1 << 18, file);
        Self { reader, line: Vec::new(), number: 0, mended: Mended::default() }
    }

    /// The next line with its number, counted from one, and where to count what is mended of it.
    ///
    /// # Errors
    ///
    /// Those of the reader, and [`ErrorKind::InvalidData`] where a line is no UTF-8; the number is that of the line.
    pub fn next(&mut self) -> Option<(usize, io::Result<&str>, &mut Mended)> {
        loop {
            self.line.clear();
            self.number += 1;
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some((self.number, Err(error), &mut self.mended)),
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
                self.mended.byte_order_marks += 1;
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let text = str::from_utf8(&self.line).map(|line| line.trim_end_matches(['\n', '\r']));
        let utf16 =
            self.number == 1 && (self.line.starts_with(b"\xff\xfe") || self.line.starts_with(b"\xfe\xff"));
        let text = text.map_err(|error| match utf16 {
            true => io::Error::new(ErrorKind::InvalidData, "this is UTF-16; save the file as UTF-8"),
            false => io::Error::new(ErrorKind::InvalidData, format!("no UTF-8: {error}")),
        });
        Some((self.number, text, &mut self.mended))
    }
}

/// Reads a value; where that fails, once more with everything mended that can be, which is counted in `mended`.
///
/// # Errors
///
/// Those of `serde_json`.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8], mended: &mut Mended) -> serde_json::Result<T> {
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(error) => {
            let Some((text, found)) = mend(text) else { return Err(error) };
            let value = serde_json::from_slice(&text)?;
            *mended += found;
            Ok(value)
        }
    }
}

/// The text with everything mended that can be, where there is something.
fn mend(text: &[u8]) -> Option<(Vec<u8>, Mended)> {
    let (mut new, mut found, mut at) = (Vec::with_capacity(text.len()), Mended::default(), 0);
    if text.starts_with(BYTE_ORDER_MARK) {
        (found.byte_order_marks, at) = (1, BYTE_ORDER_MARK.len());
    }
    let mut quoted = false;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let length = match byte {
            b'\\' if quoted => match surrogate(rest) {
                Some(0xD800..0xDC00) if matches!(rest.get(6..).and_then(surrogate), Some(0xDC00..0xE000)) => {
                    12
                }
                Some(0xD800..0xE000) => {
                    found.surrogates += 1;
                    new.extend(b"\\ufffd");
                    at += 6;
                    continue;
                }
                _ => 2,
            },
            b'"' => {
                quoted = !quoted;
                1
            }
            b'N' | b'I' | b'-' if !quoted => match not_a_number(rest) {
                Some(length) => {
                    found.not_numbers += 1;
                    new.extend(b"null");
                    at += length;
                    continue;
                }
                None => 1,
            },
            _ => 1,
        };
        let end = (at + length).min(text.len());
        new.extend(&text[at..end]);
        at = end;
    }
    (!found.is_empty()).then_some((new, found))
}

/// The code unit of an escape `\uXXXX` at the beginning of a text.
fn surrogate(text: &[u8]) -> Option<u16> {
    let digits = text.get(..6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The length of a word at the beginning of a text that Python writes for a float that JSON does not have.
fn not_a_number(text: &[u8]) -> Option<usize> {
    [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| text.starts_with(word)).map(<[u8]>::len)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> (Result<Value, String>, Mended) {
        let mut mended = Mended::default();
        let value = parse(text.as_bytes(), &mut mended).map_err(|error| error.to_string());
        (value, mended)
    }

    #[test]
    fn what_python_writes_is_read_and_counted() {
        // json.dumps({"a": [nan, inf, -inf, 1.5], "NaN": "NaN \\ Infinity \""}) and a caption that was cut in a pair.
        let text = r#"{"a": [NaN, Infinity, -Infinity, 1.5], "NaN": "NaN \\ Infinity \"", "c": "\ud83d\ude00 \ud83d!"}"#;
        let expected = json!({
            "a": [null, null, null, 1.5], "NaN": "NaN \\ Infinity \"", "c": "\u{1f600} \u{fffd}!",
        });
        let mended = Mended { byte_order_marks: 0, surrogates: 1, not_numbers: 3 };
        assert_eq!(read(text), (Ok(expected), mended));
        let told = "1 lone surrogates read as U+FFFD, 3 NaN or infinities read as null";
        assert_eq!(mended.to_string(), told);
        for (text, units) in
            [(r#""\ude00""#, 1), (r#""\ud83d\ud83d\ude00""#, 1), (r#""\uD83D\u0041\udfff""#, 2)]
        {
            let (value, mended) = read(text);
            assert!(value.unwrap().as_str().unwrap().contains('\u{fffd}'), "{text}");
            assert_eq!(mended.surrogates, units, "{text}");
        }
    }

    #[test]
    fn plain_json_is_not_touched_and_the_rest_is_refused() {
        let text = r#"{"a": "\ud83d\ude00 \\ud83d Infinity", "b": [1, -2.5e3, null]}"#;
        assert_eq!(read(text), (Ok(serde_json::from_str(text).unwrap()), Mended::default()));
        for text in
            ["{\"a\": nan}", "{\"a\": -}", "{\"a\": NaN", "{\"a\": NaNs}", "\"\\ud8", "\"\\ud83", "", "\\"]
        {
            assert!(read(text).0.is_err(), "{text}");
            assert!(read(text).1.is_empty(), "{text}: nothing was read");
        }
    }

    #[test]
    fn lines_have_their_numbers_and_a_mark_is_passed_over() {
        let mut lines = Lines::new(&b"\xef\xbb\xbf{\"a\": 1}\r\n\n  \n{\"a\": NaN}\n\"\xff\"\n7"[..]);
        let mut found = Vec::new();
        while let Some((number, line, mended)) = lines.next() {
            let value = line.map(|line| parse::<Value>(line.as_bytes(), mended).unwrap());
            found.push((number, value.map_err(|error| error.kind())));
        }
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], (1, Ok(json!({"a": 1}))));
        assert_eq!(found[1], (4, Ok(json!({"a": null}))));
        assert_eq!(found[2], (5, Err(ErrorKind::InvalidData)));
        assert_eq!(found[3], (6, Ok(json!(7))));
        assert_eq!(lines.mended, Mended { byte_order_marks: 1, surrogates: 0, not_numbers: 1 });
    }

    #[test]
    fn other_encodings_are_named() {
        let utf16: Vec<u8> = "\u{feff}{\"id\": 1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut lines = Lines::new(utf16.as_slice());
        let (_, line, _) = lines.next().unwrap();
        assert!(line.unwrap_err().to_string().contains("UTF-16"));
    }
}
