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
//! Centring    e_y - mu_y                                 both about zero (GR-CLIP, I0T); images likewise
//! Unicorn     e_y - mu_y                                 the same for text; no image is needed to train on it
//! Whitening   mu_x + A (e_y - mu_y)                      the covariances meet: A Sigma_y A^T = Sigma_x
//! Blockwise   T_U P_U e~ + T_V P_V e~, recentred         they meet within U and within V of the fixed frame
//! ```
//!
//! `mu` is the centroid of a modality and `T = E ||e - mu||^2` its spread. Every method ends with a projection onto
//! the unit sphere. Images are left alone, but for [`C3Variant::ZeroMean`], [`Centring`] and [`Unicorn`]; see
//! [`Aligner::moves_images`].
//!
//! All of them are [`Aligner`]s: a deterministic [`transport`](Aligner::transport), an optional
//! [`noise`](Aligner::noise), and the normalisation. [`WithNoise`] adds noise to any method; [`align_table`] moves a
//! whole table and keeps its ids. The fitted ones are Burn modules: their statistics are saved with a model and move
//! with it between devices, and are never trained.
//!
//! Sets too large for memory are fitted and aligned file to file by [`stream`], whose [`Statistics`] are one small file.
//! Methods that are a scaling and a few shifts are a [`ClosedForm`], which the host applies in fused float64 loops.

mod blockwise;
mod c3;
mod centring;
mod closed_form;
#[cfg(test)]
mod closed_form_tests;
mod fitting;
mod host;
mod mean_shift;
mod means;
mod method;
mod noise;
mod realign;
mod record;
mod statistics;
pub mod stream;
mod whitening;

use burn::tensor::{DType, Device, Tensor, TensorData};

pub use blockwise::{Blockwise, BlockwiseConfig};
pub use c3::{C3, C3Config, C3Variant};
pub use centring::{Centring, Unicorn};
pub use closed_form::ClosedForm;
pub use fitting::FitReport;
pub use mean_shift::MeanShift;
pub use method::Method;
pub use noise::WithNoise;
pub use realign::{ReAlign, ReAlignConfig, ReAlignFit, ReAlignStatistics};
pub use statistics::{Source, Statistics};
pub use whitening::{CovarianceMap, Whitening, WhiteningConfig};

use crate::embedding::{EmbeddingTable, NonFinite, RowReport, clean_rows, normalize, normalize_bounded};
use crate::{Error, Result};

/// Rows on the device at once: 40 MiB of float64 at 1280 dimensions.
const CHUNK: usize = 4096;

/// A way to move text embeddings into the distribution of image embeddings.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, Identity};
///
/// let text = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::default());
/// let method: Box<dyn Aligner> = Box::new(Identity::new(2));
/// let unit: Vec<f32> = method.align(text, 0).into_data().try_into_vec().unwrap();
/// assert!((unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6);
/// ```
pub trait Aligner {
    /// The name of the method, in lower case with underscores.
    fn name(&self) -> &'static str;

    /// The number of dimensions of the rows that it was fitted on.
    fn dim(&self) -> usize;

    /// The deterministic part of the map, before noise and the last normalisation: `[n, d]` to `[n, d]`.
    ///
    /// Rows need not be unit rows. Half-precision rows come back as float32, all others in their own type.
    fn transport(&self, text: Tensor<2>) -> Tensor<2>;

    /// The standard deviation, for each coordinate, of the isotropic noise that is added before the last
    /// normalisation; 0 for none.
    fn noise(&self) -> f64 {
        0.0
    }

    /// The aligned unit rows `[n, d]` in the type of the rows given: `unit(transport(text) + noise)`.
    ///
    /// The noise is drawn on the host and depends on the seed and the number of the row only, so that it is the
    /// same on every device.
    fn align(&self, text: Tensor<2>, seed: u64) -> Tensor<2> {
        self.align_from(text, seed, 0)
    }

    /// As [`Aligner::align`] for a chunk of a longer set of which the chunk's first row is number `first`: chunks
    /// of any size then get the noise of the whole.
    fn align_from(&self, text: Tensor<2>, seed: u64, first: usize) -> Tensor<2> {
        let dtype = text.dtype();
        let rows = noise::add(self.transport(text), self.noise(), seed, first);
        normalize_bounded(rows).cast(dtype)
    }

