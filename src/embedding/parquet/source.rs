use std::fs::File;
use std::io::{BufReader, Read};

use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};

/// The longest page, uncompressed, that is believed whatever its compressed length.
const PLAIN_LIMIT: u64 = 64 << 20;
/// How many bytes one compressed byte may stand for in a longer page; Deflate reaches 1032.
const RATIO_LIMIT: u64 = 1100;
/// A page header starts with three numbers, each a byte of type and at most five of value.
const SIZES_LENGTH: usize = 18;

/// A file of which only the pages are read, and no page before its sizes are found credible.
///
/// The Parquet library reserves memory for the size that a page claims to have when uncompressed. A damaged header
/// may claim 2 GiB in a file of a few bytes.
pub(super) struct PageSource {
    file: File,
    length: u64,
    /// Whether pages are read whole, header and all, since an index of the file says where they lie.
    whole_pages: bool,
}

impl PageSource {
    pub(super) fn new(file: File) -> std::io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length, whole_pages: false })
    }

    /// As [`PageSource::new`], for a reader that knows from an index where every page lies.
    pub(super) fn of_whole_pages(file: File) -> std::io::Result<Self> {
        Ok(Self { whole_pages: true, ..Self::new(file)? })
    }
}

impl Length for PageSource {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for PageSource {
    type T = BufReader<File>;

    /// Called where a page header starts.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut start_of_header = Vec::with_capacity(SIZES_LENGTH);
        self.file.get_read(start)?.take(SIZES_LENGTH as u64).read_to_end(&mut start_of_header)?;
        check_sizes(start, &start_of_header)?;
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            let detail = format!("expected {length} bytes at byte {start}, the file has {}", self.length);
            return Err(ParquetError::EOF(detail));
        }
        let bytes = self.file.get_bytes(start, length)?;
        if self.whole_pages {
            check_sizes(start, &bytes[..SIZES_LENGTH.min(length)])?;
        }
        Ok(bytes)
    }
}

/// Refuses the page at byte `start` whose header begins with these bytes, where its sizes are not credible.
fn check_sizes(start: u64, header: &[u8]) -> Result<()> {
    match page_sizes(header) {
        Some((uncompressed, compressed))
            if uncompressed > PLAIN_LIMIT.max(compressed.saturating_mul(RATIO_LIMIT)) =>
        {
            Err(ParquetError::General(format!(
                "the page at byte {start} claims that its {compressed} bytes stand for {uncompressed}"
            )))
        }
        _ => Ok(()),
    }
}

/// The uncompressed and compressed size in the first bytes of a page header, a Thrift structure whose fields 1 to 3
/// are 32-bit numbers: type, uncompressed size, compressed size. `None` for what the library has to judge.
fn page_sizes(header: &[u8]) -> Option<(u64, u64)> {
    const NEXT_FIELD_I32: u8 = 0x15;
    let mut bytes = header.iter().copied();
    let mut number = || -> Option<u64> {
        if bytes.next()? != NEXT_FIELD_I32 {
            return None;
        }
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // Zigzag: even numbers are the non-negative ones.
                return (value & 1 == 0).then_some(value >> 1);
            }
        }
        None
    };
    number()?;
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::page_sizes;

    #[test]
    fn sizes_are_read_from_the_start_of_a_header() {
        assert_eq!(page_sizes(&[0x15, 0, 0x15, 0x80, 0x02, 0x15, 6]), Some((128, 3)));
        assert_eq!(page_sizes(&[0x15, 0, 0x15, 0x80, 0x02, 0x15]), None, "cut off");
        assert_eq!(page_sizes(&[0x15, 0, 0x15, 1, 0x15, 6]), None, "negative");
        assert_eq!(page_sizes(&[0x25, 0, 0x15, 2, 0x15, 6]), None, "other fields");
    }
}
