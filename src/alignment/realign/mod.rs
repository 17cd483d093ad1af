mod config;
mod fit;
#[cfg(test)]
mod golden_tests;
mod statistics;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use config::ReAlignConfig;
pub(super) use fit::ReAlignFit;
pub(super) use statistics::ReAlignStatistics;

use super::fitted::{Fit, fitted_method};
use super::record::{self, FromStored, Stored};
use super::{Aligner, ClosedForm, Embeddings};
use crate::embedding::{normalize, normalize_bounded};
use crate::{Result, assert_shape};

fitted_method!(ReAlignConfig => ReAlign);

impl Fit for ReAlignConfig {
    type Fitted = ReAlign;

    /// The statistics on all rows in float64, then the centroid on all text rows.
    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<ReAlign> {
        Ok(ReAlign::of(&self.fit_statistics(text, image)?, text.device()))
    }
}

impl ReAlignConfig {
    /// What [`ReAlign`] is made of, and methods that begin with it.
    pub(super) fn fit_statistics(
        &self,
        text: &Embeddings<'_>,
        image: &Embeddings<'_>,
    ) -> Result<ReAlignStatistics> {
        let fit = ReAlignFit::anchor_trace(self, &text.moments("text")?, &image.moments("image")?)?;
        fit.over(text)
    }
}

/// ReAlign: text embeddings moved into the distribution of image embeddings by centroid and spread alone
/// (arXiv 2602.07026, Sec. 4).
///
/// For unit rows `e_y` of text, with the centroids `mu` and spreads `T` of both modalities:
///
/// ```text
/// e~  = mu_x + s (e_y - mu_y),   s = sqrt(T_x / (T_y + eps))      anchor and trace alignment
/// e'  = e~ / ||e~||
/// e'' = e' - E e' + mu_x                                          centroid alignment
/// e^  = e'' / ||e''||
/// ```
///
/// $$ \\tilde e = \\mu_x + s\\,(e_y - \\mu_y), \\qquad s = \\sqrt{T_x / (T_y + \\epsilon)}, \\qquad
/// \\hat e = \\mathrm{unit}(e' - E e' + \\mu_x) $$
///
/// The statistics are constants of the module: saved with it, moved with it, and never trained, even after
/// `unfreeze()`. Images stay as they are.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::ReAlignConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::random([64, 8], Distribution::Uniform(0.0, 1.0), &device);
/// let image = Tensor::<2>::random([64, 8], Distribution::Uniform(-0.3, 1.0), &device);
/// let realign = ReAlignConfig::new().fit(text.clone(), image)?;
/// let aligned = realign.forward(text);
/// assert_eq!(aligned.dims(), [64, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct ReAlign {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
    /// The scale as the sum of two float32 numbers.
    scale: Param<Tensor<1>>,
    /// The spreads of text and image, each as the sum of two float32 numbers; `[2, 2]`.
    traces: Param<Tensor<2>>,
    /// The mean of the projected rows at each centroid pass, `[passes, d]`.
    centroids: Param<Tensor<2>>,
}

impl ReAlign {
    /// How often the centroid step is done.
    pub fn centroid_passes(&self) -> usize {
        self.centroids.dims()[0]
    }

    /// `mu_y`, the mean unit row of text, `[d]`; rounded to float32 as by the authors' script.
    pub fn text_mean(&self) -> Vec<f32> {
        record::host(&self.text_mean)
    }

    /// `mu_x`, the mean unit row of images, `[d]`; rounded likewise.
    pub fn image_mean(&self) -> Vec<f32> {
        record::host(&self.image_mean)
    }

    /// `s = sqrt(T_x / (T_y + eps))`.
    pub fn scale(&self) -> f64 {
        record::join(&record::host(&self.scale))
    }

    /// `T_y`, the spread of text about its rounded mean.
    pub fn text_trace(&self) -> f64 {
        record::join(&record::host(&self.traces)[..2])
    }

    /// `T_x`, the spread of images about their rounded mean.
    pub fn image_trace(&self) -> f64 {
        record::join(&record::host(&self.traces)[2..])
    }

    /// `E e'` at each centroid pass, `[passes][d]`.
    pub fn centroids(&self) -> Vec<Vec<f32>> {
        record::host(&self.centroids).chunks_exact(self.dim()).map(<[f32]>::to_vec).collect()
    }

    /// The module with these statistics on `device`, in float32.
    pub(super) fn of(statistics: &ReAlignStatistics, device: &Device) -> Self {
        let dim = statistics.dim();
        let traces = [record::split(statistics.text_trace), record::split(statistics.image_trace)].concat();
        let centroids: Vec<f32> = statistics.centroids.iter().flatten().map(|&value| value as f32).collect();
        Self {
            text_mean: record::constant(statistics.text_mean.clone(), [dim], device),
            image_mean: record::constant(statistics.image_mean.clone(), [dim], device),
            scale: record::constant(record::split(statistics.scale).to_vec(), [2], device),
            traces: record::constant(traces, [2, 2], device),
            centroids: record::constant(centroids, [statistics.centroids.len(), dim], device),
        }
    }

    fn statistics(&self) -> ReAlignStatistics {
        let wide = |mean: &Vec<f32>| mean.iter().map(|&value| f64::from(value)).collect();
        ReAlignStatistics {
            text_mean: self.text_mean(),
            image_mean: self.image_mean(),
            scale: self.scale(),
            text_trace: self.text_trace(),
            image_trace: self.image_trace(),
            centroids: self.centroids().iter().map(wide).collect(),
        }
    }
}

impl FromStored for ReAlign {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (centroids, [_, dim]) = stored.take("centroids", device)?;
        Ok(Self {
            text_mean: stored.take_shaped("text_mean", [dim], device)?,
            image_mean: stored.take_shaped("image_mean", [dim], device)?,
            scale: stored.take_shaped("scale", [2], device)?,
            traces: stored.take_shaped("traces", [2, 2], device)?,
            centroids,
        })
    }
}

impl Aligner for ReAlign {
    fn name(&self) -> &'static str {
        "realign"
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    /// `e''`, the rows before the last normalisation: their mean over the fitted rows is `mu_x`.
    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "ReAlign: text rows");
        let rows = normalize(text);
        let dtype = rows.dtype();
        let text_mean = record::value(&self.text_mean, dtype).unsqueeze();
        let image_mean: Tensor<2> = record::value(&self.image_mean, dtype).unsqueeze();
        let scale = record::value(&self.scale, dtype).sum().unsqueeze();
        let centroids = record::value(&self.centroids, dtype);
        let mut rows = (rows - text_mean) * scale + image_mean.clone();
        for pass in 0..self.centroid_passes() {
            let shift = image_mean.clone() - centroids.clone().slice_dim(0, pass..pass + 1);
            rows = normalize_bounded(rows) + shift;
        }
        rows
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        Some(self.statistics().closed_form())
    }
}
