use burn::config::Config;
use burn::tensor::{Device, Tensor};
use serde::Serialize;

use crate::embedding::{EmbeddingTable, parallel};
use crate::{Error, Result};

/// How to measure the mixing of two modalities.
#[derive(Config, Debug)]
pub struct KnnMixingConfig {
    /// The number of neighbours of a row.
    #[config(default = 20)]
    pub k: usize,
    /// Rows whose similarities to all others are held in memory at once.
    #[config(default = 512)]
    pub block_size: usize,
}

/// The k-NN mixing rate: the mean share of a row's `k` nearest neighbours that are of the other modality.
///
/// Neighbours are those of highest cosine in the union of both sets without the row itself; among equals the one
/// that comes first, text before image. Well mixed clouds of equal size reach one half, separate ones 0. The papers
/// print no formula (arXiv 2602.07026, App. D.3 gives k = 20 and the rates only), nor which rows are asked; so each
/// direction stands apart.
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::{embedding::EmbeddingTable, geometry::KnnMixingConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let text = EmbeddingTable::numbered(vec![1.0, 0.0, 1.0, 0.1], 2)?;
/// let image = EmbeddingTable::numbered(vec![0.0, 1.0, 0.1, 1.0], 2)?;
/// let mixing = KnnMixingConfig::new().with_k(1).measure(&text, &image, &Device::default())?;
/// assert_eq!(mixing.pooled, 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KnnMixing {
    /// Asked of the text rows: the share of image rows among their neighbours.
    pub text_to_image: f64,
    /// Asked of the image rows: the share of text rows among their neighbours.
    pub image_to_text: f64,
    /// Asked of all rows.
    pub pooled: f64,
}

impl KnnMixingConfig {
    /// Measures the mixing by exact search: blocks of the cosine matrix are multiplied out on `device`, and the
    /// neighbours are picked on the host.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] where a set is empty or the
    /// union has not more than `k` rows, [`Error::Config`] for `k` or `block_size` zero, [`Error::NonFinite`] or
    /// [`Error::ZeroRow`] for a row without direction.
    pub fn measure(
        &self,
        text: &EmbeddingTable,
        image: &EmbeddingTable,
        device: &Device,
    ) -> Result<KnnMixing> {
        self.check(text, image)?;
        let (text_unit, _) = text.normalized(Default::default(), "text")?;
        let (image_unit, _) = image.normalized(Default::default(), "image")?;
        let all = Tensor::cat(vec![text_unit.tensor(device), image_unit.tensor(device)], 0);
        let (texts, total) = (text.len(), text.len() + image.len());
        let transposed = all.clone().transpose();
        let mut others = [0_usize; 2];
        for first in (0..total).step_by(self.block_size) {
            let last = (first + self.block_size).min(total);
            let cosines = all.clone().slice_dim(0, first..last).matmul(transposed.clone());
            let cosines: Vec<f32> = cosines.into_data().try_into_vec_as::<f32>().expect("converted to f32");
            let counts = parallel::map(cosines.chunks_exact(total).enumerate(), |(row, cosines)| {
                let query = first + row;
                let neighbours = nearest(cosines, query, self.k);
                neighbours.iter().filter(|&&(_, found)| (found < texts) != (query < texts)).count()
            });
            for (row, count) in counts.into_iter().enumerate() {
                others[usize::from(first + row >= texts)] += count;
            }
        }
        let share = |count: usize, rows: usize| count as f64 / (rows * self.k) as f64;
        Ok(KnnMixing {
            text_to_image: share(others[0], text.len()),
            image_to_text: share(others[1], image.len()),
            pooled: share(others[0] + others[1], total),
        })
    }

    fn check(&self, text: &EmbeddingTable, image: &EmbeddingTable) -> Result<()> {
        if self.k == 0 || self.block_size == 0 {
            let key = if self.k == 0 { "k" } else { "block_size" };
            return Err(Error::config(key, "expected at least 1, found 0"));
        }
        if text.dim() != image.dim() {
            return Err(Error::mismatch("dimensions of the two modalities", text.dim(), image.dim()));
        }
        let counts = [("text", text.len(), 1), ("image", image.len(), 1)];
        let union = ("text and image together", text.len() + image.len(), self.k + 1);
        for (what, actual, needed) in counts.into_iter().chain([union]) {
            if actual < needed {
                return Err(Error::TooFewRows { what: what.to_string(), needed, actual });
            }
        }
        Ok(())
    }
}

