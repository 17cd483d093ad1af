//! Errors of data, files and configurations.
//!
//! Wrong tensor shapes are programming errors and panic with both shapes; everything that depends on the user's data
//! returns an [`Error`] with the location and both values.

use std::path::{Path, PathBuf};

/// The result of an operation on data, files or configurations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in data, a file or a configuration, with its location and the value found.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The contents of a file do not have the expected format.
    #[error("{}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The expected and the actual contents.
        detail: String,
    },
    /// Two sizes that must be equal differ.
    #[error("{what}: expected {expected}, found {actual}")]
    Mismatch {
        /// The quantity compared.
        what: String,
        /// The expected size.
        expected: usize,
        /// The actual size.
        actual: usize,
    },
    /// A set has fewer rows than an operation needs.
    #[error("{what}: needs at least {needed} rows, found {actual}")]
    TooFewRows {
        /// The set.
        what: String,
        /// The minimum number of rows.
        needed: usize,
        /// The actual number of rows.
        actual: usize,
    },
    /// All rows of a set are equal, so that their covariance is zero.
    #[error("{what}: all rows are alike, so there is no direction in which they vary")]
    NoSpread {
        /// The set.
        what: String,
    },
    /// A row contains a NaN or an infinity, and the policy is to return an error.
    #[error(
        "{what}: row {row}, column {column} is {value}; choose the policy `skip` or `zero` to go on without it"
    )]
    NonFinite {
        /// The set.
        what: String,
        /// The row, counted from zero.
        row: usize,
        /// The column, counted from zero.
        column: usize,
        /// The value.
        value: f32,
    },
    /// The norm of a row is (almost) zero, so that it has no direction, and the policy is to return an error.
    #[error(
        "{what}: row {row} has norm {norm:e} and so no direction; choose the policy `skip` or `zero` to go on without it"
    )]
    ZeroRow {
        /// The set.
        what: String,
        /// The row, counted from zero.
        row: usize,
        /// Its Euclidean norm.
        norm: f64,
    },
    /// No entry has the requested id.
    #[error("{what}: no entry with id {id:?}")]
    MissingId {
        /// The set that was searched.
        what: String,
        /// The id.
        id: String,
    },
    /// Two entries have the same id.
    #[error("{what}: id {id:?} appears at row {first} and again at row {second}")]
    DuplicateId {
        /// The set.
        what: String,
        /// The id.
        id: String,
        /// The earlier row, counted from zero.
        first: usize,
        /// The later row, counted from zero.
        second: usize,
    },
    /// A sample cannot be used.
    #[error("sample {id:?}: {detail}")]
    Sample {
        /// The id of the sample.
        id: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A sample leaves nothing to learn from.
    #[error("sample {id:?}: no labelled token is left ({detail})")]
    NoLabel {
        /// The id of the sample.
        id: String,
        /// Why nothing is left.
        detail: String,
    },
    /// A setting is invalid.
    #[error("{key}: {detail}")]
    Config {
        /// The setting.
        key: String,
        /// Why it is invalid.
        detail: String,
    },
    /// A job was asked to stop before it was finished.
    #[error("interrupted")]
    Interrupted,
    /// A worker thread panicked, as where a device has too little memory.
    #[error("a worker failed: {detail}")]
    Worker {
        /// The message of the panic.
        detail: String,
    },
    /// A training run ended early.
    #[error("training stopped at step {step}: {detail}")]
    Training {
        /// The optimizer step.
        step: usize,
        /// Why.
        detail: String,
    },
}

/// As it is displayed: `main() -> Result<()>` prints this form.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The message of a panic that was caught.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(ToString::to_string);
    literal
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// An [`Error::Format`] for `path`.
    pub fn format(path: impl AsRef<Path>, detail: impl Into<String>) -> Self {
        Self::Format { path: path.as_ref().to_path_buf(), detail: detail.into() }
    }

    /// An [`Error::Mismatch`].
    pub fn mismatch(what: impl Into<String>, expected: usize, actual: usize) -> Self {
        Self::Mismatch { what: what.into(), expected, actual }
    }

    /// An [`Error::Sample`].
    pub fn sample(id: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Sample { id: id.into(), detail: detail.into() }
    }

    /// An [`Error::Config`].
    pub fn config(key: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Config { key: key.into(), detail: detail.into() }
    }
}

/// Panics with both shapes unless a tensor has the expected shape; `_` matches any size.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let rows = Tensor::<2>::zeros([3, 4], &Device::default());
/// burn_revision::assert_shape!(rows, [_, 4], "rows");
/// ```
#[macro_export]
macro_rules! assert_shape {
    ($tensor:expr, [$($dim:tt),+ $(,)?], $what:expr) => {{
        let actual = $tensor.dims();
        let expected: &[Option<usize>] = &[$($crate::assert_shape!(@dim $dim)),+];
        let fits = actual.len() == expected.len()
            && actual.iter().zip(expected).all(|(a, e)| e.is_none_or(|e| e == *a));
        assert!(
            fits,
            "{}: expected shape [{}], found {:?}",
            $what,
            expected
                .iter()
                .map(|e| e.map_or_else(|| "_".to_string(), |e| e.to_string()))
                .collect::<Vec<_>>()
                .join(", "),
            actual
        );
    }};
    (@dim _) => { None };
    (@dim $dim:tt) => { Some($dim) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `main() -> Result<()>` prints the debug form.
    #[test]
    fn errors_debug_as_they_read() {
        let error = Error::mismatch("dimensions of the rows", 3, 4);
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
