//! EfficientNet-Lite (arXiv 1905.11946, without squeeze-and-excitation and with ReLU6), an image tower without a text tower.
//! The configuration has the field names of Hugging Face's `EfficientNetConfig`.

mod config;
mod model;
mod weights;

pub use config::EfficientNetLiteConfig;
pub use model::EfficientNetLite;
pub(super) use weights::FoldedWeights;
