//! Following a long job over rows from outside, and ending it.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An observer of a long job over rows, which may also end it. Its methods are called from several threads, and do
/// nothing by default; `()` observes nothing.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use burn_revision::embedding::Progress;
///
/// /// Counts rows, and ends the job after the first hundred.
/// struct FirstHundred(AtomicUsize);
///
/// impl Progress for FirstHundred {
///     fn advance(&self, rows: usize) {
///         self.0.fetch_add(rows, Ordering::Relaxed);
///     }
///
///     fn is_cancelled(&self) -> bool {
///         self.0.load(Ordering::Relaxed) >= 100
///     }
/// }
///
/// let progress = FirstHundred(AtomicUsize::new(0));
/// progress.begin("aligning", 150);
/// progress.advance(100);
/// assert!(progress.is_cancelled());
/// ```
pub trait Progress: Sync {
    /// A stage of `rows` rows begins.
    fn begin(&self, _stage: &str, _rows: usize) {}

    /// `rows` more rows of the stage are done.
    fn advance(&self, _rows: usize) {}

    /// The loss of the stage, where it is a training; a mean over its last steps.
    fn loss(&self, _loss: f64) {}

    /// Whether to stop as soon as possible, keeping what can be resumed.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Observes nothing.
impl Progress for () {}

/// [`Error::Interrupted`] where the observer asks to stop.
pub(crate) fn check_cancelled(progress: &dyn Progress) -> Result<()> {
    if progress.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
}

/// The bytes of rows that a job has read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytesMoved {
    /// Read from files; rows that were read twice count twice.
    pub read: u64,
    /// Written to files.
    pub written: u64,
}

impl AddAssign for BytesMoved {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
    }
}
