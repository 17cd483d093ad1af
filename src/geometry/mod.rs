//! The geometry of the modality gap: moments, spectra and neighbourhoods of two clouds of embeddings.
//!
//! Image and text embeddings of one contrastive encoder are unit vectors, and yet they lie in two separate regions
//! of the sphere. A few numbers describe the separation (arXiv 2602.07026):
//!
//! ```text
//! mu    = E x                         the centroid of a modality
//! T     = E ||x - mu||^2 = tr Sigma   its spread about the centroid; 1 - ||mu||^2 for unit rows
//! gap   = ||mu_text - mu_image||      the modality gap
//! Phi   = E cos(y, z)                 how much of a source row y survives in its transformed row z
//! mix_k = the share of the other modality among the k nearest neighbours in the union of both clouds
//! ```
//!
//! [`Moments`] accumulates the first two in one pass over data of any size, in float64; partial moments can be merged.
//! [`modality_gap`] and [`paired_cosine`] compare two clouds, [`KnnMixing`] measures how well they mix.
//!
//! Beyond means, the theory of the fixed frame (arXiv 2602.07026, Sec. 3) describes the shape of the clouds:
//! [`Spectrum`] is that of a covariance, [`FixedFrame`] the subspace in which both modalities vary, [`GapDecomposition`]
//! the gap along and across it, [`ResidualGeometry`] the residual of pairs without the gap, [`distribution_gap`] its mean length,
//! and [`PhantomDrift`] the shift of a centroid by the projection onto the sphere. [`KnnConfig`] finds exact [`Neighbours`], from which [`KnnMixing`] and
//! [`SupportScore`] are computed. All of these work on a [`Cloud`], rows in float64 on the host; for a set that does not
//! fit into memory, on a sample of it.
//!
//! [`SyntheticGeometry`] draws pairs whose geometry is known, as that of LLM2CLIP in arXiv 2605.07825, for trying methods
//! without an encoder.

mod cloud;
mod decomposition;
mod distribution_gap;
mod entry;
mod frame;
mod gap;
pub(crate) mod linalg;
mod mixing;
mod moments;
#[cfg(test)]
mod moments_tests;
mod neighbours;
mod phantom;
mod residual;
mod scatter;
mod similarity;
mod single;
mod spectrum;
mod sums;
mod support;
mod synthetic;
mod unit_sums;
mod vectors;

pub use cloud::Cloud;
pub use decomposition::{Coupling, GapDecomposition};
pub use distribution_gap::distribution_gap;
pub use frame::{FixedFrame, FrameRank};
pub use gap::{modality_gap, paired_cosine};
pub use mixing::KnnMixing;
pub use moments::Moments;
pub use neighbours::{KnnConfig, Neighbours};
pub use phantom::{DriftComparison, PhantomDrift, phantom_drift_expansion};
pub use residual::ResidualGeometry;
pub(crate) use similarity::{
    DensityGrid, js_divergence, pair_products, sample_pairs, sample_pairs_across, similarity_correlation,
};
pub(crate) use spectrum::pearson;
pub use spectrum::{PowerLaw, Spectrum};
pub use support::SupportScore;
pub use synthetic::{SyntheticGeometry, SyntheticPairs};
pub(crate) use unit_sums::{COVARIANCE_ROWS, unit_covariance, unit_moments};
pub(crate) use vectors::{difference, dot, norm};
