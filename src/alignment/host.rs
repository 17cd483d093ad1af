//! Closed forms applied on the host: fused loops over rows as they lie in memory or in a file.

use super::ClosedForm;
use crate::embedding::cache::{finish_streaming, stream};
use crate::embedding::kernel::{Lane, combine};
use crate::embedding::{
    BLOCK_ROWS, DecodedRow, NonFinite, RawRows, RowLoop, RowReport, Terms, for_each_row, parallel,
};
use crate::geometry::Moments;
use crate::{Error, Result};

impl ClosedForm {
    /// The moments of the unit rows that become of a block of rows, without noise.
    pub(crate) fn moments(&self, rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
        let mut sums = vec![0.0; rows.dim()];
        let mut work = AlignedSums { form: self, factors: [0.0; 2], squares: 0.0 };
        let report = self.for_each_row(rows, terms, &mut sums, &mut work)?;
        for (vector, factor) in self.vectors().iter().zip(&work.factors) {
            sums.iter_mut().zip(vector).for_each(|(sum, value)| *sum += factor * value);
        }
        Ok((Moments::from_sums(report.kept, sums, work.squares), report))
    }

    /// Writes the unit rows that become of a block of rows to `out`, `[n, d]`; rows that the policy leaves out leave
    /// no space, and their numbers are returned. `noise` is a seed and the number of the first row for it.
    pub(crate) fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        noise: (u64, usize),
        out: &mut [f32],
    ) -> Result<(Vec<usize>, RowReport)> {
        assert_eq!(out.len(), rows.len() * rows.dim(), "aligned rows: values in the output");
        self.map_to(rows, terms, noise, out, false)
    }

    /// As [`ClosedForm::map`]; `streaming` writes past the caches.
    fn map_to(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        noise: (u64, usize),
        out: &mut [f32],
        streaming: bool,
    ) -> Result<(Vec<usize>, RowReport)> {
        let aligned = vec![0.0; if streaming { rows.dim() } else { 0 }];
        let mut work = AlignedRows { form: self, noise, out, streaming, aligned, skipped: Vec::new() };
        // Noise must be known before the last projection: then the row itself is needed, not its dot products.
        let report = match self.noise() {
            0.0 => self.for_each_row(rows, terms, &mut [], &mut work)?,
            _ => for_each_row(rows, terms, [], &mut [], &mut work)?,
        };
        let mut skipped = work.skipped;
        skipped.iter_mut().for_each(|row| *row += terms.first);
        Ok((skipped, report))
    }

    /// Goes over rows with their dot products with the shifts, where these are one or two; a row of another map is
    /// computed coordinate by coordinate.
    fn for_each_row<L: RowLoop<0> + RowLoop<1> + RowLoop<2>>(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        sums: &mut [f64],
        work: &mut L,
    ) -> Result<RowReport> {
        match self.vectors() {
            [a] => for_each_row(rows, terms, [a.as_slice()], sums, work),
            [a, b] => for_each_row(rows, terms, [a.as_slice(), b.as_slice()], sums, work),
            _ => for_each_row(rows, terms, [], sums, work),
        }
    }

    /// Aligns rows on the calling thread into a buffer of the caller's, `[n, d]`, without noise: for engines that have threads of
    /// their own. The rows are those of [`ClosedForm::align_into`], to the bit. `what` names the set in errors.
    ///
    /// Returns what became of the rows and the numbers of those left out, which leave no space.
    ///
    /// ```
    /// use burn_revision::alignment::ClosedForm;
    /// use burn_revision::embedding::{NonFinite, RawRows};
    ///
    /// let shift = ClosedForm::new(1.0, vec![-0.6, 0.2], Vec::new(), 0.0);
    /// let mut aligned = [0.0; 2];
    /// shift.align_block(RawRows::single(&[3.0, 4.0], 2)?, NonFinite::Error, "captions", &mut aligned)?;
    /// // The unit row [0.6, 0.8], moved and projected.
    /// assert!(aligned[0].abs() < 1e-6 && (aligned[1] - 1.0).abs() < 1e-6);
    /// # Ok::<(), burn_revision::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ClosedForm::align_into`].
    pub fn align_block(
        &self,
        rows: RawRows<'_>,
        policy: NonFinite,
        what: &str,
        out: &mut [f32],
    ) -> Result<(Vec<usize>, RowReport)> {
        self.check_sizes(rows, out)?;
        let terms = Terms { policy, what, first: 0 };
        let silent = self.clone().with_noise(0.0);
        silent.map_to(rows, terms, (0, 0), out, false)
    }

    /// Refuses rows of other dimensions and a buffer of another size.
    fn check_sizes(&self, rows: RawRows<'_>, out: &[f32]) -> Result<()> {
        let dim = self.dim();
        if rows.dim() != dim {
            return Err(Error::mismatch("dimensions of the rows to align", dim, rows.dim()));
        }
        if out.len() != rows.len() * dim {
            return Err(Error::mismatch("values in the output", rows.len() * dim, out.len()));
        }
        Ok(())
    }

    /// Aligns rows in memory on all cores into a buffer of the caller's, `[n, d]`. Returns what became of the rows and
    /// the numbers of those left out, which leave no space: the rest of the buffer then means nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions or a buffer of another size, [`Error::NonFinite`] or
    /// [`Error::ZeroRow`] under [`NonFinite::Error`].
    pub fn align_into(
        &self,
        rows: RawRows<'_>,
        policy: NonFinite,
        seed: u64,
        out: &mut [f32],
    ) -> Result<(Vec<usize>, RowReport)> {
        self.check_sizes(rows, out)?;
        let dim = self.dim();
        let streaming = out.len() > BEYOND_CACHES;
        let blocks = rows.blocks(PART).zip(out.chunks_mut(PART * dim)).enumerate();
        let blocks = parallel::map(blocks, |(block, (rows, out))| {
            let terms = Terms { policy, what: "text", first: block * PART };
            let noise = (seed, block * PART);
            let done = self.map_to(rows, terms, noise, out, streaming);
            finish_streaming();
            done
        });
        let (mut skipped, mut report) = (Vec::new(), RowReport::default());
        for block in blocks {
            let (places, part) = block?;
            skipped.extend(places);
            report.merge(&part);
        }
        close_gaps(out, dim, PART, &skipped);
        Ok((skipped, report))
    }
}

