use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "parquet")]
use super::parquet::ParquetRows;
use super::{RawRows, Shard};
#[cfg(feature = "parquet")]
use crate::Error;
use crate::Result;

/// The rows of shards one piece after the other. Taking a piece is cheap; reading it is the taker's work, on its own
/// thread, except where a format can only be read in order.
pub(crate) struct Pieces<'a> {
    shards: &'a [Shard],
    most: usize,
    /// The shard under way, and its next row.
    shard: usize,
    row: usize,
    file: Option<Arc<File>>,
    #[cfg(feature = "parquet")]
    encoded: Option<ParquetRows>,
}

/// Some rows of one shard.
pub(crate) struct Piece<'a> {
    pub shard: &'a Shard,
    /// The rows within the shard.
    pub rows: Range<usize>,
    file: Arc<File>,
}

impl<'a> Pieces<'a> {
    pub fn new(shards: &'a [Shard], most: usize) -> Self {
        Self {
            shards,
            most,
            shard: 0,
            row: 0,
            file: None,
            #[cfg(feature = "parquet")]
            encoded: None,
        }
    }

    /// The rows from the given one of the first shard on.
    pub fn from_row(shards: &'a [Shard], most: usize, row: usize) -> Self {
        Self { row, ..Self::new(shards, most) }
    }

    /// The next piece; `bytes` is the buffer that [`Piece::read`] will be given.
    pub fn next(
        &mut self,
        #[cfg_attr(not(feature = "parquet"), expect(unused_variables, clippy::ptr_arg))] bytes: &mut Vec<u8>,
    ) -> Result<Option<Piece<'a>>> {
        while let Some(shard) = self.shards.get(self.shard) {
            if self.row == shard.len() {
                (self.shard, self.row, self.file) = (self.shard + 1, 0, None);
                #[cfg(feature = "parquet")]
                {
                    self.encoded = None;
                }
                continue;
            }
            let file = match &self.file {
                Some(file) => file.clone(),
                None => self.file.insert(Arc::new(shard.file()?)).clone(),
            };
            let rows = self.row..shard.len().min(self.row + self.most);
            #[cfg(feature = "parquet")]
            if let Some(encoded) = shard.encoded() {
                let reader = match &mut self.encoded {
                    Some(reader) => reader,
                    None => self.encoded.insert(encoded.rows_from(self.row)?),
                };
                let read = reader.read(rows.len(), bytes)?;
                if read != rows.len() {
                    let detail = format!("expected {} rows, found {}", shard.len(), rows.start + read);
                    return Err(Error::format(shard.path(), detail));
                }
            }
            let piece = Piece { shard, rows: rows.clone(), file };
            self.row = rows.end;
            return Ok(Some(piece));
        }
        Ok(None)
    }
}

impl Piece<'_> {
    /// The rows of the piece, read into `bytes`, the buffer that [`Pieces::next`] was given.
    pub fn read<'b>(&self, bytes: &'b mut Vec<u8>) -> Result<RawRows<'b>> {
        #[cfg(feature = "parquet")]
        let is_read = self.shard.encoded().is_some();
        #[cfg(not(feature = "parquet"))]
        let is_read = false;
        if !is_read {
            self.shard.read_rows(&self.file, self.rows.clone(), bytes)?;
        }
        RawRows::new(bytes, self.shard.float(), self.shard.dim())
    }
}
