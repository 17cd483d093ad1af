//! Closed forms applied on the host: fused loops over rows as they lie in memory or in a file.

use super::ClosedForm;
use crate::embedding::cache::{finish_streaming, stream};
use crate::embedding::kernel::{Kernel, Lane, add_four, add_one, combine, vectorized};
use crate::embedding::{BLOCK_ROWS, ForLane, NonFinite, RawRows, RowReport, Terms, for_lane, load, parallel};
use crate::geometry::Moments;
use crate::{Error, Result};

impl ClosedForm {
    /// The moments of the unit rows that become of a block of rows, without noise.
    pub(crate) fn moments(&self, rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
        for_lane(rows.float(), BlockMoments { form: self, rows, terms })
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
        for_lane(rows.float(), BlockMap { form: self, rows, terms, noise, out, streaming: false })
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
        let dim = self.dim();
        if rows.dim() != dim {
            return Err(Error::mismatch("dimensions of the rows to align", dim, rows.dim()));
        }
        if out.len() != rows.len() * dim {
            return Err(Error::mismatch("values in the output", rows.len() * dim, out.len()));
        }
        let streaming = out.len() > BEYOND_CACHES;
        let blocks = rows.blocks(PART).zip(out.chunks_mut(PART * dim)).enumerate();
        let blocks = parallel::map(blocks, |(block, (rows, out))| {
            let terms = Terms { policy, what: "text", first: block * PART };
            let noise = (seed, block * PART);
            let done = for_lane(rows.float(), BlockMap { form: self, rows, terms, noise, out, streaming });
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

struct BlockMoments<'a> {
    form: &'a ClosedForm,
    rows: RawRows<'a>,
    terms: Terms<'a>,
}

impl ForLane for BlockMoments<'_> {
    type Output = Result<(Moments, RowReport)>;

    fn call<T: Lane>(self) -> Self::Output {
        let dim = self.rows.dim();
        let (mut sums, mut room) = (vec![0.0; dim], vec![T::default(); 4 * dim]);
        let vectors = self.form.vectors();
        let totals = match vectors {
            [a] => {
                vectorized(Sum { block: &self, vectors: [a.as_slice()], sums: &mut sums, room: &mut room })?
            }
            [a, b] => vectorized(Sum {
                block: &self,
                vectors: [a.as_slice(), b.as_slice()],
                sums: &mut sums,
                room: &mut room,
            })?,
            _ => vectorized(Sum { block: &self, vectors: [], sums: &mut sums, room: &mut room })?,
        };
        for (vector, factor) in vectors.iter().zip(&totals.factors) {
            sums.iter_mut().zip(vector).for_each(|(sum, value)| *sum += factor * value);
        }
        Ok((Moments::from_sums(totals.report.kept, sums, totals.squares), totals.report))
    }
}

#[derive(Default)]
struct Totals {
    report: RowReport,
    /// The sums of the factors of the shifts.
    factors: [f64; 2],
    squares: f64,
}

struct Sum<'a, 'b, T, const K: usize> {
    block: &'a BlockMoments<'b>,
    vectors: [&'a [f64]; K],
    sums: &'a mut [f64],
    room: &'a mut [T],
}

impl<T: Lane, const K: usize> Kernel for Sum<'_, '_, T, K> {
    type Output = Result<Totals>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let Self { block: &BlockMoments { form, rows, terms }, vectors, sums, room } = self;
        let dim = rows.dim();
        let mut totals = Totals::default();
        let (mut weights, mut waiting) = ([0.0; 4], 0);
        for index in 0..rows.len() {
            let slot = &mut room[waiting * dim..(waiting + 1) * dim];
            let row = load::<FMA, K, T>(&rows, index, slot, vectors, terms, &mut totals.report)?;
            let Some(row) = row else { continue };
            let combined = if K == 0 { None } else { form.coefficients(&row) };
            let Some((alpha, beta)) = combined else {
                totals.squares += add_explicit(form, slot, row.inverse_norm, sums);
                continue;
            };
            weights[waiting] = alpha;
            for (total, beta) in totals.factors.iter_mut().zip(beta) {
                *total += beta;
            }
            totals.squares += 1.0;
            waiting += 1;
            if waiting == 4 {
                add_four::<FMA, T>(room, weights, sums);
                waiting = 0;
            }
        }
        for (row, &weight) in room.chunks_exact(dim).zip(&weights[..waiting]) {
            add_one::<FMA, T>(row, weight, sums);
        }
        Ok(totals)
    }
}

/// Adds a row's image to sums and returns its square.
#[cold]
#[inline(never)]
fn add_explicit<T: Lane>(form: &ClosedForm, row: &[T], inverse_norm: f64, sums: &mut [f64]) -> f64 {
    let mut image = vec![0.0; row.len()];
    form.explicit(row, inverse_norm, None, &mut image);
    sums.iter_mut().zip(&image).for_each(|(sum, value)| *sum += value);
    image.iter().map(|value| value * value).sum()
}

struct BlockMap<'a> {
    form: &'a ClosedForm,
    rows: RawRows<'a>,
    terms: Terms<'a>,
    noise: (u64, usize),
    out: &'a mut [f32],
    /// Whether to write past the caches.
    streaming: bool,
}

impl ForLane for BlockMap<'_> {
    type Output = Result<(Vec<usize>, RowReport)>;

