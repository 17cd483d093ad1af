//! The frame `U` of both modalities and its circular blocks (arXiv 2605.07825, Sec. 4).

use burn::tensor::Device;
use rand_distr::{Distribution, StandardNormal};

use super::config::{AnisoAlignConfig, Mixing};
use super::mixing;
use crate::alignment::fitting;
use crate::embedding::Progress;
use crate::geometry::{FixedFrame, FrameRank, Moments, linalg};
use crate::random::seeded_rng;
use crate::{Error, Result};

/// The leading eigenvectors of `Sigma_t + Sigma_i`, mixed and paired.
pub(super) struct Frame {
    /// Orthonormal rows that span `U`, `[r, d]`, before they are mixed.
    span: Vec<f64>,
    /// Orthonormal columns, `[d, r]`: those of the `a_k`, then those of the `b_k`.
    columns: Vec<f64>,
    pub dim: usize,
    pub rank: usize,
}

impl Frame {
    /// The frame of moments with covariances; `images` is a sample of unit rows `[n, d]`, for [`Mixing::Learned`].
    pub fn fit(
        config: &AnisoAlignConfig,
        text: &Moments,
        image: &Moments,
        images: &[f32],
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (dim, rank) = (text.dim(), config.rank_of(text.dim())?);
        for (moments, what) in [(text, "text rows"), (image, "image rows")] {
            // Not fewer rows than the frame has dimensions.
            if moments.count() < rank {
                let what = format!("{what} for a frame of {rank} dimensions");
                return Err(Error::TooFewRows { what, needed: rank, actual: moments.count() });
            }
        }
        let (text_covariance, image_covariance) = (fitting::covariance(text)?, fitting::covariance(image)?);
        let sum: Vec<f64> = text_covariance.iter().zip(&image_covariance).map(|(y, x)| y + x).collect();
        let rows = text.count().max(image.count());
        let frame = FixedFrame::of_covariance(&sum, dim, rows, FrameRank::Rank(rank))?;
        let span = frame.basis().to_vec();
        let mixed = match config.mixing {
            Mixing::Pca => span.clone(),
            Mixing::Random => {
                let matrix = random_orthogonal(rank, config.seed);
                linalg::matmul(&matrix, [rank, rank], &span, [rank, dim])
            }
            Mixing::Learned => {
                let start = random_orthogonal(rank, config.seed);
                let coordinates = coordinates(images, dim, &transposed(&span, [rank, dim]), rank);
                let matrix = mixing::learn(config, start, &coordinates, rank, device, progress)?;
                linalg::matmul(&matrix, [rank, rank], &span, [rank, dim])
            }
        };
        // Rows 0, 2, 4, ... are the a_k, rows 1, 3, 5, ... the b_k.
        let halves = [0, 1].map(|half| mixed.chunks_exact(dim).skip(half).step_by(2).flatten().copied());
        let paired: Vec<f64> = halves.into_iter().flatten().collect();
        let columns = transposed(&paired, [rank, dim]);
        Ok(Self { span, columns, dim, rank })
    }

    /// The columns in float32, `[d, r]`.
    pub fn columns(&self) -> Vec<f32> {
        fitting::rounded(&self.columns)
    }

    /// `P_V x` of a vector.
    pub fn complement(&self, vector: &[f64]) -> Vec<f64> {
        let shape = [self.rank, self.dim];
        let coordinates = linalg::matmul_transposed_b(vector, [1, self.dim], &self.span, shape);
        let within = linalg::matmul(&coordinates, [1, self.rank], &self.span, shape);
        vector.iter().zip(within).map(|(value, within)| value - within).collect()
    }

