//! Close the modality gap, and train multimodal language models on text alone.

pub mod alignment;
mod atomic;
pub mod embedding;
pub mod encoder;
mod error;
pub mod geometry;
pub mod language;
pub mod revision;
pub mod training;

pub use error::{Error, Result};
