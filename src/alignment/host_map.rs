//! Methods applied on the host, to blocks of rows as they lie in memory.

use super::ClosedForm;
use crate::Result;
use crate::embedding::{BLOCK_ROWS, MIN_NORM, RawRows, RowReport, Terms, inspect};
use crate::geometry::{Moments, linalg};

/// A map of blocks of rows to unit rows on the host, without a tensor.
pub(crate) trait HostMap: Send + Sync {
    /// How many rows it should be given at once.
    fn piece_rows(&self) -> usize;

    /// Writes the unit rows that become of a block of rows to `out`, `[n, d]`; rows that the policy leaves out leave no
    /// space, and their numbers are returned. `noise` is a seed and the number of the first row for it.
    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        noise: (u64, usize),
        out: &mut [f32],
    ) -> Result<(Vec<usize>, RowReport)>;

    /// The moments of the unit rows that become of a block of rows.
    fn moments(&self, rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
        let (moments, report) = (Moments::new(rows.dim()), RowReport::default());
        gather(self, rows, terms, moments, report)
    }

    /// As [`HostMap::moments`], with the covariance.
    fn covariance(&self, rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
        let (moments, report) = (Moments::with_covariance(rows.dim()), RowReport::default());
        gather(self, rows, terms, moments, report)
    }
}

fn gather(
    map: &(impl HostMap + ?Sized),
    rows: RawRows<'_>,
    terms: Terms<'_>,
    mut moments: Moments,
    mut report: RowReport,
) -> Result<(Moments, RowReport)> {
    let mut aligned = vec![0.0; rows.len() * rows.dim()];
    let (_, part) = map.map(rows, terms, (0, terms.first), &mut aligned)?;
    moments.update_rows(&aligned[..part.kept * rows.dim()])?;
    report.merge(&part);
    Ok((moments, report))
}

impl HostMap for ClosedForm {
    fn piece_rows(&self) -> usize {
        // Rows in and rows out of a piece stay in the second-level cache.
        BLOCK_ROWS / 4
    }

    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        noise: (u64, usize),
        out: &mut [f32],
    ) -> Result<(Vec<usize>, RowReport)> {
        Self::map(self, rows, terms, noise, out)
    }

    fn moments(&self, rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
        Self::moments(self, rows, terms)
    }
}

/// A map of unit rows, for methods that take many of them into one product.
pub(crate) trait UnitMap: Send + Sync {
    /// How many rows it should be given at once.
    fn piece_rows(&self) -> usize;

    /// Writes the unit rows that become of unit rows to `out`, `[n, d]` each; `noise` is a seed and the numbers of the rows.
    fn map_unit(&self, rows: &[f32], noise: (u64, &[u64]), out: &mut [f32]);
}

impl<M: UnitMap> HostMap for M {
    fn piece_rows(&self) -> usize {
        UnitMap::piece_rows(self)
    }

    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        (seed, first): (u64, usize),
        out: &mut [f32],
    ) -> Result<(Vec<usize>, RowReport)> {
        let (unit, skipped, report) = unit_rows(rows, terms)?;
        let mut left_out = skipped.iter().peekable();
        let kept = (0..rows.len()).filter(|row| left_out.next_if_eq(&&(terms.first + row)).is_none());
        let numbers: Vec<u64> = kept.map(|row| (first + row) as u64).collect();
        self.map_unit(&unit, (seed, &numbers), &mut out[..unit.len()]);
        Ok((skipped, report))
    }
}

/// The unit rows `x / ||x||` of a block, in float64 and rounded once, the numbers of the rows that the policy leaves out, and
/// what became of all of them.
pub(crate) fn unit_rows(rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Vec<f32>, Vec<usize>, RowReport)> {
    let dim = rows.dim();
    let values = rows.to_single();
    let mut unit = Vec::with_capacity(values.len());
    let (mut skipped, mut report) = (Vec::new(), RowReport::default());
    for (at, values) in values.chunks_exact(dim).enumerate() {
        report.rows += 1;
        match inspect(values, terms.policy, terms.what, terms.first + at)? {
            None => skipped.push(terms.first + at),
            Some(row) => {
                report.zeroed += usize::from(row.zeroed);
                unit.extend(row.values.iter().map(|&value| (f64::from(value) * row.inverse_norm) as f32));
            }
        }
    }
    report.skipped = skipped.len();
    report.kept = report.rows - report.skipped;
    Ok((unit, skipped, report))
}

/// A map of unit rows with one matrix:
///
/// ```text
/// z   = x, or unit(x + before)
/// out = unit(z M + after), or unit(unit(z M + after) + last)
/// ```
pub(crate) struct LinearMap {
    pub before: Option<Vec<f64>>,
    /// `[d, d]` row-major.
    pub matrix: Vec<f64>,
    pub after: Vec<f64>,
    pub last: Option<Vec<f64>>,
}

impl UnitMap for LinearMap {
    fn piece_rows(&self) -> usize {
        2 * BLOCK_ROWS
    }

    fn map_unit(&self, rows: &[f32], _: (u64, &[u64]), out: &mut [f32]) {
        let dim = self.after.len();
        let mut values: Vec<f64> = rows.iter().map(|&value| f64::from(value)).collect();
        if let Some(before) = &self.before {
            values.chunks_exact_mut(dim).for_each(|row| shift_and_project(row, before));
        }
        let mut mapped = linalg::matmul(&values, [rows.len() / dim, dim], &self.matrix, [dim, dim]);
        for (row, out) in mapped.chunks_exact_mut(dim).zip(out.chunks_exact_mut(dim)) {
            shift_and_project(row, &self.after);
            if let Some(last) = &self.last {
                shift_and_project(row, last);
            }
            out.iter_mut().zip(row).for_each(|(out, value)| *out = *value as f32);
        }
    }
}

/// `unit(row + shift)`; a row without direction stays as it is.
fn shift_and_project(row: &mut [f64], shift: &[f64]) {
    row.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift);
    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm >= MIN_NORM {
        row.iter_mut().for_each(|value| *value /= norm);
    }
}

/// A unit row under ReAlign, before the last projection: `s x + b`, then a projection and a shift for each centroid pass.
pub(crate) fn realigned(row: &[f32], scale: f64, shifts: &[Vec<f64>]) -> Vec<f64> {
    let mut row: Vec<f64> = row.iter().map(|&value| scale * f64::from(value)).collect();
    for (pass, shift) in shifts.iter().enumerate() {
        match pass + 1 < shifts.len() {
            true => shift_and_project(&mut row, shift),
            false => row.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift),
        }
    }
    row
}

/// Scales a row to unit length, where it has a direction.
pub(crate) fn project(row: &mut [f32]) {
    let mut lanes = [0.0_f32; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value * value;
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    let norm = (lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + rest).sqrt();
    if norm >= MIN_NORM {
        let inverse = (1.0 / norm) as f32;
        row.iter_mut().for_each(|value| *value *= inverse);
    }
}
