//! SigLIP (arXiv 2303.15343) and SigLIP 2 at a fixed resolution (arXiv 2502.14786): towers that were trained with a sigmoid
//! loss.
//!
//! Configuration fields and module names are those of Hugging Face's `SiglipModel`.

mod config;
mod model;
mod text;
mod vision;

pub use config::{SiglipConfig, SiglipTextConfig, SiglipVisionConfig};
pub use model::Siglip;
pub use text::SiglipText;
pub use vision::SiglipVision;