    fn call<T: Lane>(self) -> Self::Output {
        let dim = self.rows.dim();
        let mut room = vec![T::default(); dim];
        let form = self.form;
        // Noise must be known before the last projection: then the row itself is needed, not its dot products.
        match form.vectors() {
            [a] if form.noise() == 0.0 => {
                vectorized(Map { block: self, vectors: [a.as_slice()], room: &mut room })
            }
            [a, b] if form.noise() == 0.0 => {
                vectorized(Map { block: self, vectors: [a.as_slice(), b.as_slice()], room: &mut room })
            }
            _ => vectorized(Map { block: self, vectors: [], room: &mut room }),
        }
    }
}

struct Map<'a, 'b, T, const K: usize> {
    block: BlockMap<'b>,
    vectors: [&'a [f64]; K],
    room: &'a mut [T],
}

impl<T: Lane, const K: usize> Kernel for Map<'_, '_, T, K> {
    type Output = Result<(Vec<usize>, RowReport)>;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let Self { block: BlockMap { form, rows, terms, noise, out, streaming }, vectors, room } = self;
        let dim = rows.dim();
        let mut aligned = vec![0.0; if streaming { dim } else { 0 }];
        let (mut skipped, mut report) = (Vec::new(), RowReport::default());
        for index in 0..rows.len() {
            let row = load::<FMA, K, T>(&rows, index, room, vectors, terms, &mut report)?;
            let Some(row) = row else {
                skipped.push(terms.first + index);
                continue;
            };
            let place = index - skipped.len();
            let out = &mut out[place * dim..(place + 1) * dim];
            let combined = if K == 0 { None } else { form.coefficients(&row) };
            match combined {
                Some((alpha, beta)) if streaming => {
                    combine::<FMA, K, T>((alpha, room), beta, vectors, &mut aligned);
                    stream(&aligned, out);
                }
                Some((alpha, beta)) => combine::<FMA, K, T>((alpha, room), beta, vectors, out),
                None => {
                    let number = (noise.0, (noise.1 + index) as u64);
                    write_explicit(form, room, row.inverse_norm, number, out);
                }
            }
        }
        Ok((skipped, report))
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
    let mut image = vec![0.0; row.len()];
    form.explicit(row, inverse_norm, (form.noise() > 0.0).then_some(noise), &mut image);
    out.iter_mut().zip(&image).for_each(|(out, &value)| *out = value as f32);
}
