//! AnisoAlign (arXiv 2605.07825), one idea a file:
//!
//! ```text
//! config          everything that the paper leaves open
//! frame           U, the leading eigenvectors of Sigma_t + Sigma_i, and its circular blocks; mixing: a learned mixture of them
//! blocks          polar coordinates of a block, and how far a bounded move takes it
//! radial          the radii of texts carried to the distribution of those of images
//! prior           where the phases of images gather and how they hang together: a potential on the torus
//! wrapped_normal  the score that stage I learns
//! networks        the score network and the refinement network
//! training, fit   stage I, on images alone, and stage II
//! checkpoint      their state in a file, from which a fit that was broken off goes on
//! host            the fitted map without tensors
//! ```

mod blocks;
mod checkpoint;
#[cfg(test)]
mod checkpoint_tests;
mod config;
mod fit;
mod frame;
mod host;
mod mixing;
mod networks;
mod prior;
mod radial;
#[cfg(test)]
mod tests;
mod training;
mod wrapped_normal;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};

pub use checkpoint::FitCheckpoint;
pub use config::{AnisoAlignConfig, Mixing};
use networks::{Refiner, ScoreNetwork};
use prior::PeriodicPrior;
use radial::RadialMap;

use super::fitted::{Fit, fitted_method};
use super::record::{self, FromStored, Stored};
use super::{Aligner, Embeddings, fitting};
use crate::device::function_dtype;
use crate::embedding::{normalize, normalize_bounded};
use crate::{Result, assert_shape};

fitted_method!(AnisoAlignConfig => AnisoAlign);

impl Fit for AnisoAlignConfig {
    type Fitted = AnisoAlign;

    /// Covariances of all rows, radii, phases and networks on a sample, and the centroid of all texts.
    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<AnisoAlign> {
        let (text_moments, image_moments) = (text.covariance("text")?, image.covariance("image")?);
        let texts = text.unit_sample(self.sample, self.seed, "text")?;
        let images = image.unit_sample(self.sample, self.seed ^ 1, "image")?;
        let fitted =
            self.fit_networks((&text_moments, &texts), (&image_moments, &images), text.device(), &(), None)?;
        let centroid = text.moments_under_map(&fitted.host_map(), "text")?;
        Ok(fitted.with_centroid(centroid.mean()))
    }
}

/// AnisoAlign: text embeddings moved into the distribution of image embeddings block by block, and refined within bounds
/// (arXiv 2605.07825, Sec. 4 and App. A).
///
/// The frame `U` holds the `r` leading directions of both modalities. Its coordinates are paired, and each pair
/// `(a_k, b_k)` is a point of a plane, of radius `rho_k` and phase `theta_k`:
///
/// ```text
/// y~       = y - mu_y + mu_x                                     within U
/// rho0_k   = T_k(rho_k),   theta0_k = theta_k                    radii get the distribution of the images'
/// v0       = mu_x,V + D_V (y_V - mu_y,V)                         across U: the spread of each coordinate
/// theta^_k = theta0_k + a_theta tanh(.)                          a network refines both, within bounds
/// rho^_k   = rho0_k exp(a_rho tanh(.)),   v^ = v0 + a_v tanh(.)
/// e'       = unit(Q c(rho^, theta^) + v^)
/// e        = unit(e' - E e' + mu_x)                              the centroid step of ReAlign
/// ```
///
/// The network is trained without pairs. Stage I learns the score of noisy phases of images; stage II moves texts to where
/// that score is at home (`L_II`) while neighbouring blocks keep their differences of phase (`L_Phi`). What the paper leaves
/// open is in [`AnisoAlignConfig`].
///
/// Half precision is computed in float32, and so is float64 on devices that are no processor: shaders have trigonometric functions
/// for no wider type.
///
/// All of it are constants of the module: saved with it, moved with it, and never trained, even after `unfreeze()`.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::AnisoAlignConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = Tensor::<2>::random([200, 12], Distribution::Uniform(0.0, 1.0), &device);
/// let image = Tensor::<2>::random([200, 12], Distribution::Uniform(-0.3, 1.0), &device);
/// let config = AnisoAlignConfig::new().with_rank(Some(6)).with_score_steps(20).with_refiner_steps(20);
/// let anisoalign = config.fit(text.clone(), image)?;
/// assert_eq!(anisoalign.forward(text).dims(), [200, 12]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct AnisoAlign {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
    /// Orthonormal columns that span `U`, `[d, r]`: the `a_k` of all blocks, then the `b_k`.
    frame: Param<Tensor<2>>,
    /// `D_V`, `[d]`.
    spread: Param<Tensor<1>>,
    /// `mu_x,V - D_V mu_y,V`, `[d]`.
    offset: Param<Tensor<1>>,
    /// Means and standard deviations of the logarithms of the images' radii, `[2, m]`.
    log_radius: Param<Tensor<2>>,
    radial: RadialMap,
    prior: PeriodicPrior,
    score: ScoreNetwork,
    refiner: Refiner,
    /// `a_theta`, `a_rho`, `a_v` and what is added to squared radii.
    bounds: Param<Tensor<1>>,
    /// `E e'`; `mu_x` before the centroid step.
    centroid: Param<Tensor<1>>,
}

