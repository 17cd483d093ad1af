use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::fitted::{Fit, fitted_method};
use super::record::{self, FromStored, Stored};
use super::{Aligner, Embeddings, fitting};
use crate::embedding::{normalize, normalize_bounded};
use crate::geometry::linalg;
use crate::geometry::{Cloud, FixedFrame, FrameRank, Spectrum};
use crate::{Result, assert_shape};

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

    /// Three passes over the text, in memory.
    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<Blockwise> {
        self.fit_clouds(&text.unit_cloud("text")?, &image.unit_cloud("image")?, text.device())
    }
}

impl BlockwiseConfig {
    fn fit_clouds(&self, text: &Cloud, image: &Cloud, device: &Device) -> Result<Blockwise> {
        let dim = text.dim();
        if text.trace() <= 1e-12 {
            return Err(crate::Error::NoSpread { what: "text rows".to_string() });
        }
        let frame = FixedFrame::fit(text, image, FrameRank::Energy(self.energy))?;
        let (text_mean, image_mean) = (fitting::rounded(&text.mean()), fitting::rounded(&image.mean()));
        let shift: Vec<f64> =
            text_mean.iter().zip(&image_mean).map(|(y, x)| f64::from(*y) - f64::from(*x)).collect();
        let moved = text.minus(&shift).into_unit("text rows on the mean of the images")?;

        let in_u = self.transfer(&frame.project_u(&moved), &frame.project_u(image), frame.rank())?;
        let mut map = linalg::square_product(&frame.projector(), &in_u, dim);
        if frame.rank() < dim {
            let in_v =
                self.transfer(&frame.project_v(&moved), &frame.project_v(image), dim - frame.rank())?;
            let in_v = linalg::square_product(&frame.complement(), &in_v, dim);
            map.iter_mut().zip(in_v).for_each(|(u, v)| *u += v);
        }
        let map = fitting::rounded(&map);
        let wide: Vec<f64> = map.iter().map(|&value| f64::from(value)).collect();
        let projected =
            Cloud::new(linalg::matmul(moved.values(), [moved.len(), dim], &wide, [dim, dim]), dim)?;
        let centroid = projected.into_unit("text rows after both maps")?.mean();
        Ok(Blockwise {
            text_mean: record::constant(text_mean, [dim], device),
            image_mean: record::constant(image_mean, [dim], device),
            map: record::constant(map, [dim, dim], device),
            centroid: record::constant(fitting::rounded(&centroid), [dim], device),
        })
    }

    /// `(Cov(image)^{1/2} Cov(text)^{-1/2})^T` within a block of `rank` dimensions.
    fn transfer(&self, text: &Cloud, image: &Cloud, rank: usize) -> Result<Vec<f64>> {
        let dim = text.dim();
        let text = Spectrum::of(&text.covariance(), dim, text.len())?;
        let image = Spectrum::of(&image.covariance(), dim, image.len())?;
        let ridge = fitting::absolute_ridge(self.ridge, &text, rank)?;
        let inverse_root = text.apply(|value, sound| fitting::inverse_root(value, sound, ridge));
        let root = image.apply(|value, sound| if sound { value.sqrt() } else { 0.0 });
        Ok(linalg::square_product(&inverse_root, &root, dim))
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

    fn cloud(n: usize, dim: usize, seed: u64) -> Cloud {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let centre: Vec<f64> = (0..dim).map(|_| rng.random::<f64>() - 0.3).collect();
        let row =
            (0..n * dim).map(|at| centre[at % dim] + (rng.random::<f64>() - 0.5) / (1 + at % dim) as f64);
        Cloud::new(row.collect(), dim).unwrap().into_unit("rows").unwrap()
    }

    /// Cov(T_B P_B e~) = Cov(P_B e_x) within each block, and no block reaches into the other.
    #[test]
    fn each_block_has_the_covariance_of_the_images() {
        let (text, image) = (cloud(300, 9, 1), cloud(350, 9, 2));
        for energy in [0.6, 0.9, 1.0] {
            let config = BlockwiseConfig::new().with_energy(energy).with_ridge(0.0);
            let fitted = config.fit_clouds(&text, &image, &Device::default()).unwrap();
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
