use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::means::fitted_by_means;
use super::{Aligner, ClosedForm, fitting, record};
use crate::assert_shape;
use crate::embedding::normalize;

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

fitted_by_means!(MeanShift, fitting::check_rows);

impl MeanShift {
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