/// Texts before they are refined.
struct Initial {
    /// `theta0`, `[n, m]`.
    phase: Tensor<2>,
    /// `rho0`, `[n, m]`.
    radius: Tensor<2>,
    /// `v0`, `[n, d]`.
    complement: Tensor<2>,
}

impl AnisoAlign {
    /// `r`, the number of dimensions of the frame.
    pub fn rank(&self) -> usize {
        self.frame.dims()[1]
    }

    /// `a_theta`, `a_rho` and `a_v`, the bounds of the refinement.
    pub fn bounds(&self) -> [f32; 3] {
        let bounds = record::host(&self.bounds);
        [bounds[0], bounds[1], bounds[2]]
    }

    /// `kappa(a_theta, a_rho)`: within `U`, the refinement moves no row by more than this share of its length there (arXiv
    /// 2605.07825, App. A).
    pub fn kappa(&self) -> f64 {
        let [phase, radius, _] = self.bounds();
        blocks::kappa(f64::from(phase), f64::from(radius))
    }

    /// Ends the fit.
    pub(super) fn with_centroid(self, centroid: &[f64]) -> Self {
        let (dim, device) = (centroid.len(), self.centroid.val().device().without_autodiff());
        Self { centroid: record::constant(fitting::rounded(centroid), [dim], &device), ..self }
    }

    /// The initialisation of unit rows `[n, d]`.
    fn initial(&self, rows: Tensor<2>) -> Initial {
        let dtype = rows.dtype();
        let frame = record::value(&self.frame, dtype);
        let row = |param: &Param<Tensor<1>>| record::value(param, dtype).unsqueeze::<2>();
        let coordinates = rows.clone().matmul(frame.clone());
        let step = (row(&self.image_mean) - row(&self.text_mean)).matmul(frame.clone());
        let (radius, phase) = blocks::polar(coordinates.clone() + step, self.bound(3, dtype));
        let across = rows - coordinates.matmul(frame.transpose());
        Initial {
            phase,
            radius: self.radial.forward(radius),
            complement: across * row(&self.spread) + row(&self.offset),
        }
    }

    /// A bound as `[1, 1]`.
    fn bound(&self, at: usize, dtype: DType) -> Tensor<2> {
        record::value(&self.bounds, dtype).narrow(0, at, 1).unsqueeze()
    }

    fn log_radius_statistics(&self, dtype: DType) -> (Tensor<2>, Tensor<2>) {
        let statistics = record::value(&self.log_radius, dtype);
        (statistics.clone().narrow(0, 0, 1), statistics.narrow(0, 1, 1))
    }

