//! What the modality gap looks like: moments, distances and neighbourhoods of two clouds of embeddings.
//!
//! Image and text embeddings of one contrastive encoder are unit vectors, and yet they lie in two separate regions
//! of the sphere. A few numbers describe the separation (arXiv 2602.07026):
//!
//! ```text
//! mu    = E x                         the centroid of a modality
//! T     = E ||x - mu||^2 = tr Sigma   its spread about the centroid; 1 - ||mu||^2 for unit rows
//! gap   = ||mu_text - mu_image||      the modality gap
//! Phi   = E cos(y, z)                 how much of a source row y survives in its transformed row z
//! mix_k = the share of the k nearest neighbours, in the union of both clouds, that are of the other modality
//! ```
//!
//! [`Moments`] gathers the first two in one pass over data of any size, in float64, and parts gathered apart can be
//! merged. [`modality_gap`], [`paired_cosine`] and [`source_cosine`] compare two clouds, [`KnnMixingConfig`]
//! measures how well they mix.

mod gap;
mod mixing;
mod moments;
#[cfg(test)]
mod moments_tests;
mod scatter;
mod sums;
mod unit_sums;

pub use gap::{modality_gap, paired_cosine, source_cosine};
pub use mixing::{KnnMixing, KnnMixingConfig};
pub use moments::Moments;
pub(crate) use unit_sums::unit_moments;
