//! Errors of dense decompositions.

use std::fmt;

/// Why a decomposition has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinalgError {
    /// The input holds a NaN or an infinity.
    NotFinite,
    /// The iteration did not converge.
    NoConvergence,
}

impl fmt::Display for LinalgError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotFinite => "the matrix holds a NaN or an infinity",
            Self::NoConvergence => "the decomposition did not converge",
        })
    }
}

impl From<LinalgError> for crate::Error {
    fn from(error: LinalgError) -> Self {
        Self::config("linear algebra", error.to_string())
    }
}

/// Refuses a slice that holds a NaN or an infinity.
pub(crate) fn require_finite(values: &[f64]) -> Result<(), LinalgError> {
    // A sum of zero multiples is NaN as soon as one term is not finite, and it vectorises.
    let finite = values.chunks(4096).all(|chunk| chunk.iter().map(|value| value * 0.0).sum::<f64>() == 0.0);
    if finite { Ok(()) } else { Err(LinalgError::NotFinite) }
}
