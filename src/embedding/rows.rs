use std::borrow::Cow;

use super::kernel::Lane;
use super::policy::{MIN_NORM, NonFinite, RowReport, Terms, clean};
use super::raw_rows::check_length;
use super::{EmbeddingTable, parallel};
use crate::{Error, Result};

/// Rows of a task.
const BLOCK: usize = 256;

/// A row that takes part, with the factor that makes it a unit row.
pub(crate) struct Row<'a, T: Lane> {
    pub values: Cow<'a, [T]>,
    pub inverse_norm: f64,
    pub zeroed: bool,
}

/// The row under `policy`: itself, a cleaned copy, nothing (`Ok(None)`, skipped), or an error that names it.
#[inline]
pub(crate) fn inspect<'a, T: Lane>(
    values: &'a [T],
    policy: NonFinite,
    what: &str,
    row: usize,
) -> Result<Option<Row<'a, T>>> {
    let norm = sum_of_squares(values).sqrt();
    if norm.is_finite() && norm >= MIN_NORM {
        return Ok(Some(Row { values: Cow::Borrowed(values), inverse_norm: 1.0 / norm, zeroed: false }));
    }
    inspect_odd(values, policy, what, row)
}

/// The rows that are not plainly usable: they are rare, and this keeps them out of the hot loop.
#[cold]
fn inspect_odd<'a, T: Lane>(
    values: &'a [T],
    policy: NonFinite,
    what: &str,
    row: usize,
) -> Result<Option<Row<'a, T>>> {
    let (mut cleaned, mut report) = (values.to_vec(), RowReport::default());
    let inverse_norm = clean(&mut cleaned, Terms { policy, what, first: row }, 0, &mut report)?;
    Ok(inverse_norm.map(|inverse_norm| Row {
        values: cleaned.into(),
        inverse_norm,
        zeroed: report.zeroed > 0,
    }))
}

/// Eight running sums, so that the compiler can keep them in vector registers.
#[inline]
fn sum_of_squares<T: Lane>(values: &[T]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0_f64; 8];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            let value: f64 = value.into();
            *lane += value * value;
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        let value: f64 = value.into();
        *lane += value * value;
    }
    lanes.iter().sum()
}

/// Unit rows of a row-major matrix `[n, dim]`, computed in float64 and rounded once; also which rows they came
/// from (all of them, but under [`NonFinite::Skip`]). `what` names the set in errors.
///
/// # Errors
///
/// [`Error::NonFinite`] or [`Error::ZeroRow`] under [`NonFinite::Error`]; [`Error::Mismatch`] where `rows` is not a
/// whole number of rows.
pub(crate) fn normalize_rows(
    rows: &[f32],
    dim: usize,
    policy: NonFinite,
    what: &str,
) -> Result<(Vec<f32>, Vec<usize>, RowReport)> {
    map_rows(rows, dim, (policy, what, 0), |row, out| {
        for (out, &value) in out.iter_mut().zip(row.values.iter()) {
            *out = (f64::from(value) * row.inverse_norm) as f32;
        }
    })
}

/// The rows as they are, but those that the policy leaves out or cleans; `first` is the number of the first row.
pub(crate) fn clean_rows(
    rows: &[f32],
    dim: usize,
    policy: NonFinite,
    what: &str,
    first: usize,
) -> Result<(Vec<f32>, Vec<usize>, RowReport)> {
    map_rows(rows, dim, (policy, what, first), |row, out| out.copy_from_slice(&row.values))
}

