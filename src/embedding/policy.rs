//! Rows that hold NaN or infinities or have no direction, and what becomes of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::kernel::Lane;
use crate::{Error, Result};

/// A row with a smaller Euclidean norm has no direction.
pub const MIN_NORM: f64 = 1e-10;

/// What to do with a row that holds NaN or an infinity, or that has no direction (norm below [`MIN_NORM`]).
///
/// ```
/// use burn_revision::embedding::NonFinite;
/// assert_eq!("skip".parse::<NonFinite>().unwrap(), NonFinite::Skip);
/// assert_eq!(NonFinite::default().to_string(), "error");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonFinite {
    /// Refuse the set, naming the first such row.
    #[default]
    Error,
    /// Leave the row out.
    Skip,
    /// Put zeros in place of NaN and infinities; a row without direction stays as it is and is counted in the
    /// statistics. This is what the ReVision authors' script does (arXiv 2602.07026).
    Zero,
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Skip => "skip",
            Self::Zero => "zero",
        })
    }
}

impl FromStr for NonFinite {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "error" => Ok(Self::Error),
            "skip" => Ok(Self::Skip),
            "zero" => Ok(Self::Zero),
            _ => Err(Error::config("non-finite", format!("expected error, skip or zero, found {name:?}"))),
        }
    }
}

/// What became of the rows of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowReport {
    /// Rows looked at: `kept + skipped`.
    pub rows: usize,
    /// Rows in the result.
    pub kept: usize,
    /// Rows left out under [`NonFinite::Skip`].
    pub skipped: usize,
    /// Rows among the kept ones that [`NonFinite::Zero`] let through although they were not finite or had no
    /// direction.
    pub zeroed: usize,
}

impl RowReport {
    /// Counts the rows of another part of the same set as well.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.kept += other.kept;
        self.skipped += other.skipped;
        self.zeroed += other.zeroed;
    }
}

/// What is done with rows without direction, and how errors name the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub policy: NonFinite,
    /// The set or the file.
    pub what: &'a str,
    /// The number of the first row.
    pub first: usize,
}

/// What becomes of a row that is not plainly usable: cleans it in place and returns its inverse norm, or nothing where
/// the policy leaves it out. Such rows are rare, and this is not in the hot loop.
#[cold]
#[inline(never)]
pub(super) fn clean<T: Lane>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_policies_are_read_and_written_alike() {
        for policy in [NonFinite::Error, NonFinite::Skip, NonFinite::Zero] {
            assert_eq!(policy.to_string().parse::<NonFinite>().unwrap(), policy);
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
        }
        assert!("none".parse::<NonFinite>().is_err());
    }
}
