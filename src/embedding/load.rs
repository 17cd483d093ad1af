use super::cache::prefetch;
use super::kernel::{Lane, dots};
use super::rows::{MIN_NORM, NonFinite, RowReport};
use super::{FloatType, RawRows};
use crate::{Error, Result};

/// What is done with rows without direction, and how errors name the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub policy: NonFinite,
    /// The set or the file.
    pub what: &'a str,
    /// The number of the first row.
    pub first: usize,
}

/// A decoded row that takes part.
pub(crate) struct Loaded<const K: usize> {
    /// The factor that makes it a unit row; 1 for a row without direction that the policy lets through.
    pub inverse_norm: f64,
    /// `||row||^2`.
    pub square: f64,
    /// Its dot products with the vectors asked for.
    pub products: [f64; K],
}

/// How many rows ahead of the one that is decoded the next ones are fetched from memory.
const AHEAD: usize = 2;

/// Decodes row `index` of `rows` into `slot` and computes its norm and dot products; nothing where the policy leaves
/// the row out. Counts it in `report`.
#[inline(always)]
pub(crate) fn load<const FMA: bool, const K: usize, T: Lane>(
    rows: &RawRows<'_>,
    index: usize,
    slot: &mut [T],
    vectors: [&[f64]; K],
    terms: Terms<'_>,
    report: &mut RowReport,
) -> Result<Option<Loaded<K>>> {
    // Rows in mapped memory come a page at a time, and a processor does not look beyond a page by itself.
    if index + AHEAD < rows.len() {
        prefetch(rows.row(index + AHEAD));
    }
    T::decode(rows.row(index), rows.float(), slot);
    report.rows += 1;
    let (square, products) = dots::<FMA, K, T>(slot, vectors);
    if square.is_finite() && square >= MIN_NORM * MIN_NORM {
        report.kept += 1;
        return Ok(Some(Loaded { inverse_norm: 1.0 / square.sqrt(), square, products }));
    }
    let Some(inverse_norm) = settle(slot, terms, index, report)? else { return Ok(None) };
    let (square, products) = dots::<FMA, K, T>(slot, vectors);
    Ok(Some(Loaded { inverse_norm, square, products }))
}

/// What becomes of a row that is not plainly usable: cleans it in place and returns its inverse norm, or nothing where
/// the policy leaves it out. Such rows are rare, and this is not in the hot loop.
#[cold]
#[inline(never)]
pub(super) fn settle<T: Lane>(
    row: &mut [T],
    terms: Terms<'_>,
    index: usize,
    report: &mut RowReport,
) -> Result<Option<f64>> {
    let bad = row.iter().position(|&value| !value.into().is_finite());
    let bad_value = bad.map(|column| (column, row[column].into() as f32));
    for value in row.iter_mut() {
        if !(*value).into().is_finite() {
            *value = T::default();
        }
    }
    // The squares of huge float64 values overflow; a power of two changes no direction and rounds nothing.
    let largest = row.iter().map(|&value| value.into().abs()).fold(0.0, f64::max);
    if largest > 1e150 {
        row.iter_mut().for_each(|value| *value = value.times(0.5_f64.powi(600)));
    }
    let norm = row.iter().map(|&value| value.into() * value.into()).sum::<f64>().sqrt();
    let directionless = norm < MIN_NORM && largest < 1.0;
    let Terms { policy, what, first } = terms;
    let row = first + index;
    match (policy, bad_value) {
        (_, None) if !directionless => {}
        (NonFinite::Skip, _) => {
            report.skipped += 1;
            return Ok(None);
        }
        (NonFinite::Zero, _) => report.zeroed += 1,
        (NonFinite::Error, Some((column, value))) => {
            return Err(Error::NonFinite { what: what.to_string(), row, column, value });
        }
        (NonFinite::Error, None) => return Err(Error::ZeroRow { what: what.to_string(), row, norm }),
    }
    report.kept += 1;
    Ok(Some(if directionless { 1.0 } else { 1.0 / norm }))
}

/// A computation over rows for each type that rows are decoded to.
pub(crate) trait ForLane {
    type Output;
    fn call<T: Lane>(self) -> Self::Output;
}

/// Calls with the type that rows of this float type are decoded to.
pub(crate) fn for_lane<F: ForLane>(float: FloatType, work: F) -> F::Output {
    match float {
        FloatType::F64 => work.call::<f64>(),
        FloatType::F16 | FloatType::BF16 | FloatType::F32 => work.call::<f32>(),
    }
}
