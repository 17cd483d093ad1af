//! Moments of the rows of a store, in bounded memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::host_map::unit_rows;
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
    /// Whether the blocks gather covariances.
    pub covariance: bool,
    /// What is told how far it has come.
    pub progress: &'a dyn Progress,
}

impl Default for Gather<'_> {
    fn default() -> Self {
        Self {
            policy: NonFinite::default(),
            threads: None,
            piece_rows: BLOCK_ROWS,
            covariance: false,
            progress: &(),
        }
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
        let (mut moments, mut report) = (self.empty(store.dim()), RowReport::default());
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
                        let chosen: Vec<usize> =
                            sample.within(first..first + rows).map(|row| row - first).collect();
                        match chosen.is_empty() {
                            true => (self.empty(piece.shard.dim()), RowReport::default()),
                            false => {
                                count();
                                sampled(piece.read(bytes)?, &chosen, terms, &block)?
                            }
                        }
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

    fn empty(&self, dim: usize) -> Moments {
        if self.covariance { Moments::with_covariance(dim) } else { Moments::new(dim) }
    }

    /// The unit rows of a sample of the rows of a store, `[n, d]` row-major.
    pub fn unit_sample(&self, store: &Store, stage: &str, sample: RowSample) -> Result<Vec<f32>> {
        self.progress.begin(stage, store.len());
        let (mut pieces, mut bytes, mut seen) = (store.pieces(self.piece_rows), Vec::new(), 0);
        let mut unit = Vec::new();
        while let Some(piece) = pieces.next(&mut bytes)? {
            check_cancelled(self.progress)?;
            let (first, rows) = (seen, piece.rows.len());
            seen += rows;
            let chosen: Vec<usize> = sample.within(first..seen).map(|row| row - first).collect();
            if !chosen.is_empty() {
                let what = piece.shard.path().to_string_lossy();
                let terms = Terms { policy: self.policy, what: &what, first: piece.rows.start };
                unit.extend(sampled_unit_rows(piece.read(&mut bytes)?, &chosen, terms)?);
            }
            self.progress.advance(rows);
        }
        Ok(unit)
    }
}

/// The unit rows of some of the rows, `[n, d]` row-major.
pub(super) fn sampled_unit_rows(all: RawRows<'_>, chosen: &[usize], terms: Terms<'_>) -> Result<Vec<f32>> {
    let mut unit = Vec::with_capacity(chosen.len() * all.dim());
    for &row in chosen {
        let terms = Terms { first: terms.first + row, ..terms };
        unit.extend(unit_rows(all.part(row..row + 1), terms)?.0);
    }
    Ok(unit)
}

/// The moments of some of the rows, which become a block of their own.
fn sampled(
    all: RawRows<'_>,
    chosen: &[usize],
    terms: Terms<'_>,
    block: impl Fn(RawRows<'_>, Terms<'_>) -> Result<(Moments, RowReport)>,
) -> Result<(Moments, RowReport)> {
    let bytes: Vec<u8> = chosen.iter().flat_map(|row| all.row(*row)).copied().collect();
    let together = block(RawRows::new(&bytes, all.float(), all.dim())?, terms);
    if together.is_err() {
        // One at a time, for an error with the number of its row.
        for row in chosen {
            block(all.part(*row..row + 1), Terms { first: terms.first + row, ..terms })?;
        }
    }
    together
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::Error;
    use crate::embedding::{EmbeddingTable, write_table};
    use crate::geometry::unit_moments;

    /// 1000 rows, those divisible by 7 NaN.
    fn store(folder: &std::path::Path) -> Store {
        let values: Vec<f32> = (0..3000)
            .map(|at| if at / 3 % 7 == 0 { f32::NAN } else { (at * at % 17) as f32 + 1.0 })
            .collect();
        let path = folder.join("rows.npy");
        write_table(&EmbeddingTable::numbered(values, 3).unwrap(), &path).unwrap();
        Store::open(&path).unwrap()
    }

    #[test]
    fn a_sample_goes_through_a_block_for_each_piece() {
        let folder = tempfile::tempdir().unwrap();
        let (store, sample, blocks) =
            (store(folder.path()), RowSample::new(1000, 400, 1), AtomicUsize::new(0));
        let gather = Gather { policy: NonFinite::Skip, piece_rows: 250, ..Gather::default() };
        let run = gather.run(&store, "sample", Some(sample), |rows, terms| {
            blocks.fetch_add(1, Ordering::Relaxed);
            unit_moments(rows, terms)
        });
        let gathered = run.unwrap();
        let kept = sample.within(0..1000).filter(|row| row % 7 != 0).count();
        assert_eq!((gathered.rows.rows, gathered.moments.count()), (400, kept));
        assert_eq!(blocks.into_inner(), 4, "as an accelerator wants it");
    }

    #[test]
    fn a_bad_row_of_a_sample_is_named_by_its_number_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (store, sample) = (store(folder.path()), RowSample::new(1000, 30, 5));
        let bad = sample.within(0..1000).find(|row| row % 7 == 0).unwrap();
        let error = Gather::default().run(&store, "sample", Some(sample), unit_moments).err().unwrap();
        assert!(matches!(error, Error::NonFinite { row, column: 0, .. } if row == bad), "{bad}: {error}");
    }
}