    fn standard_log_radius(&self, radius: Tensor<2>) -> Tensor<2> {
        let (mean, deviation) = self.log_radius_statistics(radius.dtype());
        (radius.log() - mean) / deviation
    }

    /// What the refinement network sees: `[sin theta0; cos theta0; log rho0; v0]`, the logarithms standardised and `v0` scaled
    /// to coordinates of the order of one.
    fn features(&self, initial: &Initial) -> Tensor<2> {
        let scale = (self.dim() as f64).sqrt();
        let (phase, logs) = (initial.phase.clone(), self.standard_log_radius(initial.radius.clone()));
        Tensor::cat(vec![phase.clone().sin(), phase.cos(), logs, initial.complement.clone() * scale], 1)
    }

    /// The refinement, within its bounds.
    fn refined(&self, initial: Initial) -> Initial {
        let dtype = initial.phase.dtype();
        let blocks = self.radial.blocks();
        let correction = self.refiner.apply(self.features(&initial));
        let turned = correction.clone().narrow(1, 0, blocks).tanh() * self.bound(0, dtype);
        let grown = correction.clone().narrow(1, blocks, blocks).tanh() * self.bound(1, dtype);
        let complement = match self.refiner.outputs() > 2 * blocks {
            false => initial.complement,
            true => {
                let frame = record::value(&self.frame, dtype);
                let moved = correction.narrow(1, 2 * blocks, self.dim());
                let within = moved.clone().matmul(frame.clone()).matmul(frame.transpose());
                initial.complement + (moved - within).tanh() * self.bound(2, dtype)
            }
        };
        Initial { phase: initial.phase + turned, radius: initial.radius * grown.exp(), complement }
    }

    /// The rows of blocks and complement, before they are projected onto the sphere.
    fn placed(&self, parts: Initial) -> Tensor<2> {
        let frame = record::value(&self.frame, parts.phase.dtype());
        blocks::cartesian(parts.radius, parts.phase).matmul(frame.transpose()) + parts.complement
    }
}

impl FromStored for AnisoAlign {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (frame, [dim, rank]) = stored.take("frame", device)?;
        if rank % 2 == 1 {
            return Err(stored.error(format!("frame: expected an even number of columns, found {rank}")));
        }
        let blocks = rank / 2;
        let radial = RadialMap::from_stored(stored, device)?;
        if radial.blocks() != blocks {
            let found = radial.blocks();
            return Err(stored.error(format!("radial: expected {blocks} blocks, found {found}")));
        }
        Ok(Self {
            text_mean: stored.take_shaped("text_mean", [dim], device)?,
            image_mean: stored.take_shaped("image_mean", [dim], device)?,
            frame,
            spread: stored.take_shaped("spread", [dim], device)?,
            offset: stored.take_shaped("offset", [dim], device)?,
            log_radius: stored.take_shaped("log_radius", [2, blocks], device)?,
            radial,
            prior: PeriodicPrior::from_stored(stored, blocks, device)?,
            score: ScoreNetwork::from_stored(stored, blocks, device)?,
            refiner: Refiner::from_stored(stored, blocks, dim, device)?,
            bounds: stored.take_shaped("bounds", [4], device)?,
            centroid: stored.take_shaped("centroid", [dim], device)?,
        })
    }
}

impl Aligner for AnisoAlign {
    fn name(&self) -> &'static str {
        "anisoalign"
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    /// `e' - E e' + mu_x`, the rows before the last normalisation.
    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "AnisoAlign: text rows");
        let dtype = text.dtype();
        let device = text.device();
        let rows = normalize(text.cast(function_dtype(dtype, &device)));
        let functions = rows.dtype();
        let placed = self.placed(self.refined(self.initial(rows)));
        let row = |param: &Param<Tensor<1>>| record::value(param, functions).unsqueeze::<2>();
        (normalize_bounded(placed) - row(&self.centroid) + row(&self.image_mean)).cast(dtype)
    }
}
