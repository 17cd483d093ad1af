//! The file, seen through a window that moves forward.

use std::io::{self, Read, Seek, SeekFrom};

use super::Fault;

/// Larger windows leave the processor's cache, smaller ones cost a system call more often: 64 to 128 KiB are the
/// fastest, a third faster than 1 MiB.
const WINDOW: usize = 128 * 1024;

/// Payloads below this are read through: to seek over each row of a few KiB takes twice as long as to copy it.
const SEEK_FROM: u64 = 64 * 1024;

/// A seekable stream of known length, read through a window.
///
/// The stream itself always stands behind the last byte of the window.
pub(crate) struct Source<R> {
    inner: R,
    length: u64,
    window: Box<[u8]>,
    /// Where in the file the window begins.
    start: u64,
    filled: usize,
    next: usize,
}

impl<R: Read + Seek> Source<R> {
    /// Starts at the first byte.
    ///
    /// # Errors
    ///
    /// [`Fault::Io`] where the stream cannot seek.
    pub(crate) fn new(inner: R) -> Result<Self, Fault> {
        Self::with_window(inner, WINDOW)
    }

    /// As [`Source::new`], with a window of so many bytes instead of the usual one.
    pub(crate) fn with_window(mut inner: R, window: usize) -> Result<Self, Fault> {
        let length = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(0))?;
        // Small files, and tests with many of them, need no window beyond their own size.
        let size = usize::try_from(length).map_or(window, |length| length.clamp(1, window));
        let window = vec![0; size].into_boxed_slice();
        Ok(Self { inner, length, window, start: 0, filled: 0, next: 0 })
    }

    /// The bytes in the whole file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The offset of the next byte.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.start + self.next as u64
    }

    /// The bytes from here to the end of the file.
    #[inline]
    pub(crate) fn left(&self) -> u64 {
        self.length.saturating_sub(self.position())
    }

    /// The next `N` bytes, at most 16.
    ///
    /// # Errors
    ///
    /// [`Fault::End`] where the file has fewer, [`Fault::Io`] where it cannot be read.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        const { assert!(N <= 16) };
        if let Some(bytes) = self.window[self.next..self.filled].first_chunk::<N>() {
            self.next += N;
            return Ok(*bytes);
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.bytes(N)?);
        Ok(bytes)
    }

    /// The next `count` bytes, which must fit into the window; no caller asks for more than a few hundred.
    ///
    /// # Errors
    ///
    /// Those of [`Source::array`].
    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&[u8], Fault> {
        if self.filled - self.next < count {
            self.fill(count)?;
        }
        self.next += count;
        Ok(&self.window[self.next - count..self.next])
    }

    /// Moves the unread part of the window to its front and reads on until `count` bytes are there.
    #[cold]
    fn fill(&mut self, count: usize) -> Result<(), Fault> {
        if self.left() < count as u64 || count > self.window.len() {
            return Err(Fault::End);
        }
        self.window.copy_within(self.next..self.filled, 0);
        self.start += self.next as u64;
        self.filled -= self.next;
        self.next = 0;
        while self.filled < count {
            match self.inner.read(&mut self.window[self.filled..]) {
                // The file was cut off after its length was taken.
                Ok(0) => return Err(Fault::End),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Moves on by `count` bytes without looking at them.
    ///
    /// # Errors
    ///
    /// Those of [`Source::array`].
    #[inline]
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Fault> {
        if count <= (self.filled - self.next) as u64 {
            self.next += count as usize;
            return Ok(());
        }
        self.skip_window(count)
    }

    fn skip_window(&mut self, count: u64) -> Result<(), Fault> {
        if count > self.left() {
            return Err(Fault::End);
        }
        let target = self.position() + count;
        if target - (self.start + self.filled as u64) >= SEEK_FROM {
            return self.move_to(target);
        }
        while self.start + (self.filled as u64) < target {
            self.next = self.filled;
            self.fill(1)?;
        }
        self.next = (target - self.start) as usize;
        Ok(())
    }

    fn move_to(&mut self, offset: u64) -> Result<(), Fault> {
        self.inner.seek(SeekFrom::Start(offset))?;
        self.start = offset;
        self.filled = 0;
        self.next = 0;
        Ok(())
    }

    /// Whether this place lies before the window.
    pub(crate) fn is_back(&self, offset: u64) -> bool {
        offset < self.start
    }

    /// Puts the `count` bytes at `offset` into `into`.
    ///
    /// What lies before the window is read beside it, so that a look back costs no window; what lies behind its
    /// end moves the window there. A look back leaves [`Source::position`] as it was.
    ///
    /// # Errors
    ///
    /// Those of [`Source::array`].
    pub(crate) fn read_at(&mut self, offset: u64, count: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
        into.clear();
        if self.length.checked_sub(offset).is_none_or(|left| left < count as u64) {
            return Err(Fault::End);
        }
        if offset < self.start || count > self.window.len() {
            into.resize(count, 0);
            self.inner.seek(SeekFrom::Start(offset))?;
            self.inner.read_exact(into)?;
            self.inner.seek(SeekFrom::Start(self.start + self.filled as u64))?;
            return Ok(());
        }
        if offset + count as u64 > self.start + self.filled as u64 {
            self.move_to(offset)?;
            self.fill(count)?;
        }
        let from = (offset - self.start) as usize;
        into.extend_from_slice(&self.window[from..from + count]);
        Ok(())
    }
}
