//! Covariances whose products are taken in float32.

use super::entry::Entry;
use super::linalg;
use crate::Result;
use crate::embedding::kernel::Lane;
use crate::embedding::{RowReport, parallel};

/// Rows that are multiplied at once; within them products add up in float32.
pub(super) const CHUNK: usize = 4096;
/// Rows of a task.
const STRIP: usize = 64;

/// The moments of a chunk of rows.
pub(super) struct Chunk {
    pub count: usize,
    pub mean: Vec<f64>,
    pub squares: f64,
    /// The sum of outer products about the mean; the upper triangle counts.
    pub scatter: Vec<f64>,
}

/// A part of a chunk: rows less the shift, and their sums.
struct Strip {
    shifted: Vec<f32>,
    sums: Vec<f64>,
    squares: f64,
    report: RowReport,
}

/// The moments of at most [`CHUNK`] rows, of which the first is number `first`; nothing where none takes part.
///
/// Rows are shifted by the first of them before they are rounded to float32, and the sums are turned into sums
/// about the mean afterwards, in float64.
pub(super) fn chunk<T: Lane>(
    rows: &[T],
    dim: usize,
    first: usize,
    entry: Entry<'_>,
) -> Result<(Option<Chunk>, RowReport)> {
    let mut report = RowReport::default();
    let Some(shift) = shift(rows, dim, first, entry)? else {
        report.rows = rows.len() / dim;
        report.skipped = report.rows;
        return Ok((None, report));
    };
    let strips = parallel::map(rows.chunks(STRIP * dim).enumerate(), |(strip, rows)| {
        shifted(rows, dim, first + strip * STRIP, entry, &shift)
    });
    let (mut all, mut sums, mut squares) = (Vec::with_capacity(rows.len()), vec![0.0; dim], 0.0);
    for strip in strips {
        let strip = strip?;
        report.merge(&strip.report);
        squares += strip.squares;
        sums.iter_mut().zip(&strip.sums).for_each(|(sum, part)| *sum += part);
        all.extend(strip.shifted);
    }
    let count = report.kept;
    let mut scatter = vec![0.0; dim * dim];
    linalg::add_gram_single(&mut scatter, &all, dim);
    let offset: Vec<f64> = sums.iter().map(|sum| sum / count as f64).collect();
    super::scatter::add_outer(&mut scatter, &offset, -(count as f64));
    let moved: f64 = offset.iter().map(|value| value * value).sum();
    Ok((
        Some(Chunk {
            count,
            // Not lost by `max`, which prefers a number to NaN.
            squares: if squares.is_finite() { (squares - count as f64 * moved).max(0.0) } else { squares },
            mean: shift.iter().zip(&offset).map(|(shift, offset)| f64::from(*shift) + offset).collect(),
            scatter,
        }),
        report,
    ))
}

/// The first row that takes part, in float32.
fn shift<T: Lane>(rows: &[T], dim: usize, first: usize, entry: Entry<'_>) -> Result<Option<Vec<f32>>> {
    for (at, values) in rows.chunks_exact(dim).enumerate() {
        if let Some(row) = entry.row(values, first + at)? {
            return Ok(Some(
                row.values.iter().map(|&value| (value.into() * row.inverse_norm) as f32).collect(),
            ));
        }
    }
    Ok(None)
}

fn shifted<T: Lane>(rows: &[T], dim: usize, first: usize, entry: Entry<'_>, shift: &[f32]) -> Result<Strip> {
    let mut strip = Strip {
        shifted: Vec::with_capacity(rows.len()),
        sums: vec![0.0; dim],
        squares: 0.0,
        report: RowReport::default(),
    };
    for (at, values) in rows.chunks_exact(dim).enumerate() {
        strip.report.rows += 1;
        let Some(row) = entry.row(values, first + at)? else {
            strip.report.skipped += 1;
            continue;
        };
        strip.report.kept += 1;
        strip.report.zeroed += usize::from(row.zeroed);
        let begin = strip.shifted.len();
        let values = row.values.iter().zip(shift);
        strip.shifted.extend(
            values.map(|(&value, shift)| (value.into() * row.inverse_norm - f64::from(*shift)) as f32),
        );
        let mut squares = [0.0; 8];
        let (sums, sums_rest) = strip.sums.as_chunks_mut::<8>();
        let (values, rest) = strip.shifted[begin..].as_chunks::<8>();
        for (sums, values) in sums.iter_mut().zip(values) {
            for lane in 0..8 {
                let value = f64::from(values[lane]);
                sums[lane] += value;
                squares[lane] += value * value;
            }
        }
        for (sum, &value) in sums_rest.iter_mut().zip(rest) {
            *sum += f64::from(value);
            squares[0] += f64::from(value) * f64::from(value);
        }
        strip.squares += squares.iter().sum::<f64>();
    }
    Ok(strip)
}
