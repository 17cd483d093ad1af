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

/// Where C3 puts the centre of the text rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum C3Variant {
    /// `e_y - mu_y + mu_x + noise`: onto the images, which are left alone; C3 as arXiv 2602.07026 compares it.
    #[default]
    Shifted,
    /// `e_y - mu_y + noise`, and `unit(e_x - mu_x)` for images: both modalities about zero; C3 as its authors
    /// published it (arXiv 2401.08567).
    ZeroMean,
}

/// How to fit [`C3`].
#[derive(Config, Debug)]
pub struct C3Config {
    /// Where the centre of the text rows goes.
    #[config(default = "C3Variant::Shifted")]
    pub variant: C3Variant,
    /// The standard deviation of the noise for each coordinate. The default is `sqrt(0.016)`, from the code of
    /// arXiv 2401.08567 for 512 dimensions; the papers that compare against C3 do not say theirs.
    #[config(default = 0.126_491_106_406_735_17)]
    pub sigma: f64,
}

/// C3, "connect, collapse, corrupt": a shift of the centroid and isotropic noise (arXiv 2401.08567).
///
/// The noise of `N` rows leaves a centroid gap of about `sigma sqrt(d / N)` before the last normalisation.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::{Aligner, C3Config, C3Variant};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let rows = || Tensor::<2>::random([16, 4], Distribution::Uniform(0.1, 1.0), &device);
/// let (text, image) = (rows(), rows());
/// let c3 = C3Config::new().with_variant(C3Variant::ZeroMean).fit(text.clone(), image.clone())?;
/// let (text, image) = (c3.align(text, 42), c3.align_image(image));
/// assert_eq!(text.dims(), image.dims());
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct C3 {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
    /// The noise as the sum of two float32 numbers.
    sigma: Param<Tensor<1>>,
    /// 1 for [`C3Variant::ZeroMean`], else 0: a number, so that it is in the record.
    zero_mean: Param<Tensor<1>>,
}

fitted_method!(C3Config => C3);

impl FitMoments for C3Config {
    type Fitted = C3;

    fn fit_moments(&self, text: &Moments, image: &Moments, device: &Device) -> Result<C3> {
        fitting::check(text, image, 1)?;
        fitting::check_sigma(self.sigma)?;
        if self.variant == C3Variant::ZeroMean {
            fitting::check_spread(text, "text")?;
            fitting::check_spread(image, "image")?;
        }
        let zero_mean = if self.variant == C3Variant::ZeroMean { 1.0 } else { 0.0 };
        Ok(C3 {
            text_mean: record::mean(text, device),
            image_mean: record::mean(image, device),
            sigma: record::constant(record::split(self.sigma).to_vec(), [2], device),
            zero_mean: record::constant(vec![zero_mean], [1], device),
        })
    }
}

impl FromStored for C3 {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (text_mean, shape) = stored.take("text_mean", device)?;
        Ok(Self {
            text_mean,
            image_mean: stored.take_shaped("image_mean", shape, device)?,
            sigma: stored.take_shaped("sigma", [2], device)?,
            zero_mean: stored.take_shaped("zero_mean", [1], device)?,
        })
    }
}

impl C3 {
    /// Where the centre of the text rows goes.
    pub fn variant(&self) -> C3Variant {
        match record::host(&self.zero_mean)[0] {
            0.0 => C3Variant::Shifted,
            _ => C3Variant::ZeroMean,
        }
    }
}

impl Aligner for C3 {
    fn name(&self) -> &'static str {
        "c3"
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "C3: text rows");
        let rows = normalize(text);
        let dtype = rows.dtype();
        let shifted = record::value(&self.zero_mean, dtype).neg().add_scalar(1.0);
        let target = record::value(&self.image_mean, dtype) * shifted;
        rows + (target - record::value(&self.text_mean, dtype)).unsqueeze()
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        let (text, image) = (record::host(&self.text_mean), record::host(&self.image_mean));
        let target = (self.variant() == C3Variant::Shifted).then_some(image.as_slice());
        Some(fitting::shift(&text, target).with_noise(self.noise()))
    }

    fn noise(&self) -> f64 {
        record::join(&record::host(&self.sigma))
    }

    fn moves_images(&self) -> bool {
        self.variant() == C3Variant::ZeroMean
    }

    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(image, [_, dim], "C3: image rows");
        match self.variant() {
            C3Variant::Shifted => image,
            C3Variant::ZeroMean => {
                let dtype = image.dtype();
                let rows = normalize(image);
                let mean = record::value(&self.image_mean, rows.dtype());
                normalize_bounded(rows - mean.unsqueeze()).cast(dtype)
            }
        }
    }
}
