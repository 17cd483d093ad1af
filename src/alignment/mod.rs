//! Moving text embeddings into the distribution of image embeddings.
//!
//! A contrastive encoder leaves images and texts in two separate clouds of unit vectors. Where a text embedding `e_y`
//! is moved to where an image embedding `e_x` would be, text can stand in for images while a model is trained
//! (arXiv 2602.07026). The methods differ in how they move it:
//!
//! ```text
//! Identity    e_y                                        nothing but the normalisation
//! MeanShift   e_y - mu_y + mu_x                          the centroids meet
//! C3          e_y - mu_y + mu_x + noise                  and isotropic noise fills the space between the rows
//! ReAlign     mu_x + s (e_y - mu_y)                      the spreads meet as well: s^2 T_y = T_x,
//!             e' - E e' + mu_x,  e' = unit(...)          and the projection onto the sphere is undone on average
//! Centring    e_y - mu_y                                 both about zero (GR-CLIP, I0T, Unicorn); images likewise
//! Whitening   mu_x + A (e_y - mu_y)                      the covariances meet: A Sigma_y A^T = Sigma_x
//! Blockwise   T_U P_U e~ + T_V P_V e~, recentred         they meet within U and within V of the fixed frame
//! AnisoAlign  radii of pairs of coordinates matched,      and phases and radii refined within bounds by networks that
//!             recentred                                   know the images' phases
//! Memory      unit(softmax(e_y . m / tau) m)             a mean of rows of the other modality that are near; DeCap: of images
//! CapDec      e_y + noise                                 texts where they are, in a cloud
//! ShapedNoise ReAlign + noise                             noise of the shape that images have and texts lack
//! ```
//!
//! `mu` is the centroid of a modality and `T = E ||e - mu||^2` its spread. Every method ends with a projection onto
//! the unit sphere. Images are left alone, but for [`C3Variant::ZeroMean`] and [`Centring`]; see
//! [`Aligner::moves_images`].
//!
//! **Fitting.** Each method has a config, and `XConfig::new().fit(text, image)` takes tensors, tables, stores or rows in
//! memory ([`Embeddings`]); [`Method::fit`] does the same for a method by its name. What is fitted is a Burn module: its
//! statistics are saved with a model, move with it between devices, and are never trained.
//!
//! CapDec's noise is measured on captions of one picture by [`caption_noise`]: it takes the table and the names of the pictures,
//! since a file of embeddings does not say which captions belong together.
//!
//! **Applying.** All of them are [`Aligner`]s; [`WithNoise`] adds noise to any.
//!
//! | function | rows | noise | result |
//! |---|---|---|---|
//! | [`transport`](Aligner::transport) | a tensor, on its device | none | before the last normalisation |
//! | `forward` of each method | a tensor, on its device | none | unit rows |
//! | [`align`](Aligner::align) | a tensor, on its device | of a seed | unit rows |
//! | [`align_table`] | a table, with its ids | of a seed | unit rows |
//! | [`transport_table`] | a table, with its ids | none | before the last normalisation |
//! | [`stream::apply`] | files of any size | of a seed | unit rows, in files |
//!
//! Stage 1 of ReVision draws noise anew each time it shows a row. It is given the rows of [`transport_table`] and the
//! method's [`noise`](Aligner::noise), and normalises last; methods without noise may as well be given aligned rows.
//!
//! **Files.** Sets too large for memory are fitted and aligned file to file by [`stream`], whose [`Statistics`] are one
//! small file. Methods that are a scaling and a few shifts are a [`ClosedForm`], which the host applies in fused float64
//! loops.

mod aligner;
mod anisoalign;
mod blockwise;
mod c3;
mod caption_noise;
mod centring;
mod changed;
mod closed_form;
#[cfg(test)]
mod closed_form_tests;
mod embeddings;
mod fitted;
mod fitting;
mod gather;
mod host;
mod host_map;
mod identity;
mod mean_shift;
mod memory;
mod method;
mod noise;
mod realign;
mod record;
mod shaped_noise;
mod statistics;
pub mod stream;
mod table;
mod whitening;
mod with_noise;

pub use aligner::Aligner;
pub use anisoalign::{AnisoAlign, AnisoAlignConfig, Mixing};
pub use blockwise::{Blockwise, BlockwiseConfig};
pub use c3::{C3, C3Config, C3Variant};
pub use caption_noise::caption_noise;
pub use centring::{Centring, CentringConfig, CentringVariant};
pub use closed_form::ClosedForm;
pub use embeddings::Embeddings;
pub use fitting::FitReport;
pub use identity::Identity;
pub use mean_shift::{MeanShift, MeanShiftConfig};
pub use memory::{MemoryOf, MemoryProjection, MemoryProjectionConfig};
pub use method::Method;
pub use realign::{ReAlign, ReAlignConfig};
pub use shaped_noise::{ShapedNoise, ShapedNoiseConfig};
pub use statistics::{CentroidPart, Provenance, SetMoments, Statistics};
pub use table::{align_table, transport_table};
pub use whitening::{CovarianceMap, Whitening, WhiteningConfig};
pub use with_noise::WithNoise;
