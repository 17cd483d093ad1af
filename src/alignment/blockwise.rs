use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::fitted::{Fit, fitted_method};
use super::host_map::LinearMap;
use super::record::{self, FromStored, Stored};
use super::{Aligner, ClosedForm, Embeddings, fitting};
use crate::embedding::{normalize, normalize_bounded};
use crate::geometry::linalg;
use crate::geometry::{FixedFrame, FrameRank, Moments, Spectrum};
use crate::{Error, Result, assert_shape};

/// How to fit [`Blockwise`].
#[derive(Config, Debug)]
pub struct BlockwiseConfig {
    /// The share of the energy of both covariances together that `U` holds. The paper does not state its own.
    #[config(default = 0.9)]
    pub energy: f64,
    /// What is added to the eigenvalues of each of the text's two covariances before it is inverted, relative to their
    /// mean over the dimensions of the block. The paper does not state its own; see [`super::WhiteningConfig::ridge`].
    #[config(default = 1e-3)]
    pub ridge: f64,
}

/// Blockwise covariance alignment: the covariances within `U` and within `V` of the fixed frame are matched one by one
/// (arXiv 2602.07026, App. F, Eqs. 12 to 19; the paper's example of a richer method that does worse).
///
/// ```text
/// e~   = unit(e_y - mu_y + mu_x)
/// T_B  = Cov(P_B e_x)^{1/2} Cov(P_B e~)^{-1/2}           for B = U and B = V, symmetric square roots
/// e^   = unit(T_U P_U e~ + T_V P_V e~)
/// out  = unit(e^ - E e^ + mu_x)
/// ```
///
/// As printed, `T` acts on vectors that are not centred, and so turns their mean as well; the last step repairs that.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::{Aligner, BlockwiseConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let rows = || Tensor::<2>::random([64, 6], Distribution::Normal(0.2, 1.0), &device);
/// let (text, image) = (rows(), rows());
/// let aligned = BlockwiseConfig::new().fit(text.clone(), image)?.align(text, 0);
/// assert_eq!(aligned.dims(), [64, 6]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Blockwise {
    text_mean: Param<Tensor<1>>,
    image_mean: Param<Tensor<1>>,
    /// `(T_U P_U + T_V P_V)^T`, `[d, d]`: rows are multiplied from the left.
    map: Param<Tensor<2>>,
    /// `E e^`.
    centroid: Param<Tensor<1>>,
}

fitted_method!(BlockwiseConfig => Blockwise);

impl Fit for BlockwiseConfig {
    type Fitted = Blockwise;

    /// Three passes over the text.
    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<Blockwise> {
        let fit = BlockwiseFit::new(self, &text.covariance("text")?, &image.covariance("image")?)?;
        let moved = text.covariance_under(&fit.shift(), "text")?;
        let fitted = fit.with_moved(&moved)?;
        let centroid = text.moments_under_map(&fitted.host_map(None), "text")?;
        Ok(fitted.init(centroid.mean(), text.device()))
    }
}

/// A fit under way: the frame is known.
pub(super) struct BlockwiseFit {
    frame: FixedFrame,
    ridge: f64,
    text_mean: Vec<f32>,
    image_mean: Vec<f32>,
    image_covariance: Vec<f64>,
    image_rows: usize,
}

/// A fit under way: the map is known, and its centroid is not.
pub(super) struct BlockwiseMap {
    text_mean: Vec<f32>,
    image_mean: Vec<f32>,
    map: Vec<f32>,
}

impl BlockwiseFit {
    /// The frame, from moments of unit rows with covariances.
    pub fn new(config: &BlockwiseConfig, text: &Moments, image: &Moments) -> Result<Self> {
        fitting::check_rows(text, image)?;
        fitting::check_spread(text, "text")?;
        let dim = text.dim();
        let (text_covariance, image_covariance) = (fitting::covariance(text)?, fitting::covariance(image)?);
        let sum: Vec<f64> = text_covariance.iter().zip(&image_covariance).map(|(y, x)| y + x).collect();
        let rows = text.count().max(image.count());
        let frame = FixedFrame::of_covariance(&sum, dim, rows, FrameRank::Energy(config.energy))?;
        Ok(Self {
            frame,
            ridge: config.ridge,
            text_mean: fitting::rounded(text.mean()),
            image_mean: fitting::rounded(image.mean()),
            image_covariance,
            image_rows: image.count(),
        })
    }

    /// `e~`: the covariance of the texts under it is what the second pass gathers.
    pub fn shift(&self) -> ClosedForm {
        fitting::shift(&self.text_mean, Some(&self.image_mean))
    }

