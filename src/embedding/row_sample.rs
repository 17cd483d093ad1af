use std::ops::Range;

use rand::RngExt;

use crate::random::seeded_rng;

/// A stratified sample: the rows are cut into as many runs of equal length as are asked for, and one row is drawn from
/// each. The sample is spread evenly over the store, and depends on the seed only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowSample {
    rows: usize,
    size: usize,
    seed: u64,
}

impl RowSample {
    /// A sample of `size` of `rows` rows; all of them, where it asks for more.
    pub fn new(rows: usize, size: usize, seed: u64) -> Self {
        Self { rows, size: size.min(rows), seed }
    }

    /// The rows of the sample within a range of rows, in order.
    pub fn within(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        let (rows, size) = (self.rows as u128, self.size as u128);
        // The runs that touch the range: run i begins at row i rows / size.
        let first = (range.start as u128 * size / rows.max(1)) as usize;
        let last = ((range.end as u128 * size).div_ceil(rows.max(1)) as usize).min(self.size);
        let (this, wanted) = (*self, range);
        (first..last).map(move |run| this.draw(run)).filter(move |row| wanted.contains(row))
    }

    fn draw(&self, run: usize) -> usize {
        let begin = |run: usize| (run as u128 * self.rows as u128 / self.size as u128) as usize;
        let (begin, end) = (begin(run), begin(run + 1));
        begin + seeded_rng(self.seed, &[run as u64]).random_range(0..end - begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_gives_one_row_however_the_rows_are_cut() {
        for (rows, size) in [(10, 3), (1000, 1000), (1000, 999), (7, 20), (100_000, 17)] {
            let sample = RowSample::new(rows, size, 5);
            let whole: Vec<usize> = sample.within(0..rows).collect();
            assert_eq!(whole.len(), size.min(rows));
            assert!(whole.is_sorted_by(|a, b| a < b));
            for piece in [1, 3, 256] {
                let cut = (0..rows).step_by(piece).flat_map(|at| sample.within(at..rows.min(at + piece)));
                assert_eq!(cut.collect::<Vec<_>>(), whole);
            }
        }
        assert_ne!(
            RowSample::new(1000, 10, 1).within(0..1000).collect::<Vec<_>>(),
            RowSample::new(1000, 10, 2).within(0..1000).collect::<Vec<_>>()
        );
    }
}
