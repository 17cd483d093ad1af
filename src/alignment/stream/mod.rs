//! Fitting on stores of any size and aligning them to files, in bounded memory.
//!
//! ```text
//! fit:   every image row once, every text row once (moments), and for ReAlign, AnisoAlign and blockwise covariance
//!        every text row once or twice more (centroid)
//! apply: every text row once, and every aligned row is written once
//! ```
//!
//! Rows are read in pieces into buffers that are used again and again, one for each thread; sums of fixed blocks of rows
//! are merged in their order. So results depend neither on the number of threads nor on the size of a piece, and are
//! those of [`super::ReAlignConfig::fit`] on the same rows.
//!
//! ```
//! use burn_revision::alignment::Method;
//! use burn_revision::alignment::stream::{ApplyOptions, FitOptions, apply, fit};
//! use burn_revision::embedding::{EmbeddingTable, Store, write_table};
//!
//! # fn main() -> burn_revision::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let place = |name: &str| folder.path().join(name);
//! let rows = |shift: f32| (0..40).map(|i| (i as f32).sin() + shift).collect();
//! write_table(&EmbeddingTable::numbered(rows(0.5), 4)?, place("text.npy"))?;
//! write_table(&EmbeddingTable::numbered(rows(-0.5), 4)?, place("image.npy"))?;
//!
//! let (text, image) = (Store::open(place("text.npy"))?, Store::open(place("image.npy"))?);
//! let (statistics, _) = fit(&"realign".parse::<Method>()?, &text, &image, &FitOptions::default())?;
//! let report = apply(&statistics, &text, &place("aligned.npy"), &ApplyOptions::default())?;
//! assert_eq!(report.rows.kept, 10);
//! # Ok(())
//! # }
//! ```

mod apply;
mod convert;
mod device;
mod fit;
mod job;
mod sink;

pub use super::anisoalign::FitCheckpoint;
pub use apply::{ApplyOptions, ApplyReport, apply, apply_images, check_output};
pub use convert::{ConvertOptions, convert};
pub use device::Compute;
pub use fit::{FitOptions, fit, fit_centroid, fit_moments, fit_sample};

use crate::embedding::pipeline;
fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(pipeline::available_threads).max(1)
}