/// Applies `map`, which writes one output row, to every row that takes part under the policy; errors name the set and
/// count its rows from the given number.
fn map_rows(
    rows: &[f32],
    dim: usize,
    (policy, what, first): (NonFinite, &str, usize),
    map: impl Fn(&Row<'_, f32>, &mut [f32]) + Sync,
) -> Result<(Vec<f32>, Vec<usize>, RowReport)> {
    check_length(rows, dim)?;
    let mut mapped = vec![0.0_f32; rows.len()];
    let chunks = rows.chunks(BLOCK * dim).zip(mapped.chunks_mut(BLOCK * dim)).enumerate();
    let blocks = parallel::map(chunks, |(block, (rows, mapped))| {
        let mut kept = Vec::with_capacity(rows.len() / dim);
        let mut report = RowReport::default();
        for (i, (values, out)) in rows.chunks_exact(dim).zip(mapped.chunks_exact_mut(dim)).enumerate() {
            let position = first + block * BLOCK + i;
            report.rows += 1;
            match inspect(values, policy, what, position)? {
                None => report.skipped += 1,
                Some(row) => {
                    map(&row, out);
                    kept.push(position);
                    report.zeroed += usize::from(row.zeroed);
                }
            }
        }
        report.kept = kept.len();
        Ok::<_, Error>((kept, report))
    });
    let (mut kept, mut report) = (Vec::with_capacity(rows.len() / dim), RowReport::default());
    for block in blocks {
        let (places, part) = block?;
        kept.extend(places);
        report.merge(&part);
    }
    if report.skipped > 0 {
        for (to, place) in kept.iter().enumerate() {
            let from = (place - first) * dim;
            mapped.copy_within(from..from + dim, to * dim);
        }
        mapped.truncate(kept.len() * dim);
    }
    Ok((mapped, kept, report))
}

impl EmbeddingTable {
    /// The table of unit rows, `x / ||x||`, computed in float64 and rounded once, and what became of the rows. `what`
    /// names the set in errors.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] or [`Error::ZeroRow`] under [`NonFinite::Error`].
    pub fn normalized(&self, policy: NonFinite, what: &str) -> Result<(Self, RowReport)> {
        let (rows, kept, report) = normalize_rows(self.rows(), self.dim(), policy, what)?;
        self.with_rows(rows, &kept).map(|table| (table, report))
    }

    /// New values for the rows `kept` of this table.
    pub(crate) fn with_rows(&self, rows: Vec<f32>, kept: &[usize]) -> Result<Self> {
        Self::new(kept.iter().map(|&row| self.ids()[row].clone()).collect(), rows, self.dim())
    }
}

#[cfg(test)]
mod tests {
    use approx::{abs_diff_eq, assert_abs_diff_eq};
    use proptest::prelude::*;

    use super::*;

    /// Rows 0 and 3 are plain, row 1 holds NaN, row 2 has no direction, row 4 would overflow float32 when squared.
    const ROWS: [f32; 10] = [3.0, 4.0, f32::NAN, 2.0, 0.0, 1e-12, -1.0, 0.0, 3.0 * HUGE, -4.0 * HUGE];
    /// Two to the hundredth.
    const HUGE: f32 = 1.267_650_6e30;

    #[test]
    fn error_names_the_first_bad_row() {
        let error = normalize_rows(&ROWS, 2, NonFinite::Error, "captions").unwrap_err();
        assert!(matches!(&error, Error::NonFinite { what, row: 1, column: 0, .. } if what == "captions"));
        let error = normalize_rows(&ROWS[4..], 2, NonFinite::Error, "captions").unwrap_err();
        assert!(matches!(error, Error::ZeroRow { row: 0, .. }), "{error}");
        assert!(normalize_rows(&ROWS[..3], 2, NonFinite::Error, "captions").is_err());
    }

    #[test]
    fn skip_leaves_bad_rows_out_and_says_which_are_left() {
        let (rows, kept, report) = normalize_rows(&ROWS, 2, NonFinite::Skip, "captions").unwrap();
        assert_eq!(kept, [0, 3, 4]);
        assert_eq!(rows, [0.6, 0.8, -1.0, 0.0, 0.6, -0.8]);
        assert_eq!(report, RowReport { rows: 5, kept: 3, skipped: 2, zeroed: 0 });
    }

    #[test]
    fn zero_puts_zeros_for_nan_and_lets_small_rows_be() {
        let (rows, kept, report) = normalize_rows(&ROWS, 2, NonFinite::Zero, "captions").unwrap();
        assert_eq!(kept, [0, 1, 2, 3, 4]);
        assert_eq!(rows, [0.6, 0.8, 0.0, 1.0, 0.0, 1e-12, -1.0, 0.0, 0.6, -0.8]);
        assert_eq!(report, RowReport { rows: 5, kept: 5, skipped: 0, zeroed: 2 });
        let (cleaned, kept, _) = clean_rows(&ROWS, 2, NonFinite::Zero, "captions", 7).unwrap();
        assert_eq!(cleaned[..4], [3.0, 4.0, 0.0, 2.0]);
        assert_eq!(kept[0], 7);
    }

    #[test]
    fn float64_rows_whose_squares_overflow_still_have_a_direction() {
        let row = [3e200_f64, -4e200];
        let found = inspect(&row, NonFinite::Error, "rows", 0).unwrap().unwrap();
        assert_abs_diff_eq!(found.values[0] * found.inverse_norm, 0.6, epsilon = 1e-15);
        assert!(!found.zeroed);
    }

    proptest! {
        #[test]
        fn rows_come_out_with_unit_norm_and_their_direction(
            rows in prop::collection::vec(-1e3_f32..1e3, 17 * 3),
            scale in prop::sample::select(vec![1e-5_f32, 1.0, 1e30]),
        ) {
            prop_assume!(rows.chunks(17).all(|row| row.iter().any(|v| v.abs() > 1e-2)));
            let scaled: Vec<f32> = rows.iter().map(|v| v * scale).collect();
            let (unit, _, _) = normalize_rows(&scaled, 17, NonFinite::Error, "rows").unwrap();
            for (unit, row) in unit.chunks(17).zip(scaled.chunks(17)) {
                let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                for (u, v) in unit.iter().zip(row) {
                    prop_assert!(abs_diff_eq!(f64::from(*u), f64::from(*v) / norm, epsilon = 6e-8));
                }
            }
        }
    }
}
