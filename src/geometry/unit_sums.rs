//! The moments of unit rows, in one pass over rows as they are stored.

use super::Moments;
use super::entry::Entry;
use crate::embedding::kernel::Lane;
use crate::embedding::{
    BLOCK_ROWS, DecodedRow, FloatType, NonFinite, RawRows, RowLoop, RowReport, Terms, for_each_row,
    for_each_row_scalar, parallel,
};
use crate::{Error, Result};

impl Moments {
    /// Takes in the unit rows `x / ||x||` of rows `[n, d]`, normalised in float64 on the way, under a policy for
    /// rows that have none. `what` names the set in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `rows` is not a whole number of rows, [`Error::NonFinite`] or [`Error::ZeroRow`] under
    /// [`NonFinite::Error`]; the moments are then as before.
    pub fn update_unit_rows(&mut self, rows: &[f32], policy: NonFinite, what: &str) -> Result<RowReport> {
        if self.gathers_covariance() {
            return self.take(rows, Entry::Unit { policy, what, first: 0 });
        }
        self.update_unit_raw(RawRows::single(rows, self.dim())?, policy, what)
    }

    /// As [`Moments::update_unit_rows`], for rows as they lie in a file; without the covariance.
    ///
    /// # Errors
    ///
    /// Those of [`Moments::update_unit_rows`], and [`Error::Config`] where the covariance is gathered as well.
    pub fn update_unit_raw(&mut self, rows: RawRows<'_>, policy: NonFinite, what: &str) -> Result<RowReport> {
        if rows.dim() != self.dim() {
            return Err(Error::mismatch("dimensions of rows for the moments", self.dim(), rows.dim()));
        }
        let blocks = rows.blocks(BLOCK_ROWS).enumerate();
        let blocks = parallel::map(blocks, |(block, rows)| {
            unit_moments(rows, Terms { policy, what, first: block * BLOCK_ROWS })
        });
        let (mut gathered, mut report) = (Self::new(self.dim()), RowReport::default());
        for block in blocks {
            let (moments, part) = block?;
            gathered.merge(&moments)?;
            report.merge(&part);
        }
        self.merge(&gathered)?;
        Ok(report)
    }
}

/// The moments of the unit rows `x / ||x||` of a block, and what became of its rows.
///
/// Unit rows need no second pass for their spread: `sum ||u - mean||^2 = sum ||u||^2 - n ||mean||^2`, where the first
/// term is the number of rows (but for rows without direction). Where next to nothing is left of it, because the rows
/// are almost the same, a second pass about the mean keeps the digits that the difference has lost.
pub(crate) fn unit_moments(rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
    let mut sums = vec![0.0; rows.dim()];
    let mut work = SumUnitRows { squares: 0.0 };
    let report = for_each_row(rows, terms, [], &mut sums, &mut work)?;
    let mut moments = Moments::from_sums(report.kept, sums, work.squares);
    if moments.trace() < ALMOST_NONE {
        let squares = squares_about(rows, terms, moments.mean())?;
        moments.set_squares(squares);
    }
    Ok((moments, report))
}

/// The moments of the unit rows of a block with their covariance, and what became of its rows: for blocks of about
/// [`COVARIANCE_ROWS`].
pub(crate) fn unit_covariance(rows: RawRows<'_>, terms: Terms<'_>) -> Result<(Moments, RowReport)> {
    let mut moments = Moments::with_covariance(rows.dim());
    let entry = Entry::Unit { policy: terms.policy, what: terms.what, first: terms.first };
    let report = match rows.float() {
        FloatType::F64 => {
            let bytes = rows.bytes().as_chunks::<8>().0.iter();
            let values: Vec<f64> = bytes.map(|bytes| f64::from_le_bytes(*bytes)).collect();
            moments.take(&values, entry)?
        }
        _ => moments.take(&rows.to_single(), entry)?,
    };
    Ok((moments, report))
}

/// Rows of a block whose covariance is gathered: so many that adding `[d, d]` sums up costs little beside making them.
pub(crate) const COVARIANCE_ROWS: usize = 2048;

/// A spread of unit rows of which a difference of numbers near 1 leaves fewer than eight digits.
const ALMOST_NONE: f64 = 1e-8;

/// Adds up unit rows and their squares.
struct SumUnitRows {
    squares: f64,
}

impl RowLoop<0> for SumUnitRows {
    #[inline(always)]
    fn row<const FMA: bool, T: Lane>(&mut self, row: &DecodedRow<'_, T, 0>, _: &mut [f64]) -> Option<f64> {
        let inverse_norm = row.loaded.inverse_norm;
        self.squares += row.loaded.square * inverse_norm * inverse_norm;
        Some(inverse_norm)
    }
}

/// The sum of squared distances of unit rows from a point.
#[cold]
fn squares_about(rows: RawRows<'_>, terms: Terms<'_>, point: &[f64]) -> Result<f64> {
    let mut work = SquaresAbout { point, squares: 0.0 };
    for_each_row_scalar(rows, terms, [], &mut [], &mut work)?;
    Ok(work.squares)
}

struct SquaresAbout<'a> {
    point: &'a [f64],
    squares: f64,
}

impl RowLoop<0> for SquaresAbout<'_> {
    #[inline(always)]
    fn row<const FMA: bool, T: Lane>(&mut self, row: &DecodedRow<'_, T, 0>, _: &mut [f64]) -> Option<f64> {
        let inverse_norm = row.loaded.inverse_norm;
        let offsets = row.values.iter().zip(self.point).map(|(&x, point)| x.into() * inverse_norm - point);
        self.squares += offsets.map(|offset| offset * offset).sum::<f64>();
        None
    }
}
