use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Cloud, KnnConfig, Neighbours};
use crate::embedding::EmbeddingTable;
use crate::{Error, Result};

/// The k-NN mixing rate: the mean share of a row's `k` nearest neighbours that are of the other modality.
///
/// The neighbours of a row are the other rows of highest cosine in the union of both sets; ties go to the first row, text
/// before image. Well mixed clouds of equal size reach one half, separate ones 0. arXiv 2602.07026, App. D.3, states
/// k = 20 and the rates, but neither a formula nor the rows that the mean is over, so both directions are reported.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::{embedding::EmbeddingTable, geometry::{KnnConfig, KnnMixing}};
///
/// # fn main() -> burn_revision::Result<()> {
/// let text = EmbeddingTable::numbered(vec![1.0, 0.0, 1.0, 0.1], 2)?;
/// let image = EmbeddingTable::numbered(vec![0.0, 1.0, 0.1, 1.0], 2)?;
/// let mixing = KnnMixing::measure(&text, &image, &KnnConfig::new().with_k(1), &Device::default())?;
/// assert_eq!(mixing.pooled, 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnnMixing {
    /// The share of image rows among the neighbours of text rows.
    pub text_to_image: f64,
    /// The share of text rows among the neighbours of image rows.
    pub image_to_text: f64,
    /// The share of the other modality among the neighbours of all rows.
    pub pooled: f64,
}

impl KnnMixing {
    /// Measures the mixing rate of two tables, whose rows need not be normalised.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] or [`Error::ZeroRow`] for a row that cannot be normalised, and those of [`Cloud::union`] and
    /// [`KnnConfig::find`].
    pub fn measure(
        text: &EmbeddingTable,
        image: &EmbeddingTable,
        config: &KnnConfig,
        device: &Device,
    ) -> Result<Self> {
        config.check(text.len() + image.len(), "text and image rows together")?;
        let all = Cloud::union(&Cloud::unit(text, "text")?, &Cloud::unit(image, "image")?)?;
        Self::of(&config.find(&all, device)?, text.len())
    }

    /// The mixing rate from the neighbours in a union, see [`Cloud::union`], of which the first `texts` rows are text.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] if one of the sets is empty.
    pub fn of(neighbours: &Neighbours, texts: usize) -> Result<Self> {
        let images = check_sides(neighbours, texts)?;
        let shares = image_shares(neighbours, texts);
        let from_text: f64 = shares[..texts].iter().sum();
        let from_image: f64 = shares[texts..].iter().map(|share| 1.0 - share).sum();
        Ok(Self {
            text_to_image: from_text / texts as f64,
            image_to_text: from_image / images as f64,
            pooled: (from_text + from_image) / neighbours.len() as f64,
        })
    }
}

/// The number of images, if there are both texts and images.
pub(super) fn check_sides(neighbours: &Neighbours, texts: usize) -> Result<usize> {
    let images = neighbours.len().saturating_sub(texts);
    for (what, actual) in [("text rows", texts.min(neighbours.len())), ("image rows", images)] {
        if actual == 0 {
            return Err(Error::TooFewRows { what: what.to_string(), needed: 1, actual });
        }
    }
    Ok(images)
}

/// The share of images among the neighbours of each row.
pub(super) fn image_shares(neighbours: &Neighbours, texts: usize) -> Vec<f64> {
    let share = |row: usize| {
        let images = neighbours.of(row).iter().filter(|&&found| found as usize >= texts).count();
        images as f64 / neighbours.k() as f64
    };
    (0..neighbours.len()).map(share).collect()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
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
                let config = KnnConfig::new().with_k(k).with_block_size(block_size);
                let mixing = KnnMixing::measure(&text, &image, &config, &Device::default()).unwrap();
                let found = [mixing.text_to_image, mixing.image_to_text, mixing.pooled];
                assert_abs_diff_eq!(found[..], expected[..], epsilon = 1e-12);
            }
        }
    }

    #[test]
    fn separate_clouds_do_not_mix_and_one_cloud_cut_in_two_does() {
        let device = Device::default();
        let config = KnnConfig::new();
        let apart = (cloud(50, [1.0, 0.0, 0.0], 0.1, 3), cloud(50, [0.0, 1.0, 0.0], 0.1, 4));
        let separate = KnnMixing::measure(&apart.0, &apart.1, &config, &device).unwrap();
        assert_eq!(separate, KnnMixing { text_to_image: 0.0, image_to_text: 0.0, pooled: 0.0 });
        let halves = (cloud(400, [0.5, 0.5, 0.5], 1.0, 5), cloud(400, [0.5, 0.5, 0.5], 1.0, 6));
        let mixed = KnnMixing::measure(&halves.0, &halves.1, &config, &device).unwrap();
        assert_abs_diff_eq!(mixed.pooled, 0.5, epsilon = 0.05);
    }

    #[test]
    fn sets_that_are_too_small_are_refused() {
        let device = Device::default();
        let few = cloud(10, [1.0, 0.0, 0.0], 0.1, 7);
        let measure = |config: KnnConfig, image| KnnMixing::measure(&few, image, &config, &device);
        let error = measure(KnnConfig::new(), &few).unwrap_err();
        assert!(matches!(error, Error::TooFewRows { needed: 21, actual: 20, .. }), "{error}");
        let none = EmbeddingTable::new(Vec::new(), Vec::new(), 3).unwrap();
        assert!(measure(KnnConfig::new().with_k(2), &none).is_err());
        assert!(measure(KnnConfig::new().with_k(0), &few).is_err());
    }
}
