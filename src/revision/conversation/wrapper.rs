use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::entry::{KEYS, OTHER_KEYS};
use crate::json::BYTE_ORDER_MARK;
use crate::{Error, Result};

/// Bytes of a key that are kept; the keys of conversations are shorter.
const LONGEST_KEY: usize = 64;
/// Arrays whose names are kept, for an error.
const NAMED: usize = 4;

/// Where the conversations are in a file that is one object with one array, such as `{"version": 1, "data": [...]}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrapper {
    /// The place of `[` in the file.
    pub array: u64,
    /// Its line, counted from one.
    pub line: usize,
}

/// What comes next in the outermost object.
#[derive(PartialEq, Eq)]
enum Next {
    Key,
    Value,
    /// Anything up to the comma.
    Rest,
}

impl Wrapper {
    /// Goes through the first object of the file `path`, without keeping it: `None` where it is a conversation (up to its
    /// first key that says so), has no array or does not end, and where something comes after it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::Format`] where the object has several arrays.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        let io = |source| Error::io(path, source);
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let mut scan = Scan::new();
        loop {
            let buffer = reader.fill_buf().map_err(io)?;
            if buffer.is_empty() {
                break;
            }
            if !buffer.iter().all(|byte| scan.take(*byte)) {
                return Ok(None);
            }
            let taken = buffer.len();
            reader.consume(taken);
        }
        match &mut scan.arrays[..] {
            _ if !scan.closed => Ok(None),
            [] => Ok(None),
            [_] => Ok(scan.arrays.pop().map(|(_, wrapper)| wrapper)),
            several => {
                let mut names: Vec<String> =
                    several.iter().map(|(key, _)| format!("{:?}", String::from_utf8_lossy(key))).collect();
                if scan.count > names.len() {
                    names.push("...".into());
                }
                let detail = format!(
                    "expected one array of conversations, found {}: {}",
                    scan.count,
                    names.join(", ")
                );
                Err(Error::format(path, detail))
            }
        }
    }
}

/// How far the first object was read.
struct Scan {
    at: u64,
    line: usize,
    depth: usize,
    quoted: bool,
    escaped: bool,
    next: Next,
    key: Vec<u8>,
    arrays: Vec<(Vec<u8>, Wrapper)>,
    count: usize,
    closed: bool,
}

impl Scan {
    fn new() -> Self {
        Self {
            at: 0,
            line: 1,
            depth: 0,
            quoted: false,
            escaped: false,
            next: Next::Key,
            key: Vec::new(),
            arrays: Vec::new(),
            count: 0,
            closed: false,
        }
    }

    /// Takes the next byte of the file; false where it shows that the object is none around conversations.
    fn take(&mut self, byte: u8) -> bool {
        let at = self.at;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        if self.quoted {
            return self.take_quoted(byte);
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => return true,
            _ if self.closed => return false,
            _ if self.depth == 0 => {
                self.depth = usize::from(byte == b'{');
                return byte == b'{' || at < BYTE_ORDER_MARK.len() as u64 && BYTE_ORDER_MARK.contains(&byte);
            }
            b'"' => self.quoted = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        // One deeper where the byte has opened something.
        match (byte, self.depth) {
            (_, 0) => self.closed = true,
            (b',', 1) => {
                self.next = Next::Key;
                self.key.clear();
            }
            (b':', 1) if self.next == Next::Key => {
                self.next = Next::Value;
                return !self.key_is_of(&KEYS);
            }
            (b'[', 2) if self.next == Next::Value => {
                if self.key_is_of(&OTHER_KEYS) {
                    return false;
                }
                self.next = Next::Rest;
                self.count += 1;
                if self.arrays.len() < NAMED {
                    self.arrays.push((self.key.clone(), Wrapper { array: at, line: self.line }));
                }
            }
            _ if self.next == Next::Value => self.next = Next::Rest,
            _ => {}
        }
        true
    }

    fn key_is_of(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| key.as_bytes() == self.key)
    }

    fn take_quoted(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.quoted = false;
                return true;
            }
            _ => {}
        }
        if self.depth == 1 && self.next == Next::Key && self.key.len() < LONGEST_KEY {
            self.key.push(byte);
        }
        true
    }
}