    /// Both maps, given the moments of `e~` with their covariance.
    pub fn with_moved(self, moved: &Moments) -> Result<BlockwiseMap> {
        let dim = moved.dim();
        let moved_covariance = fitting::covariance(moved)?;
        let within = |projector: Vec<f64>, rank: usize| {
            let project = |covariance: &[f64]| {
                linalg::square_product(&linalg::square_product(&projector, covariance, dim), &projector, dim)
            };
            let text = Spectrum::of(&project(&moved_covariance), dim, moved.count())?;
            let image = Spectrum::of(&project(&self.image_covariance), dim, self.image_rows)?;
            let ridge = fitting::absolute_ridge(self.ridge, &text, rank)?;
            let inverse_root = text.apply(|value, sound| fitting::inverse_root(value, sound, ridge));
            let root = image.apply(|value, sound| if sound { value.sqrt() } else { 0.0 });
            // (Cov(image)^{1/2} Cov(text)^{-1/2})^T within the block.
            let transfer = linalg::square_product(&inverse_root, &root, dim);
            Ok::<_, Error>(linalg::square_product(&projector, &transfer, dim))
        };
        let rank = self.frame.rank();
        let mut map = within(self.frame.projector(), rank)?;
        if rank < dim {
            let in_v = within(self.frame.complement(), dim - rank)?;
            map.iter_mut().zip(in_v).for_each(|(u, v)| *u += v);
        }
        let map = fitting::rounded(&map);
        Ok(BlockwiseMap { text_mean: self.text_mean, image_mean: self.image_mean, map })
    }
}

impl BlockwiseMap {
    /// The map on the host: to `e^`, whose mean the third pass gathers, or with that mean to the end.
    pub fn host_map(&self, centroid: Option<&[f64]>) -> LinearMap {
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| f64::from(value)).collect() };
        let (text_mean, image_mean) = (wide(&self.text_mean), wide(&self.image_mean));
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        LinearMap {
            before: Some(minus(&image_mean, &text_mean)),
            matrix: wide(&self.map),
            after: vec![0.0; image_mean.len()],
            last: centroid.map(|centroid| minus(&image_mean, &wide(&fitting::rounded(centroid)))),
        }
    }

    /// The module.
    pub fn init(self, centroid: &[f64], device: &Device) -> Blockwise {
        let dim = self.text_mean.len();
        Blockwise {
            text_mean: record::constant(self.text_mean, [dim], device),
            image_mean: record::constant(self.image_mean, [dim], device),
            map: record::constant(self.map, [dim, dim], device),
            centroid: record::constant(fitting::rounded(centroid), [dim], device),
        }
    }
}

impl FromStored for Blockwise {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (text_mean, [dim]) = stored.take("text_mean", device)?;
        Ok(Self {
            text_mean,
            image_mean: stored.take_shaped("image_mean", [dim], device)?,
            map: stored.take_shaped("map", [dim, dim], device)?,
            centroid: stored.take_shaped("centroid", [dim], device)?,
        })
    }
}

impl Aligner for Blockwise {
    fn name(&self) -> &'static str {
        "blockwise"
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "blockwise: text rows");
        let rows = normalize(text);
        let dtype = rows.dtype();
        let vector = |param: &Param<Tensor<1>>| record::value(param, dtype).unsqueeze::<2>();
        let image_mean = vector(&self.image_mean);
        let moved = normalize_bounded(rows - vector(&self.text_mean) + image_mean.clone());
        let mapped = normalize_bounded(moved.matmul(record::value(&self.map, dtype)));
        mapped - vector(&self.centroid) + image_mean
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;
    use crate::embedding::RawRows;
    use crate::geometry::Cloud;

    fn cloud(n: usize, dim: usize, seed: u64) -> Cloud {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let centre: Vec<f64> = (0..dim).map(|_| rng.random::<f64>() - 0.3).collect();
        let row =
            (0..n * dim).map(|at| centre[at % dim] + (rng.random::<f64>() - 0.5) / (1 + at % dim) as f64);
        Cloud::new(row.collect(), dim).unwrap().into_unit("rows").unwrap()
    }

    fn raw(cloud: &Cloud) -> RawRows<'_> {
        RawRows::double(cloud.values(), cloud.dim()).unwrap()
    }

    /// Cov(T_B P_B e~) = Cov(P_B e_x) within each block, and no block reaches into the other.
    #[test]
    fn each_block_has_the_covariance_of_the_images() {
        let (text, image) = (cloud(300, 9, 1), cloud(350, 9, 2));
        for energy in [0.6, 0.9, 1.0] {
            let config = BlockwiseConfig::new().with_energy(energy).with_ridge(0.0);
            let fitted = config.fit(raw(&text), raw(&image)).unwrap();
            let frame = FixedFrame::fit(&text, &image, FrameRank::Energy(energy)).unwrap();
            let (text_mean, image_mean) = (text.mean(), image.mean());
            let shift: Vec<f64> = text_mean.iter().zip(&image_mean).map(|(y, x)| y - x).collect();
            let moved = text.minus(&shift).into_unit("text").unwrap();
            let map: Vec<f64> = record::host(&fitted.map).iter().map(|&value| f64::from(value)).collect();
            let mapped = |rows: &Cloud| {
                let values = linalg::matmul(rows.values(), [rows.len(), 9], &map, [9, 9]);
                Cloud::new(values, 9).unwrap()
            };
            let all = mapped(&moved);
            for project in [FixedFrame::project_u, FixedFrame::project_v] {
                let (found, expected) = (project(&frame, &all), project(&frame, &image));
                let difference: f64 = found
                    .covariance()
                    .iter()
                    .zip(expected.covariance())
                    .map(|(found, expected)| (found - expected).powi(2))
                    .sum();
                assert!(difference.sqrt() < 1e-6 * image.trace(), "energy {energy}: {difference:e}");
                let block = mapped(&project(&frame, &moved));
                let leak = block.difference(&project(&frame, &block)).unwrap();
                assert!(leak.energy() < 1e-10 * all.energy(), "energy {energy}");
            }
        }
    }
}
