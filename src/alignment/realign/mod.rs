mod fit;
mod statistics;

use std::path::Path;

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use fit::ReAlignFit;
pub use statistics::ReAlignStatistics;

use super::record::{self, Stored};
use super::{Aligner, ClosedForm, FitReport, fitting};
use crate::embedding::{EmbeddingTable, NonFinite, RawRows, normalize, normalize_bounded};
use crate::{Result, assert_shape};

/// How to fit [`ReAlign`].
#[derive(Config, Debug)]
pub struct ReAlignConfig {
    /// Added to the spread of the text rows, so that identical rows do not divide by zero.
    #[config(default = 1e-10)]
    pub eps: f64,
    /// How often the centroid step is done. Once, in the paper; each further pass shrinks the gap that is left by
    /// about the largest eigenvalue of `E[e' e'^T]`.
    #[config(default = 1)]
    pub centroid_passes: usize,
    /// The least number of rows in each set. One row has no spread, so 1 must be asked for.
    #[config(default = 2)]
    pub min_rows: usize,
}

impl ReAlignConfig {
    /// Fits on tables, under a policy for rows without direction: the statistics on all rows in float64, then the
    /// centroid on all text rows. Reports what became of the rows.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Mismatch`] for different numbers of dimensions, [`crate::Error::TooFewRows`] for too small a set,
    /// [`crate::Error::NonFinite`] or [`crate::Error::ZeroRow`] under [`NonFinite::Error`], [`crate::Error::Config`] for a setting that
    /// cannot be used.
    pub fn fit_tables(
        &self,
        text: &EmbeddingTable,
        image: &EmbeddingTable,
        policy: NonFinite,
        device: &Device,
    ) -> Result<(ReAlign, FitReport)> {
        let rows = |table| RawRows::single(EmbeddingTable::rows(table), EmbeddingTable::dim(table));
        let (statistics, report) = self.fit_raw(rows(text)?, rows(image)?, policy)?;
        Ok((statistics.init(device), report))
    }

    /// Fits on rows as they lie in memory, mapped files among them.
    ///
    /// ```
    /// use burn_revision::alignment::ReAlignConfig;
    /// use burn_revision::embedding::{NonFinite, RawRows};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let text = RawRows::single(&[1.0, 0.0, 0.8, 0.6], 2)?;
    /// let image = RawRows::single(&[0.0, 1.0, -0.6, 0.8], 2)?;
    /// let (statistics, _) = ReAlignConfig::new().fit_raw(text, image, NonFinite::Error)?;
    /// let mut aligned = [0.0; 4];
    /// statistics.closed_form().align_into(text, NonFinite::Error, 0, &mut aligned)?;
    /// assert!((aligned[0].hypot(aligned[1]) - 1.0).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`ReAlignConfig::fit_tables`].
    pub fn fit_raw(
        &self,
        text: RawRows<'_>,
        image: RawRows<'_>,
        policy: NonFinite,
    ) -> Result<(ReAlignStatistics, FitReport)> {
        let (text_moments, image_moments, report) = fitting::raw_moments(text, image, policy)?;
        let mut fit = ReAlignFit::anchor_trace(self, &text_moments, &image_moments)?;
        while fit.passes_left() > 0 {
            fit.update_centroid_raw(text, policy)?;
            fit.finish_pass()?;
        }
        Ok((fit.finish()?, report))
    }

    /// Fits on tensors `[n, d]` and `[m, d]` of any float type; the result is on the device of the text rows.
    ///
    /// # Errors
    ///
    /// As for [`ReAlignConfig::fit_tables`] under [`NonFinite::Error`].
    ///
    /// # Panics
    ///
    /// If the numbers of dimensions differ.
    pub fn fit(&self, text: Tensor<2>, image: Tensor<2>) -> Result<ReAlign> {
        let device = text.device().without_autodiff();
        let (rows, text, image) = fitting::tensor_moments(text, image)?;
        let mut fit = ReAlignFit::anchor_trace(self, &text, &image)?;
        while fit.passes_left() > 0 {
            fit.update_centroid_raw(rows.raw(fit.dim())?, NonFinite::Error)?;
            fit.finish_pass()?;
        }
        Ok(fit.finish()?.init(&device))
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
    /// The aligned unit rows, `[n, d]` to `[n, d]`, in the type and on the device of the rows given; rows need not
    /// be unit rows. Half precision is computed in float32.
    ///
    /// # Panics
    ///
    /// If the rows have another number of dimensions.
    pub fn forward(&self, text: Tensor<2>) -> Tensor<2> {
        self.align(text, 0)
    }

    /// How often the centroid step is done.
    pub fn centroid_passes(&self) -> usize {
        self.centroids.dims()[0]
    }

    /// The statistics on the host.
    pub fn statistics(&self) -> ReAlignStatistics {
        let traces = record::host(&self.traces);
        let centroids = record::host(&self.centroids);
        ReAlignStatistics {
            text_mean: record::host(&self.text_mean),
            image_mean: record::host(&self.image_mean),
            scale: record::join(&record::host(&self.scale)),
            text_trace: record::join(&traces[..2]),
            image_trace: record::join(&traces[2..]),
            centroids: centroids
                .chunks_exact(self.dim())
                .map(|mean| mean.iter().map(|&value| f64::from(value)).collect())
                .collect(),
        }
    }

    /// Writes the statistics at `path`: as `.safetensors` where the name ends so, else as a Burn record.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        record::save(self, path.as_ref())
    }

    /// Reads what [`ReAlign::save`] or Burn's `save_file` wrote; dimensions and passes come from the file.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] where the file cannot be read, [`crate::Error::Format`] where it holds something else.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_stored(Stored::read(path.as_ref())?, device)
    }

    /// Writes the statistics as `.safetensors`, whatever the name.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] where the file cannot be written.
    pub fn save_safetensors(&self, path: impl AsRef<Path>) -> Result<()> {
        record::save_safetensors(self, path.as_ref())
    }

    /// Reads what [`ReAlign::save_safetensors`] wrote.
    ///
    /// # Errors
    ///
    /// As for [`ReAlign::load`].
    pub fn load_safetensors(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_stored(Stored::read_safetensors(path.as_ref())?, device)
    }

    fn from_stored(mut stored: Stored, device: &Device) -> Result<Self> {
        let (centroids, shape) = stored.take::<2>("centroids")?;
        let [_, dim] = shape;
        let text_mean = stored.take_shaped("text_mean", [dim])?;
        let image_mean = stored.take_shaped("image_mean", [dim])?;
        let scale = stored.take_shaped("scale", [2])?;
        let traces = stored.take_shaped("traces", [2, 2])?;
        stored.finish()?;
        Ok(Self {
            text_mean: record::constant(text_mean, [dim], device),
            image_mean: record::constant(image_mean, [dim], device),
            scale: record::constant(scale, [2], device),
            traces: record::constant(traces, [2, 2], device),
            centroids: record::constant(centroids, shape, device),
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