/// Rows a task: rows in and rows out fit the second-level cache. No result depends on it.
const PART: usize = BLOCK_ROWS / 4;

/// Values of an output of which nothing is left in the caches at its end: 32 MiB.
const BEYOND_CACHES: usize = 8 << 20;

/// Moves the rows of blocks that are packed within themselves together.
fn close_gaps(out: &mut [f32], dim: usize, block: usize, skipped: &[usize]) {
    let (mut to, mut skipped) = (0, skipped.iter().peekable());
    if skipped.peek().is_none() {
        return;
    }
    for start in (0..out.len() / dim).step_by(block) {
        let mut length = block.min(out.len() / dim - start);
        while skipped.next_if(|&&row| row < start + block).is_some() {
            length -= 1;
        }
        out.copy_within(start * dim..(start + length) * dim, to * dim);
        to += length;
    }
}

/// Adds up aligned rows.
struct AlignedSums<'a> {
    form: &'a ClosedForm,
    /// The sums of the factors of the shifts.
    factors: [f64; 2],
    squares: f64,
}

impl<const K: usize> RowLoop<K> for AlignedSums<'_> {
    #[inline(always)]
    fn row<const FMA: bool, T: Lane>(&mut self, row: &DecodedRow<'_, T, K>, sums: &mut [f64]) -> Option<f64> {
        let combined = if K == 0 { None } else { self.form.coefficients(&row.loaded) };
        let Some((alpha, beta)) = combined else {
            self.squares += add_explicit(self.form, row.values, row.loaded.inverse_norm, sums);
            return None;
        };
        for (factor, beta) in self.factors.iter_mut().zip(beta) {
            *factor += beta;
        }
        self.squares += 1.0;
        Some(alpha)
    }
}

/// Adds an aligned row to sums and returns its square.
#[cold]
#[inline(never)]
fn add_explicit<T: Lane>(form: &ClosedForm, row: &[T], inverse_norm: f64, sums: &mut [f64]) -> f64 {
    let mut aligned = vec![0.0; row.len()];
    form.explicit(row, inverse_norm, None, &mut aligned);
    sums.iter_mut().zip(&aligned).for_each(|(sum, value)| *sum += value);
    aligned.iter().map(|value| value * value).sum()
}

/// Writes aligned rows one after the other.
struct AlignedRows<'a> {
    form: &'a ClosedForm,
    /// A seed, and the number of the first row for it.
    noise: (u64, usize),
    out: &'a mut [f32],
    /// Whether to write past the caches.
    streaming: bool,
    /// A row on its way there.
    aligned: Vec<f32>,
    /// Rows that were left out, by their numbers in the block.
    skipped: Vec<usize>,
}

impl<const K: usize> RowLoop<K> for AlignedRows<'_> {
    #[inline(always)]
    fn row<const FMA: bool, T: Lane>(&mut self, row: &DecodedRow<'_, T, K>, _: &mut [f64]) -> Option<f64> {
        let dim = row.values.len();
        let place = row.index - self.skipped.len();
        let out = &mut self.out[place * dim..(place + 1) * dim];
        let combined = if K == 0 { None } else { self.form.coefficients(&row.loaded) };
        match combined {
            Some((alpha, beta)) if self.streaming => {
                combine::<FMA, K, T>((alpha, row.values), beta, row.vectors, &mut self.aligned);
                stream(&self.aligned, out);
            }
            Some((alpha, beta)) => combine::<FMA, K, T>((alpha, row.values), beta, row.vectors, out),
            None => {
                let number = (self.noise.0, (self.noise.1 + row.index) as u64);
                write_explicit(self.form, row.values, row.loaded.inverse_norm, number, out);
            }
        }
        None
    }

    fn skipped(&mut self, index: usize) {
        self.skipped.push(index);
    }
}

#[cold]
#[inline(never)]
fn write_explicit<T: Lane>(
    form: &ClosedForm,
    row: &[T],
    inverse_norm: f64,
    noise: (u64, u64),
    out: &mut [f32],
) {
    let mut aligned = vec![0.0; row.len()];
    form.explicit(row, inverse_norm, (form.noise() > 0.0).then_some(noise), &mut aligned);
    out.iter_mut().zip(&aligned).for_each(|(out, &value)| *out = value as f32);
}
