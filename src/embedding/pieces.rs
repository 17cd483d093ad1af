use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::{RawRows, Shard};
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
        Self { shards, most, shard: 0, row: 0, file: None }
    }

    /// The rows from the given one of the first shard on.
    pub fn from_row(shards: &'a [Shard], most: usize, row: usize) -> Self {
        Self { row, ..Self::new(shards, most) }
    }

    /// The next piece; `bytes` is the buffer that [`Piece::read`] will be given.
    pub fn next(&mut self, _bytes: &mut Vec<u8>) -> Result<Option<Piece<'a>>> {
        while let Some(shard) = self.shards.get(self.shard) {
            if self.row == shard.len() {
                (self.shard, self.row, self.file) = (self.shard + 1, 0, None);
                continue;
            }
            let file = match &self.file {
                Some(file) => file.clone(),
                None => self.file.insert(Arc::new(shard.file()?)).clone(),
            };
            let rows = self.row..shard.len().min(self.row + self.most);
            let piece = Piece { shard, rows: rows.clone(), file };
            self.row = rows.end;
            return Ok(Some(piece));
        }
        Ok(None)
    }
}

impl Piece<'_> {
    /// The rows of the piece, read into `bytes`.
    pub fn read<'b>(&self, bytes: &'b mut Vec<u8>) -> Result<RawRows<'b>> {
        self.shard.read_rows(&self.file, self.rows.clone(), bytes)?;
        RawRows::new(bytes, self.shard.float(), self.shard.dim())
    }
}
