use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::fitted::{FitMoments, fitted_method};
use super::record::{self, FromStored, Stored};
use super::{Aligner, ClosedForm, fitting};
use crate::embedding::normalize;
use crate::geometry::Moments;
use crate::{Result, assert_shape};

/// How to fit [`MeanShift`], which has no settings.
#[derive(Config, Debug)]
pub struct MeanShiftConfig {}

/// Mean shift: `unit(e_y - mu_y + mu_x)`, ReAlign's first step on its own (arXiv 2602.07026, Sec. 4.1; `T_mu` of
/// arXiv 2605.07825).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, MeanShiftConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::from_floats([[1.0, 0.0], [0.6, 0.8]], &device);
/// let image = Tensor::<2>::from_floats([[0.0, 1.0], [0.0, -1.0]], &device);
/// let aligner = MeanShiftConfig::new().fit(text.clone(), image)?;
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

fitted_method!(MeanShiftConfig => MeanShift);

impl FitMoments for MeanShiftConfig {
    type Fitted = MeanShift;

    fn fit_moments(&self, text: &Moments, image: &Moments, device: &Device) -> Result<MeanShift> {
        fitting::check_rows(text, image)?;
        Ok(MeanShift { text_mean: record::mean(text, device), image_mean: record::mean(image, device) })
    }
}

impl FromStored for MeanShift {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (text_mean, shape) = stored.take("text_mean", device)?;
        Ok(Self { text_mean, image_mean: stored.take_shaped("image_mean", shape, device)? })
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