    /// The variance of each coordinate after `P_V`: the diagonal of `P_V Sigma P_V`, `[d]`.
    pub fn complement_variances(&self, covariance: &[f64]) -> Vec<f64> {
        let (dim, rank) = (self.dim, self.rank);
        let shape = [rank, dim];
        let once = linalg::matmul(&self.span, shape, covariance, [dim, dim]);
        let inner = linalg::matmul_transposed_b(&once, shape, &self.span, shape);
        let twice = linalg::matmul(&inner, [rank, rank], &self.span, shape);
        let mut variances: Vec<f64> = covariance.iter().step_by(dim + 1).copied().collect();
        for ((span, once), twice) in
            self.span.chunks_exact(dim).zip(once.chunks_exact(dim)).zip(twice.chunks_exact(dim))
        {
            for (((variance, span), once), twice) in variances.iter_mut().zip(span).zip(once).zip(twice) {
                *variance += span * (twice - 2.0 * once);
            }
        }
        variances.iter().map(|variance| variance.max(0.0)).collect()
    }
}

/// The coordinates `[n, r]` of rows `[n, d]`, for columns `[d, r]`.
pub(super) fn coordinates(rows: &[f32], dim: usize, columns: &[f64], rank: usize) -> Vec<f32> {
    let columns: Vec<f32> = columns.iter().map(|&value| value as f32).collect();
    linalg::matmul_single(rows, [rows.len() / dim, dim], &columns, [dim, rank])
}

/// The transpose of a row-major `[rows, columns]` matrix.
pub(super) fn transposed(matrix: &[f64], [rows, columns]: [usize; 2]) -> Vec<f64> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

/// A random orthogonal matrix, `[rank, rank]` row-major: Gaussian rows, made orthonormal one after the other.
fn random_orthogonal(rank: usize, seed: u64) -> Vec<f64> {
    let mut rng = seeded_rng(seed, &[0x6d69_7869_6e67]);
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(rank);
    while rows.len() < rank {
        let mut row: Vec<f64> = (0..rank).map(|_| StandardNormal.sample(&mut rng)).collect();
        // Twice is enough (Parlett and Kahan).
        for _ in 0..2 {
            for other in &rows {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        if norm > 1e-6 {
            row.iter_mut().for_each(|value| *value /= norm);
            rows.push(row);
        }
    }
    rows.concat()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::geometry::Cloud;

    #[test]
    fn a_random_matrix_is_orthogonal() {
        let matrix = random_orthogonal(24, 3);
        let gram = linalg::matmul_transposed_b(&matrix, [24, 24], &matrix, [24, 24]);
        for (at, value) in gram.iter().enumerate() {
            assert_abs_diff_eq!(*value, f64::from(u8::from(at / 24 == at % 24)), epsilon = 1e-12);
        }
        assert_ne!(matrix, random_orthogonal(24, 4));
    }

    #[test]
    fn variances_across_the_frame_are_those_of_the_projected_rows() {
        let mut rng = seeded_rng(1, &[]);
        let (dim, rank) = (9, 4);
        let values: Vec<f32> = (0..200 * dim)
            .map(|at| {
                let normal: f64 = StandardNormal.sample(&mut rng);
                (normal / (1 + at % dim) as f64) as f32
            })
            .collect();
        let mut moments = Moments::with_covariance(dim);
        moments.update_rows(&values).unwrap();
        let config = AnisoAlignConfig::new().with_rank(Some(rank)).with_mixing(Mixing::Random);
        let frame = Frame::fit(&config, &moments, &moments, &[], &Device::default(), &()).unwrap();
        let rows: Vec<Vec<f64>> = values
            .chunks_exact(dim)
            .map(|row| frame.complement(&row.iter().map(|&value| f64::from(value)).collect::<Vec<_>>()))
            .collect();
        let covariance = Cloud::new(rows.concat(), dim).unwrap().covariance();
        let found = frame.complement_variances(&moments.covariance().unwrap());
        for (coordinate, found) in found.iter().enumerate() {
            assert_abs_diff_eq!(*found, covariance[coordinate * (dim + 1)], epsilon = 1e-9);
        }
    }
}
