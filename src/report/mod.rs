//! The report of a modality gap: two stores of embeddings, every diagnostic, every method.
//!
//! [`ReportConfig::build`] reads rows of both stores, cuts them into two halves, fits the fixed frame and all methods on
//! one of them and measures on the other. The result is a [`GapReport`]: plain data that serialises to JSON, prints as a
//! table; the program `burn-revision` makes one self-contained HTML page of it. [`Samples`] holds the rows and indexes
//! that were measured, so that every number can be computed again by other means.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use burn_revision::embedding::Store;
//! use burn_revision::report::ReportConfig;
//!
//! # fn main() -> burn_revision::Result<()> {
//! let (text, image) = (Store::open("texts.safetensors")?, Store::open("images.safetensors")?);
//! let (report, _) = ReportConfig::default().build(&text, &image, &Device::default(), &())?;
//! report.save("gap/report.json")?;
//! # Ok(())
//! # }
//! ```

mod config;
mod curves;
mod gap;
mod input;
mod methods;
mod model;
mod plane;
mod samples;
mod slices;

pub use config::ReportConfig;
pub use model::*;
pub use samples::Samples;
