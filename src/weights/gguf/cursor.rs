use std::fmt::Arguments;
use std::fs::File;
use std::path::Path;

use crate::embedding::positioned::read_at;
use crate::{Error, Result};

const BUFFER: u64 = 1 << 16;

/// A position in the header of a file that advances with what is read.
///
/// Every method takes `what` it reads, for the error where the file is too short; the text is only formatted then.
pub(super) struct Cursor<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    /// The position of the next byte to be buffered.
    ahead: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of a file of `length` bytes.
    pub(super) fn new(path: &'a Path, file: &'a File, length: u64) -> Self {
        Self { path, file, length, ahead: 0, buffer: Vec::new(), used: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> u64 {
        self.ahead - (self.buffer.len() - self.used) as u64
    }

    /// An error about the file.
    pub(super) fn wrong(&self, detail: impl Into<String>) -> Error {
        Error::format(self.path, detail)
    }

    /// Fills `bytes`.
    pub(super) fn fill(&mut self, mut bytes: &mut [u8], what: Arguments<'_>) -> Result<()> {
        let left = self.length - self.position();
        if bytes.len() as u64 > left {
            return Err(self.wrong(format!(
                "{what}: expected {} bytes at byte {}, found {left} up to the end of the file",
                bytes.len(),
                self.position()
            )));
        }
        while !bytes.is_empty() {
            if self.used == self.buffer.len() {
                let size = BUFFER.min(self.length - self.ahead);
                self.buffer.resize(size as usize, 0);
                read_at(self.file, &mut self.buffer, self.ahead)
                    .map_err(|source| Error::io(self.path, source))?;
                self.ahead += size;
                self.used = 0;
            }
            let count = bytes.len().min(self.buffer.len() - self.used);
            let (now, later) = bytes.split_at_mut(count);
            now.copy_from_slice(&self.buffer[self.used..self.used + count]);
            self.used += count;
            bytes = later;
        }
        Ok(())
    }

    /// As many bytes as an array holds.
    pub(super) fn bytes<const N: usize>(&mut self, what: Arguments<'_>) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// Four bytes as a number.
    pub(super) fn u32(&mut self, what: Arguments<'_>) -> Result<u32> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    /// Eight bytes as a number.
    pub(super) fn u64(&mut self, what: Arguments<'_>) -> Result<u64> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    /// A count of things that take at least `size` bytes each; an error where so many do not fit into the file.
    pub(super) fn count(&mut self, size: u64, what: Arguments<'_>) -> Result<usize> {
        let count = self.u64(what)?;
        self.check_count(count, size, what)
    }

    /// `count` as a size in memory, or an error where so many things of `size` bytes do not fit into the file.
    pub(super) fn check_count(&self, count: u64, size: u64, what: Arguments<'_>) -> Result<usize> {
        let left = self.length - self.position();
        let most = left / size;
        usize::try_from(count).ok().filter(|_| count <= most).ok_or_else(|| {
            self.wrong(format!("{what}: found {count}, expected at most {most} with {left} bytes left"))
        })
    }

    /// A length and as many bytes of UTF-8, appended to `text`.
    pub(super) fn push_string(&mut self, text: &mut String, what: Arguments<'_>) -> Result<()> {
        let length = self.count(1, format_args!("the length of {what}"))?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, what)?;
        let new = std::str::from_utf8(&bytes)
            .map_err(|error| self.wrong(format!("{what}: expected UTF-8, found {error}")))?;
        text.push_str(new);
        Ok(())
    }

    /// A length and as many bytes of UTF-8.
    pub(super) fn string(&mut self, what: Arguments<'_>) -> Result<String> {
        let mut text = String::new();
        self.push_string(&mut text, what)?;
        Ok(text)
    }
}
