//! Your own CLIP from two encoders: small heads that lead from the features of two frozen towers into one space.
//!
//! ```text
//! head       standardised features through two layers
//! model      a head for each side and the scale of the logits
//! pairs      features of pictures and of texts, and which belong together
//! training   InfoNCE over these pairs, watched on held-out ones
//! folder     a trained pair of heads and the towers they stand on, as a folder
//! ```

mod folder;
mod head;
mod model;
mod pairs;
#[cfg(test)]
mod tests;
mod training;

pub(in crate::encoder) use folder::HEADS_MODEL_TYPE;
pub use folder::HeadsFolder;
pub use folder::TowerReference;
pub use head::{Head, HeadConfig};
pub use model::{ContrastiveHeads, ContrastiveHeadsConfig};
pub use pairs::FeaturePairs;
pub use training::{ContrastTraining, ContrastWatch, Contrasted, EpochRecord};
