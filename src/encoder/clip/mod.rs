//! CLIP (arXiv 2103.00020): an image tower and a text tower with a projection into a common space.
//!
//! Configuration fields and module names are those of Hugging Face's `CLIPModel`; weights are those of OpenAI's models and
//! of the conversions of open_clip's.

mod config;
mod model;
mod text;
mod vision;

pub(super) use config::check_sizes;
pub use config::{ClipConfig, ClipTextConfig, ClipVisionConfig};
pub use model::Clip;
pub use text::ClipText;
pub use vision::ClipVision;
