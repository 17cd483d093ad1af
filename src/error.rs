//! What can go wrong with data, files and configurations.
//!
//! Wrong tensor shapes are a programmer's mistake and panic with both shapes; everything that depends on the
//! user's data returns an [`Error`] that names the place and both values.

use std::path::{Path, PathBuf};

/// The result of an operation on data, files or configurations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that says where it happened and what was found there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read but does not hold what its format promises.
    #[error("{}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        detail: String,
    },
    /// Two sizes that must agree do not.
    #[error("{what}: expected {expected}, found {actual}")]
    Mismatch {
        /// What was compared.
        what: String,
        /// The size asked for.
        expected: usize,
        /// The size found.
        actual: usize,
    },
    /// A set holds fewer rows than an operation needs.
    #[error("{what}: needs at least {needed} rows, found {actual}")]
    TooFewRows {
        /// The set.
        what: String,
        /// The least number of rows.
        needed: usize,
        /// The number of rows found.
        actual: usize,
    },
    /// All rows of a set are alike, where they must vary.
    #[error("{what}: all rows are alike, so there is no direction in which they vary")]
    NoSpread {
        /// The set.
        what: String,
    },
    /// A row holds NaN or an infinity and the policy is to refuse it.
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
        /// The offending value.
        value: f32,
    },
    /// A row has no direction: its norm is (almost) zero and the policy is to refuse it.
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
    /// Something is looked up by an id that is not there.
    #[error("{what}: no entry with id {id:?}")]
    MissingId {
        /// The set that was searched.
        what: String,
        /// The id.
        id: String,
    },
    /// Two entries claim the same id.
    #[error("{what}: id {id:?} stands at row {first} and again at row {second}")]
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
    /// A setting cannot be used.
    #[error("{key}: {detail}")]
    Config {
        /// The setting.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody asked a long job to stop.
    #[error("interrupted")]
    Interrupted,
    /// A training run ended before its time.
    #[error("training stopped at step {step}: {detail}")]
    Training {
        /// The optimizer step.
        step: usize,
        /// Why.
        detail: String,
    },
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

/// Panics with both shapes unless a tensor has the expected one; `_` matches any size.
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
