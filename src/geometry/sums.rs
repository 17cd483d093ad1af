//! The inner loop of the moments: sums about a point close to the rows.

use crate::embedding::Row;
use crate::embedding::kernel::Lane;

/// Sums of `x - shift` and of `||x - shift||^2`, where the shift is the first row.
///
/// No row of the block is further from its mean than `sqrt(n T)`, so that turning these sums into sums about the
/// mean loses at most a factor `n` of float64's precision.
pub(super) struct Sums {
    count: usize,
    shift: Vec<f64>,
    sums: Vec<f64>,
    squares: [f64; 8],
    shifted: Option<Vec<f64>>,
}

/// The moments of one block.
pub(super) struct Block {
    pub count: usize,
    pub mean: Vec<f64>,
    pub squares: f64,
    /// The rows less their mean, `[n, d]`; empty where they were not kept.
    pub centered: Vec<f64>,
}

impl Sums {
    pub fn new(dim: usize, keep_rows: bool) -> Self {
        let shifted = keep_rows.then(Vec::new);
        Self { count: 0, shift: vec![0.0; dim], sums: vec![0.0; dim], squares: [0.0; 8], shifted }
    }

    pub fn push<T: Lane>(&mut self, row: &Row<'_, T>) {
        self.start(row);
        self.keep(row);
        let shift = self.shift.iter();
        for (column, ((sum, shift), value)) in
            self.sums.iter_mut().zip(shift).zip(row.values.iter()).enumerate()
        {
            let value = (*value).into() * row.inverse_norm - shift;
            *sum += value;
            self.squares[column % 8] += value * value;
        }
        self.count += 1;
    }

    /// Four rows at once: the shift and the sums are then read and written a quarter as often.
    pub fn push_four<T: Lane>(&mut self, rows: [&Row<'_, T>; 4]) {
        self.start(rows[0]);
        for row in rows {
            self.keep(row);
        }
        let [a, b, c, d] = rows.map(|row| row.values.as_chunks::<8>());
        let [fa, fb, fc, fd] = rows.map(|row| row.inverse_norm);
        let (sums, sums_rest) = self.sums.as_chunks_mut::<8>();
        let (shift, shift_rest) = self.shift.as_chunks::<8>();
        let mut squares = self.squares;
        let values = a.0.iter().zip(b.0).zip(c.0).zip(d.0);
        for ((sums, shift), (((a, b), c), d)) in sums.iter_mut().zip(shift).zip(values) {
            for lane in 0..8 {
                let shift = shift[lane];
                let a = a[lane].into() * fa - shift;
                let b = b[lane].into() * fb - shift;
                let c = c[lane].into() * fc - shift;
                let d = d[lane].into() * fd - shift;
                sums[lane] += (a + b) + (c + d);
                squares[lane] += (a * a + b * b) + (c * c + d * d);
            }
        }
        for (lane, (sum, shift)) in sums_rest.iter_mut().zip(shift_rest).enumerate() {
            for (row, factor) in [(a.1, fa), (b.1, fb), (c.1, fc), (d.1, fd)] {
                let value = row[lane].into() * factor - shift;
                *sum += value;
                squares[lane] += value * value;
            }
        }
        self.squares = squares;
        self.count += 4;
    }

    /// Whether no NaN or infinity has entered.
    pub fn is_finite(&self) -> bool {
        self.squares.iter().all(|lane| lane.is_finite())
    }

    /// The moments of the block, or nothing where it has no row.
    pub fn finish(self) -> Option<Block> {
        if self.count == 0 {
            return None;
        }
        let count = self.count as f64;
        let offset: Vec<f64> = self.sums.iter().map(|sum| sum / count).collect();
        let moved: f64 = offset.iter().map(|o| o * o).sum();
        let mut centered = self.shifted.unwrap_or_default();
        for row in centered.chunks_exact_mut(offset.len()) {
            row.iter_mut().zip(&offset).for_each(|(value, offset)| *value -= offset);
        }
        Some(Block {
            count: self.count,
            squares: (self.squares.iter().sum::<f64>() - count * moved).max(0.0),
            mean: self.shift.iter().zip(offset).map(|(shift, offset)| shift + offset).collect(),
            centered,
        })
    }

    fn start<T: Lane>(&mut self, row: &Row<'_, T>) {
        if self.count == 0 {
            for (shift, value) in self.shift.iter_mut().zip(row.values.iter()) {
                *shift = (*value).into() * row.inverse_norm;
            }
        }
    }

    fn keep<T: Lane>(&mut self, row: &Row<'_, T>) {
        if let Some(shifted) = &mut self.shifted {
            let values = row.values.iter().zip(&self.shift);
            shifted.extend(values.map(|(value, shift)| (*value).into() * row.inverse_norm - shift));
        }
    }
}
