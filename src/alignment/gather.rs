//! Moments of the rows of a store, in bounded memory.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::embedding::{
    BLOCK_ROWS, BytesMoved, NonFinite, Progress, RawRows, RowReport, RowSample, Store, Terms,
    check_cancelled, pipeline,
};
use crate::geometry::Moments;

/// How the rows of a store are gathered.
pub(super) struct Gather<'a> {
    /// What to do with rows without direction.
    pub policy: NonFinite,
    /// The number of threads; as many as the machine has cores by default.
    pub threads: Option<usize>,
    /// Rows that are read at once.
    pub piece_rows: usize,
    /// What is told how far it has come.
    pub progress: &'a dyn Progress,
}

impl Default for Gather<'_> {
    fn default() -> Self {
        Self { policy: NonFinite::default(), threads: None, piece_rows: BLOCK_ROWS, progress: &() }
    }
}

/// What was gathered.
pub(super) struct Gathered {
    /// The moments.
    pub moments: Moments,
    /// What became of the rows.
    pub rows: RowReport,
    /// What was read.
    pub bytes: BytesMoved,
}

impl Gather<'_> {
    /// Merges the moments that `block` makes of fixed blocks of rows, in their order; of the rows of a sample only, where
    /// there is one.
    pub fn run(
        &self,
        store: &Store,
        stage: &str,
        sample: Option<RowSample>,
        block: impl Fn(RawRows<'_>, Terms<'_>) -> Result<(Moments, RowReport)> + Sync,
    ) -> Result<Gathered> {
        let progress = self.progress;
        let read = AtomicU64::new(0);
        progress.begin(stage, store.len());
        let mut pieces = store.pieces(self.piece_rows);
        let (mut moments, mut report) = (Moments::new(store.dim()), RowReport::default());
        let mut seen = 0;
        pipeline::run(
            self.threads.unwrap_or_else(pipeline::available_threads).max(1),
            Vec::new,
            |bytes| {
                check_cancelled(progress)?;
                let piece = pieces.next(bytes)?;
                let first = seen;
                seen += piece.as_ref().map_or(0, |piece| piece.rows.len());
                Ok(piece.map(|piece| (first, piece)))
            },
            |bytes, (first, piece)| {
                let what = piece.shard.path().to_string_lossy();
                let terms = Terms { policy: self.policy, what: &what, first: piece.rows.start };
                let rows = piece.rows.len();
                let count = || read.fetch_add((rows * piece.shard.row_bytes()) as u64, Ordering::Relaxed);
                let part = match &sample {
                    None => {
                        count();
                        block(piece.read(bytes)?, terms)?
                    }
                    Some(sample) => {
                        // One at a time, so that an error names the right row.
                        let mut part = (Moments::new(piece.shard.dim()), RowReport::default());
                        let chosen: Vec<usize> = sample.within(first..first + rows).collect();
                        if !chosen.is_empty() {
                            count();
                            let all = piece.read(bytes)?;
                            for row in chosen {
                                let row = row - first;
                                let terms = Terms { first: terms.first + row, ..terms };
                                let (moments, report) = block(all.part(row..row + 1), terms)?;
                                part.0.merge(&moments)?;
                                part.1.merge(&report);
                            }
                        }
                        part
                    }
                };
                progress.advance(rows);
                Ok(part)
            },
            |(part, rows)| {
                report.merge(&rows);
                moments.merge(&part)
            },
        )?;
        Ok(Gathered { moments, rows: report, bytes: BytesMoved { read: read.into_inner(), written: 0 } })
    }
}