/// The `k` highest cosines but the query's own, best first, with their places.
fn nearest(cosines: &[f32], query: usize, k: usize) -> Vec<(f32, usize)> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(k + 1);
    let mut threshold = f32::NEG_INFINITY;
    for (place, &cosine) in cosines.iter().enumerate() {
        if cosine <= threshold || place == query {
            continue;
        }
        let rank = best.partition_point(|&(other, _)| other >= cosine);
        best.insert(rank, (cosine, place));
        best.truncate(k);
        if best.len() == k {
            threshold = best[k - 1].0;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;

    fn cloud(n: usize, center: [f32; 3], spread: f32, seed: u64) -> EmbeddingTable {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let rows = (0..n).flat_map(|_| center.map(|c| c + spread * (rng.random::<f32>() - 0.5))).collect();
        EmbeddingTable::numbered(rows, 3).unwrap()
    }

    /// Sorts every row of the float64 cosine matrix.
    fn brute_force(text: &EmbeddingTable, image: &EmbeddingTable, k: usize) -> [f64; 3] {
        let rows: Vec<Vec<f64>> = (0..text.len())
            .map(|i| text.row(i))
            .chain((0..image.len()).map(|i| image.row(i)))
            .map(|row| {
                let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                row.iter().map(|&v| f64::from(v) / norm).collect()
            })
            .collect();
        let mut sums = [0.0; 2];
        for (i, a) in rows.iter().enumerate() {
            let cosine = |b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let mut order: Vec<(f64, usize)> =
                (0..rows.len()).filter(|&j| j != i).map(|j| (cosine(&rows[j]), j)).collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0));
            let is_text = i < text.len();
            let others = order[..k].iter().filter(|(_, j)| (*j < text.len()) != is_text).count();
            sums[usize::from(!is_text)] += others as f64 / k as f64;
        }
        let (n, m) = (text.len() as f64, image.len() as f64);
        [sums[0] / n, sums[1] / m, (sums[0] + sums[1]) / (n + m)]
    }

    #[test]
    fn agrees_with_a_full_sort_in_float64_for_any_block_size() {
        let text = cloud(61, [1.0, 0.2, 0.0], 1.2, 1);
        let image = cloud(83, [0.8, -0.1, 0.3], 1.2, 2);
        for k in [1, 7, 20] {
            let expected = brute_force(&text, &image, k);
            assert!(expected[2] > 0.05, "the clouds must overlap for this to say anything");
            for block_size in [1, 17, 512] {
                let config = KnnMixingConfig::new().with_k(k).with_block_size(block_size);
                let mixing = config.measure(&text, &image, &Device::default()).unwrap();
                let found = [mixing.text_to_image, mixing.image_to_text, mixing.pooled];
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-12, "k={k}: {found} and {expected}");
                }
            }
        }
    }

    #[test]
    fn separate_clouds_do_not_mix_and_one_cloud_cut_in_two_does() {
        let device = Device::default();
        let separate = KnnMixingConfig::new()
            .measure(&cloud(50, [1.0, 0.0, 0.0], 0.1, 3), &cloud(50, [0.0, 1.0, 0.0], 0.1, 4), &device)
            .unwrap();
        assert_eq!(separate, KnnMixing { text_to_image: 0.0, image_to_text: 0.0, pooled: 0.0 });
        let halves = (cloud(400, [0.5, 0.5, 0.5], 1.0, 5), cloud(400, [0.5, 0.5, 0.5], 1.0, 6));
        let mixed = KnnMixingConfig::new().measure(&halves.0, &halves.1, &device).unwrap();
        assert!((mixed.pooled - 0.5).abs() < 0.05, "{mixed:?}");
    }

    #[test]
    fn sets_that_are_too_small_are_refused() {
        let device = Device::default();
        let few = cloud(10, [1.0, 0.0, 0.0], 0.1, 7);
        let error = KnnMixingConfig::new().measure(&few, &few, &device).unwrap_err();
        assert!(matches!(error, Error::TooFewRows { needed: 21, actual: 20, .. }), "{error}");
        let none = EmbeddingTable::new(Vec::new(), Vec::new(), 3).unwrap();
        assert!(KnnMixingConfig::new().with_k(2).measure(&few, &none, &device).is_err());
        assert!(KnnMixingConfig::new().with_k(0).measure(&few, &few, &device).is_err());
    }
}