    /// The whole of [`Aligner::align`] as a closed form, where the method has one: rows are then aligned on the host in
    /// fused loops, without a tensor.
    fn closed_form(&self) -> Option<ClosedForm> {
        None
    }

    /// Whether [`Aligner::align_image`] does anything.
    fn moves_images(&self) -> bool {
        false
    }

    /// What the method does to image rows `[n, d]` at inference; nothing, unless a method says otherwise.
    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        image
    }
}

impl<A: Aligner + ?Sized> Aligner for Box<A> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        (**self).transport(text)
    }

    fn noise(&self) -> f64 {
        (**self).noise()
    }

    fn align_from(&self, text: Tensor<2>, seed: u64, first: usize) -> Tensor<2> {
        (**self).align_from(text, seed, first)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        (**self).closed_form()
    }

    fn moves_images(&self) -> bool {
        (**self).moves_images()
    }

    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        (**self).align_image(image)
    }
}

/// No alignment: unit rows where they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    dim: usize,
}

impl Identity {
    /// No alignment of rows of `dim` dimensions.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl Aligner for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim;
        crate::assert_shape!(text, [_, dim], "identity: text rows");
        normalize(text)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        Some(ClosedForm::new(1.0, vec![0.0; self.dim], Vec::new(), 0.0))
    }
}

/// Aligns a table of text rows chunk by chunk on `device`, in float64 where the device has it, and keeps the ids;
/// reports what became of the rows under the policy.
///
/// # Errors
///
/// [`Error::Mismatch`] for another number of dimensions than the method was fitted on, [`Error::NonFinite`] or
/// [`Error::ZeroRow`] under [`NonFinite::Error`].
pub fn align_table(
    aligner: &dyn Aligner,
    text: &EmbeddingTable,
    policy: NonFinite,
    seed: u64,
    device: &Device,
) -> Result<(EmbeddingTable, RowReport)> {
    map_table(aligner, text, policy, device, |rows, first| aligner.align_from(rows, seed, first))
}

/// As [`align_table`], but only [`Aligner::transport`]: for a training that draws the method's noise itself, afresh at
/// every step, and scales to unit length after that.
///
/// # Errors
///
/// As for [`align_table`].
pub fn transport_table(
    aligner: &dyn Aligner,
    text: &EmbeddingTable,
    policy: NonFinite,
    device: &Device,
) -> Result<(EmbeddingTable, RowReport)> {
    map_table(aligner, text, policy, device, |rows, _| aligner.transport(rows))
}

fn map_table(
    aligner: &dyn Aligner,
    text: &EmbeddingTable,
    policy: NonFinite,
    device: &Device,
    map: impl Fn(Tensor<2>, usize) -> Tensor<2>,
) -> Result<(EmbeddingTable, RowReport)> {
    let dim = text.dim();
    if aligner.dim() != dim {
        return Err(Error::mismatch(
            format!("dimensions of the rows for {}", aligner.name()),
            aligner.dim(),
            dim,
        ));
    }
    // A table is rounded once, at the end, where the device can do it.
    let dtype = if device.supports_dtype(DType::F64) { DType::F64 } else { DType::F32 };
    let mut aligned = Vec::with_capacity(text.rows().len());
    let mut kept = Vec::with_capacity(text.len());
    let mut report = RowReport::default();
    for (chunk, rows) in text.rows().chunks(CHUNK * dim).enumerate() {
        let (rows, places, part) = clean_rows(rows, dim, policy, "text", chunk * CHUNK)?;
        report.merge(&part);
        if places.is_empty() {
            continue;
        }
        let rows = Tensor::from_data(TensorData::new(rows, [places.len(), dim]), (device, dtype));
        let rows = map(rows, kept.len()).into_data();
        aligned.extend(rows.try_into_vec_as::<f32>().expect("a float type converts to f32"));
        kept.extend(places);
    }
    Ok((text.with_rows(aligned, &kept)?, report))
}
