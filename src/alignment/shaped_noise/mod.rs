mod host;

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use super::fitted::{Fit, fitted_method};
use super::realign::{ReAlignFit, ReAlignStatistics};
use super::record::{self, FromStored, Stored};
use super::{Aligner, Embeddings, ReAlignConfig, fitting};
use crate::embedding::{normalize, normalize_bounded, parallel};
use crate::geometry::{Moments, linalg};
use crate::random::seeded_rng;
use crate::{Error, Result, assert_shape};

/// How to fit [`ShapedNoise`].
#[derive(Config, Debug, Copy, PartialEq)]
pub struct ShapedNoiseConfig {
    /// The share of the missing variance that is filled in. The whole of it did worse than isotropic noise where a model was
    /// trained on the rows; a part is a trade between variance and what a text says.
    #[config(default = 0.25)]
    pub amount: f64,
    /// The most directions that get noise, those with the most variance missing; by default all that miss some.
    pub directions: Option<usize>,
}

/// ReAlign, with noise of the shape that the images have and scaled texts lack: covariance `amount (Sigma_x - s^2 Sigma_y)_+`.
///
/// ReAlign matches the trace of the covariance and not its shape: in some directions images vary more than scaled texts do.
/// C3 fills all directions alike; this fills those. It is a method of this crate and uses unpaired statistics only.
///
/// The noise is not isotropic, so that [`Aligner::noise`] is 0 and [`Aligner::align`] adds it.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::{Aligner, ShapedNoiseConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let rows = || Tensor::<2>::random([64, 4], Distribution::Normal(0.2, 1.0), &device);
/// let (text, image) = (rows(), rows());
/// assert_eq!(ShapedNoiseConfig::new().fit(text.clone(), image)?.align(text, 7).dims(), [64, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct ShapedNoise {
    /// The scale of ReAlign as the sum of two float32 numbers.
    scale: Param<Tensor<1>>,
    /// Its shifts, `[1 + passes, d]`.
    shifts: Param<Tensor<2>>,
    /// Standard normal numbers times this are the noise, `[k, d]`.
    shape: Param<Tensor<2>>,
}

fitted_method!(ShapedNoiseConfig => ShapedNoise);

impl Fit for ShapedNoiseConfig {
    type Fitted = ShapedNoise;

    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<ShapedNoise> {
        let (text_moments, image_moments) = (text.covariance("text")?, image.covariance("image")?);
        fitting::check_varying(&text_moments, &image_moments)?;
        let fit = ReAlignFit::anchor_trace(&ReAlignConfig::new(), &text_moments, &image_moments)?;
        self.of_moments(&fit.over(text)?, &text_moments, &image_moments, text.device())
    }
}

impl ShapedNoiseConfig {
    /// The module with a fitted ReAlign, and the covariances that tell what is missing.
    pub(super) fn of_moments(
        &self,
        realign: &ReAlignStatistics,
        text: &Moments,
        image: &Moments,
        device: &Device,
    ) -> Result<ShapedNoise> {
        if !(self.amount.is_finite() && self.amount >= 0.0) {
            let detail = format!("expected a number of at least 0, found {}", self.amount);
            return Err(Error::config("amount", detail));
        }
        let (dim, scale) = (text.dim(), realign.scale);
        let covariances = fitting::covariance(image)?.into_iter().zip(fitting::covariance(text)?);
        let missing: Vec<f64> = covariances.map(|(image, text)| image - scale * scale * text).collect();
        let eigen = linalg::symmetric_eigen(&missing, dim)?;
        let most = self.directions.unwrap_or(dim);
        let missing = eigen.values.iter().take(most).take_while(|value| **value > 0.0);
        let roots: Vec<f64> = missing.map(|value| (self.amount * value).sqrt()).collect();
        // At least one row, so that there is a tensor.
        let directions = roots.len().max(1);
        let shape: Vec<f32> = (0..directions)
            .flat_map(|k| {
                let root = roots.get(k).copied().unwrap_or(0.0);
                eigen.vectors[k * dim..(k + 1) * dim].iter().map(move |value| (root * value) as f32)
            })
            .collect();
        let form = realign.closed_form();
        let shifts: Vec<Vec<f32>> = form.vectors().iter().map(|shift| fitting::rounded(shift)).collect();
        Ok(ShapedNoise {
            scale: record::constant(record::split(scale).to_vec(), [2], device),
            shifts: record::constant(shifts.concat(), [shifts.len(), dim], device),
            shape: record::constant(shape, [directions, dim], device),
        })
    }
}

impl FromStored for ShapedNoise {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (shifts, [_, dim]) = stored.take::<2>("shifts", device)?;
        let (shape, [_, found]) = stored.take::<2>("shape", device)?;
        if found != dim {
            return Err(stored.error(format!("shape: expected {dim} dimensions, found {found}")));
        }
        Ok(Self { scale: stored.take_shaped("scale", [2], device)?, shifts, shape })
    }
}

impl ShapedNoise {
    /// `E ||noise||^2`, the variance that is filled in.
    pub fn energy(&self) -> f64 {
        record::host(&self.shape).iter().map(|&value| f64::from(value) * f64::from(value)).sum()
    }
}

impl Aligner for ShapedNoise {
    fn name(&self) -> &'static str {
        "shaped_noise"
    }

    fn dim(&self) -> usize {
        self.shape.dims()[1]
    }

    /// ReAlign.
    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "shaped noise: text rows");
        let rows = normalize(text);
        let dtype = rows.dtype();
        let scale: Tensor<2> = record::value(&self.scale, dtype).sum().unsqueeze();
        let shifts = record::value(&self.shifts, dtype);
        let passes = shifts.dims()[0];
        let mut rows = rows * scale;
        for pass in 0..passes {
            rows = rows + shifts.clone().narrow(0, pass, 1);
            if pass + 1 < passes {
                rows = normalize_bounded(rows);
            }
        }
        rows
    }

    fn has_shaped_noise(&self) -> bool {
        true
    }

    fn align_rows(&self, text: Tensor<2>, seed: u64, numbers: &[u64]) -> Tensor<2> {
        let (given, device) = (text.dtype(), text.device().without_autodiff());
        let rows = self.transport(text);
        assert_eq!(numbers.len(), rows.dims()[0], "noise: numbers of the rows");
        let directions = self.shape.dims()[0];
        let normal = parallel::map(numbers.chunks(64), |numbers| normal(seed, numbers, directions)).concat();
        let normal = TensorData::new(normal, [numbers.len(), directions]);
        let normal = Tensor::<2>::from_data(normal, (&device, DType::F32)).cast(rows.dtype());
        let noise = normal.matmul(record::value(&self.shape, rows.dtype()));
        normalize_bounded(rows + noise).cast(given)
    }
}

/// Standard normal numbers of rows, `[n, k]`: those of a row depend on the seed and its number alone.
fn normal(seed: u64, numbers: &[u64], directions: usize) -> Vec<f32> {
    let mut normal = Vec::with_capacity(numbers.len() * directions);
    for &number in numbers {
        let mut rng = seeded_rng(seed, &[number]);
        normal.extend((0..directions).map(|_| -> f32 { StandardNormal.sample(&mut rng) }));
    }
    normal
}
