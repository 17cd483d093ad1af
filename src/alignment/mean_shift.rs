use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::record::{self, Stored};
use super::{Aligner, ClosedForm, FitReport, fitting};
use crate::embedding::{EmbeddingTable, NonFinite, normalize};
use crate::geometry::Moments;
use crate::{Result, assert_shape};

/// Mean shift: `unit(e_y - mu_y + mu_x)`, ReAlign's first step on its own (arXiv 2602.07026, Sec. 4.1; `T_mu` of
/// arXiv 2605.07825).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, MeanShift};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::from_floats([[1.0, 0.0], [0.6, 0.8]], &device);
/// let image = Tensor::<2>::from_floats([[0.0, 1.0], [0.0, -1.0]], &device);
/// let aligner = MeanShift::fit(text.clone(), image)?;
/// let mean: Vec<f32> = aligner.transport(text).mean_dim(0).into_data().try_into_vec().unwrap();
/// assert!(mean.iter().all(|m| m.abs() < 1e-6)); // the mean of the images is zero here
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct MeanShift {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
}

impl MeanShift {
    /// Fits on the moments of unit rows.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Mismatch`] for different numbers of dimensions, [`crate::Error::TooFewRows`] for an empty set.
    pub fn from_moments(text: &Moments, image: &Moments, device: &Device) -> Result<Self> {
        fitting::check(text, image, 1)?;
        Ok(Self {
            text_mean: record::constant(fitting::rounded(text.mean()), [text.dim()], device),
            image_mean: record::constant(fitting::rounded(image.mean()), [text.dim()], device),
        })
    }

    /// Fits on tables, under a policy for rows without direction; reports what became of the rows.
    ///
    /// # Errors
    ///
    /// As for [`MeanShift::from_moments`], and [`crate::Error::NonFinite`] or [`crate::Error::ZeroRow`] under
    /// [`NonFinite::Error`].
    pub fn fit_tables(
        text: &EmbeddingTable,
        image: &EmbeddingTable,
        policy: NonFinite,
        device: &Device,
    ) -> Result<(Self, FitReport)> {
        let (text, image, report) = fitting::table_moments(text, image, policy)?;
        Ok((Self::from_moments(&text, &image, device)?, report))
    }

    /// Fits on tensors `[n, d]` and `[m, d]` of any float type; the result is on the device of the text rows.
    ///
    /// # Errors
    ///
    /// As for [`MeanShift::fit_tables`] under [`NonFinite::Error`].
    ///
    /// # Panics
    ///
    /// If the numbers of dimensions differ.
    pub fn fit(text: Tensor<2>, image: Tensor<2>) -> Result<Self> {
        let device = text.device().without_autodiff();
        let (_, text, image) = fitting::tensor_moments(text, image)?;
        Self::from_moments(&text, &image, &device)
    }

    /// Writes the statistics at `path`: as `.safetensors` where the name ends so, else as a Burn record.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        record::save(self, path.as_ref())
    }

    /// Reads what [`MeanShift::save`] or Burn's `save_file` wrote.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] where the file cannot be read, [`crate::Error::Format`] where it holds something else.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let mut stored = Stored::read(path.as_ref())?;
        let (text_mean, shape) = stored.take::<1>("text_mean")?;
        let image_mean = stored.take_shaped("image_mean", shape)?;
        stored.finish()?;
        Ok(Self {
            text_mean: record::constant(text_mean, shape, device),
            image_mean: record::constant(image_mean, shape, device),
        })
    }

    /// The aligned unit rows, `[n, d]` to `[n, d]`, in the type and on the device of the rows given.
    ///
    /// # Panics
    ///
    /// If the rows have another number of dimensions.
    pub fn forward(&self, text: Tensor<2>) -> Tensor<2> {
        self.align(text, 0)
    }
}

impl Aligner for MeanShift {
    fn name(&self) -> &'static str {
        "mean_shift"
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "mean shift: text rows");
        let rows = normalize(text);
        let dtype = rows.dtype();
        let shift = record::value(&self.image_mean, dtype) - record::value(&self.text_mean, dtype);
        rows + shift.unsqueeze()
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        let (text, image) = (record::host(&self.text_mean), record::host(&self.image_mean));
        Some(fitting::shift(&text, Some(&image)))
    }
}
