use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::fitted::{FitMoments, fitted_method};
use super::host_map::LinearMap;
use super::record::{self, FromStored, Stored};
use super::{Aligner, fitting};
use crate::embedding::normalize;
use crate::geometry::linalg;
use crate::geometry::{Moments, Spectrum};
use crate::{Result, assert_shape};

/// Which of the linear maps that turn one covariance into another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CovarianceMap {
    /// `Sigma_x^{1/2} Sigma_y^{-1/2}`: whitening and colouring, as in CORAL (arXiv 1511.05547).
    #[default]
    WhiteningColouring,
    /// `Sigma_y^{-1/2} (Sigma_y^{1/2} Sigma_x Sigma_y^{1/2})^{1/2} Sigma_y^{-1/2}`: optimal transport between Gaussians
    /// (Olkin and Pukelsheim, 1982); of all such maps the one that moves the rows least.
    GaussianTransport,
}

/// How to fit [`Whitening`].
#[derive(Config, Debug)]
pub struct WhiteningConfig {
    /// Which map.
    #[config(default = "CovarianceMap::WhiteningColouring")]
    pub map: CovarianceMap,
    /// What is added to the eigenvalues of the text's covariance before it is inverted, relative to their mean. Without it
    /// directions in which text hardly varies are blown up. arXiv 2602.07026 does not state its own; the default is about
    /// the `1e-6` of an unused option in its authors' script, at 1280 dimensions and for unit rows.
    #[config(default = 1e-3)]
    pub ridge: f64,
}

/// Matches mean and covariance: `unit(mu_x + A (e_y - mu_y))` with `A Sigma_y A^T = Sigma_x`.
///
/// The moment correction `T_Sigma` of arXiv 2605.07825, which gives no formula; of the two common maps see
/// [`CovarianceMap`]. Where rows are fewer than dimensions the covariance has no inverse: the ridge then decides what
/// becomes of the directions that no row has, and with a ridge of 0 they are dropped.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::{Aligner, CovarianceMap, WhiteningConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let rows = || Tensor::<2>::random([64, 4], Distribution::Normal(0.2, 1.0), &device);
/// let (text, image) = (rows(), rows());
/// let config = WhiteningConfig::new().with_map(CovarianceMap::GaussianTransport);
/// let aligned = config.fit(text.clone(), image)?.align(text, 0);
/// assert_eq!(aligned.dims(), [64, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Whitening {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
    /// `A^T`, `[d, d]`: rows are multiplied from the left.
    map: Param<Tensor<2>>,
    /// 1 for [`CovarianceMap::GaussianTransport`], else 0: a number, so that it is in the record.
    transport: Param<Tensor<1>>,
}

fitted_method!(WhiteningConfig => Whitening);

impl FitMoments for WhiteningConfig {
    type Fitted = Whitening;
    const COVARIANCE: bool = true;

    fn fit_moments(&self, text: &Moments, image: &Moments, device: &Device) -> Result<Whitening> {
        fitting::check(text, image, 1)?;
        fitting::check_spread(text, "text")?;
        let dim = text.dim();
        let spectrum = |moments: &Moments| Spectrum::of(&fitting::covariance(moments)?, dim, moments.count());
        let (text_spectrum, image_spectrum) = (spectrum(text)?, spectrum(image)?);
        let ridge = fitting::absolute_ridge(self.ridge, &text_spectrum, dim)?;
        let inverse_root = text_spectrum.apply(|value, sound| fitting::inverse_root(value, sound, ridge));
        let map = match self.map {
            CovarianceMap::WhiteningColouring => {
                let root = image_spectrum.apply(|value, sound| if sound { value.sqrt() } else { 0.0 });
                linalg::square_product(&inverse_root, &root, dim)
            }
            CovarianceMap::GaussianTransport => {
                let root = text_spectrum.apply(|value, _| (value.max(0.0) + ridge).sqrt());
                let image = image_spectrum.apply(|value, sound| if sound { value } else { 0.0 });
                let middle = linalg::square_product(&linalg::square_product(&root, &image, dim), &root, dim);
                let middle = Spectrum::of(&middle, dim, text.count().max(image_spectrum.dim()))?;
                let middle = middle.apply(|value, sound| if sound { value.sqrt() } else { 0.0 });
                linalg::square_product(
                    &linalg::square_product(&inverse_root, &middle, dim),
                    &inverse_root,
                    dim,
                )
            }
        };
        let transport = if self.map == CovarianceMap::GaussianTransport { 1.0 } else { 0.0 };
        Ok(Whitening {
            text_mean: record::mean(text, device),
            image_mean: record::mean(image, device),
            map: record::constant(fitting::rounded(&map), [dim, dim], device),
            transport: record::constant(vec![transport], [1], device),
        })
    }
}

impl FromStored for Whitening {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (text_mean, [dim]) = stored.take("text_mean", device)?;
        Ok(Self {
            text_mean,
            image_mean: stored.take_shaped("image_mean", [dim], device)?,
            map: stored.take_shaped("map", [dim, dim], device)?,
            transport: stored.take_shaped("transport", [1], device)?,
        })
    }
}

impl Whitening {
    /// The map on the host.
    pub(super) fn host_map(&self) -> LinearMap {
        let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
        let dim = self.dim();
        let (matrix, text_mean) = (wide(record::host(&self.map)), wide(record::host(&self.text_mean)));
        let moved = linalg::matmul(&text_mean, [1, dim], &matrix, [dim, dim]);
        let image_mean = wide(record::host(&self.image_mean));
        let after = image_mean.iter().zip(moved).map(|(image, text)| image - text).collect();
        LinearMap { before: None, matrix, after, last: None }
    }

    /// Which map it is.
    pub fn map(&self) -> CovarianceMap {
        match record::host(&self.transport)[0] {
            0.0 => CovarianceMap::WhiteningColouring,
            _ => CovarianceMap::GaussianTransport,
        }
    }
}

impl Aligner for Whitening {
    fn name(&self) -> &'static str {
        match self.map() {
            CovarianceMap::WhiteningColouring => "whitening",
            CovarianceMap::GaussianTransport => "gaussian_ot",
        }
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "whitening: text rows");
        let rows = normalize(text);
        let dtype = rows.dtype();
        let centred = rows - record::value(&self.text_mean, dtype).unsqueeze();
        centred.matmul(record::value(&self.map, dtype)) + record::value(&self.image_mean, dtype).unsqueeze()
    }
}
