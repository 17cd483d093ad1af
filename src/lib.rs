//! Close the modality gap, and train multimodal language models on text alone.
//!
//! A contrastive encoder such as CLIP puts pictures and texts into one space, but in two places of it: the *modality
//! gap*. Statistics of unpaired data are enough to close it, and then plain text can stand in for pictures while a
//! language model learns to see. This crate implements **ReAlign**, the map that closes the gap, and **ReVision**, the
//! training that uses it (arXiv 2602.07026), for the [Burn](https://burn.dev) deep-learning framework, on any of its
//! backends.
//!
//! | module | what is in it |
//! |---|---|
//! | [`device`] | the device that `BURN_DEVICE` names |
//! | [`embedding`] | tables of embeddings, in memory and on disk |
//! | [`geometry`] | moments of a cloud of embeddings, the gap between two, neighbourhoods |
//! | [`alignment`] | moving text embeddings into the distribution of image embeddings |
//! | [`report`] | a gap and what every method makes of it, measured and shown |
//! | [`encoder`] | a contrastive dual encoder, which makes embeddings |
//! | [`training`] | what long and interrupted runs need on top of burn-train |
//! | [`language`] | the language model that is frozen, then tuned; published ones, their tokenizers and chat templates |
//! | [`revision`] | the multimodal model and its two training stages |
//! | [`atomic`] | files that are complete or not there |
//!
//! The path of the data: embeddings, moments, ReAlign, aligned embeddings joined by id with conversations, projector,
//! frozen language model, loss; and at inference picture, projector, language model, text.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use burn_revision::alignment::ReAlignConfig;
//!
//! # fn main() -> burn_revision::Result<()> {
//! let device = Device::default();
//! let images = Tensor::<2>::random([500, 16], Distribution::Normal(0.5, 1.0), &device);
//! let texts = Tensor::<2>::random([800, 16], Distribution::Normal(-0.5, 1.0), &device);
//!
//! let realign = ReAlignConfig::new().fit(texts.clone(), images)?;
//! let stand_ins = realign.forward(texts);
//! assert_eq!(stand_ins.dims(), [800, 16]);
//! # Ok(())
//! # }
//! ```
//!
//! No type here names a backend: everything takes a [`Device`](burn::tensor::Device) or works where its input is.

pub mod alignment;
pub mod atomic;
pub mod device;
pub mod embedding;
pub mod encoder;
mod error;
mod fingerprint;
mod fused;
pub mod geometry;
mod half_precision;
mod json;
pub mod language;
mod pickle;
mod random;
pub mod report;
pub mod revision;
pub mod training;
mod weights;

pub use error::{Error, Result};

/// The README's programs are compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The book's programs are compiled and run as documentation tests.
#[cfg(doctest)]
mod book {
    macro_rules! pages {
        ($($page:ident),*) => {
            $(
                #[doc = include_str!(concat!("../book/src/", stringify!($page), ".md"))]
                mod $page {}
            )*
        };
    }
    pages!(
        backends,
        captions,
        data,
        domains,
        encoder,
        figures,
        fixed_frame,
        gap,
        gap_report,
        language_model,
        library,
        limits,
        realign,
        scaling,
        troubleshooting,
        two_stages
    );
    #[cfg(feature = "image")]
    pages!(ask);
}
