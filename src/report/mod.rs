//! The report of a modality gap: how far apart two sets of embeddings are, in what shape, and what every method of
//! alignment makes of it.
//!
//! [`measure`] reads rows of two stores, divides them into two halves, fits the fixed frame and all methods on one of them
//! and measures on the other. The result is a [`GapReport`]: plain data that is saved as JSON and prints as a table; the
//! program `burn-revision` makes one self-contained HTML page of it. [`Measurement`] takes tables in memory and aligners
//! of your own as well, and writes the rows that were measured.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use burn_revision::embedding::Store;
//! use burn_revision::report::{self, ReportConfig};
//!
//! # fn main() -> burn_revision::Result<()> {
//! let (text, image) = (Store::open("texts.safetensors")?, Store::open("images.safetensors")?);
//! let report = report::measure(&ReportConfig::default(), &text, &image, &Device::default(), &())?;
//! println!("{report}");
//! report.save("gap/report.json")?;
//! # Ok(())
//! # }
//! ```

mod config;
mod cosines;
mod curves;
mod display;
mod draws;
mod gap;
mod gap_report;
mod input;
mod measure;
mod methods;
mod notes;
mod pairs;
mod plane;
mod rows;
mod samples;
pub mod sections;
mod slices;

#[cfg(test)]
mod tests;

pub use config::ReportConfig;
pub use gap_report::GapReport;
pub use measure::{Measurement, measure};
