use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::fitted::{FitMoments, fitted_method};
use super::record::{self, FromStored, Stored};
use super::{Aligner, ClosedForm, fitting};
use crate::embedding::{normalize, normalize_bounded};
use crate::geometry::Moments;
use crate::{Result, assert_shape};

/// Whose [`Centring`] it is: what becomes of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CentringVariant {
    /// `unit(e_x - mu_x)`: GR-CLIP (arXiv 2507.19054), which calibrates retrieval so with means of a calibration set. The
    /// post-hoc variant of I0T (arXiv 2412.14384) is the same arithmetic.
    #[default]
    GrClip,
    /// `e_x - mu_x`, not normalised again: Unicorn's synthesis of image embeddings from text alone (arXiv 2503.22655). No
    /// image is needed to train on it. The paper subtracts the mean of the test set's images at inference; here that
    /// mean is fitted, so that one image can be served alone. (The transfer that the paper calls ideal, onto the mean of
    /// paired images, is [`super::MeanShift`].)
    Unicorn,
}

/// How to fit [`Centring`].
#[derive(Config, Debug)]
pub struct CentringConfig {
    /// What becomes of images.
    #[config(default = "CentringVariant::GrClip")]
    pub variant: CentringVariant,
}

/// Both modalities about zero: `unit(e_y - mu_y)` for text, and images less their own mean; see [`CentringVariant`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::alignment::{Aligner, CentringConfig, CentringVariant};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let image = Tensor::<2>::from_floats([[0.0, 1.0], [1.0, 0.0]], &device);
/// let config = CentringConfig::new().with_variant(CentringVariant::Unicorn);
/// let unicorn = config.fit(text, image.clone())?;
/// let moved: Vec<f32> = unicorn.align_image(image).into_data().try_into_vec().unwrap();
/// assert_eq!(moved, [-0.5, 0.5, 0.5, -0.5]); // not of unit length
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Centring {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
    /// 1 for [`CentringVariant::Unicorn`], else 0: a number, so that it is in the record.
    unicorn: Param<Tensor<1>>,
}

fitted_method!(CentringConfig => Centring);

impl FitMoments for CentringConfig {
    type Fitted = Centring;

    fn fit_moments(&self, text: &Moments, image: &Moments, device: &Device) -> Result<Centring> {
        fitting::check_varying(text, image)?;
        let unicorn = if self.variant == CentringVariant::Unicorn { 1.0 } else { 0.0 };
        Ok(Centring {
            text_mean: record::mean(text, device),
            image_mean: record::mean(image, device),
            unicorn: record::constant(vec![unicorn], [1], device),
        })
    }
}

impl FromStored for Centring {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (text_mean, shape) = stored.take("text_mean", device)?;
        if !stored.has("unicorn") {
            let detail =
                "written by a version that kept GR-CLIP and Unicorn in types of their own: fit it again";
            return Err(stored.error(detail.to_string()));
        }
        Ok(Self {
            text_mean,
            image_mean: stored.take_shaped("image_mean", shape, device)?,
            unicorn: stored.take_shaped("unicorn", [1], device)?,
        })
    }
}

impl Centring {
    /// What becomes of images.
    pub fn variant(&self) -> CentringVariant {
        match record::host(&self.unicorn)[0] {
            0.0 => CentringVariant::GrClip,
            _ => CentringVariant::Unicorn,
        }
    }
}

impl Aligner for Centring {
    fn name(&self) -> &'static str {
        match self.variant() {
            CentringVariant::GrClip => "gr_clip",
            CentringVariant::Unicorn => "unicorn",
        }
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        centered(text, &self.text_mean)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        Some(fitting::shift(&record::host(&self.text_mean), None))
    }

    fn moves_images(&self) -> bool {
        true
    }

    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        let dtype = image.dtype();
        let rows = centered(image, &self.image_mean);
        let rows = match self.variant() {
            CentringVariant::GrClip => normalize_bounded(rows),
            CentringVariant::Unicorn => rows,
        };
        rows.cast(dtype)
    }
}

/// Unit rows less a mean, in at least float32.
fn centered(rows: Tensor<2>, mean: &Param<Tensor<1>>) -> Tensor<2> {
    let [dim] = mean.dims();
    assert_shape!(rows, [_, dim], "centring: rows");
    let rows = normalize(rows);
    let dtype = rows.dtype();
    rows - record::value(mean, dtype).unsqueeze()
}
