use serde::{Deserialize, Serialize};

use super::Neighbours;
use super::mixing::{check_sides, image_shares};
use crate::Result;

/// Local support compatibility: the entropy of the modalities among a row's `k` nearest neighbours, divided by its
/// expectation for random labels: 1 for a random mixture, 0 for separate clouds (arXiv 2605.07825, Sec. 3).
///
/// With `p_k(u)` the share of images among the neighbours of `u` in the union of images and aligned text, and `H2` the
/// binary entropy in bits, the score is the mean of `H2(p_k(u))`. Its normaliser is exact: for random labels, the number of
/// images among `k` neighbours is hypergeometric (for `k = 20` and large balanced sets 0.963).
///
/// The means over each modality are reported as well: text that is scattered through the cloud of images can have mixed
/// neighbours everywhere and still leave most images without a text nearby.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::geometry::{Cloud, KnnConfig, SupportScore};
///
/// # fn main() -> burn_revision::Result<()> {
/// let text = Cloud::new(vec![1.0, 0.0, 0.9, 0.1, 0.8, 0.2], 2)?.into_unit("text")?;
/// let image = Cloud::new(vec![0.0, 1.0, 0.1, 0.9, 0.2, 0.8], 2)?.into_unit("images")?;
/// let neighbours = KnnConfig::new().with_k(2).find(&Cloud::union(&text, &image)?, &Device::default())?;
/// assert_eq!(SupportScore::of(&neighbours, text.len())?.score, 0.0); // separate clouds
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupportScore {
    /// The normalised mean over all rows.
    pub score: f64,
    /// The normalised mean over the aligned text: whether it reaches the images.
    pub penetration: f64,
    /// The normalised mean over the images: whether aligned text reaches each of them.
    pub coverage: f64,
    /// The expected entropy for random labels, in bits, by which `score` is divided.
    pub normalizer: f64,
}

impl SupportScore {
    /// The score from the neighbours in a union, see [`Cloud::union`](super::Cloud::union), of which the first `texts` rows
    /// are text.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`](crate::Error::TooFewRows) if one of the sets is empty.
    pub fn of(neighbours: &Neighbours, texts: usize) -> Result<Self> {
        let images = check_sides(neighbours, texts)?;
        let (total, k) = (neighbours.len(), neighbours.k());
        let entropies: Vec<f64> = image_shares(neighbours, texts).into_iter().map(binary_entropy).collect();
        let mean = |entropies: &[f64]| entropies.iter().sum::<f64>() / entropies.len() as f64;
        // A row is not its own neighbour: the others have one label less of its modality.
        let of_text = expected_entropy(total - 1, images, k);
        let of_image = expected_entropy(total - 1, images - 1, k);
        let normalizer = expected_entropy(total, images, k);
        let ratio = |mean: f64, expected: f64| if expected > 0.0 { mean / expected } else { 0.0 };
        Ok(Self {
            score: ratio(mean(&entropies), normalizer),
            penetration: ratio(mean(&entropies[..texts]), of_text),
            coverage: ratio(mean(&entropies[texts..]), of_image),
            normalizer,
        })
    }
}

/// `H2(p)` in bits.
fn binary_entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    part(p) + part(1.0 - p)
}

/// `E H2(c / k)` for the number `c` of marked rows among `k` drawn from `total`, of which `marked` are.
fn expected_entropy(total: usize, marked: usize, k: usize) -> f64 {
    let unmarked = total - marked;
    let mut factorials = vec![0.0];
    for n in 1..=total {
        factorials.push(factorials[n - 1] + (n as f64).ln());
    }
    let choose = |n: usize, k: usize| factorials[n] - factorials[k] - factorials[n - k];
    let possible = k.saturating_sub(unmarked)..=k.min(marked);
    possible
        .map(|c| {
            let log = choose(marked, c) + choose(unmarked, k - c) - choose(total, k);
            log.exp() * binary_entropy(c as f64 / k as f64)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn the_normaliser_is_the_papers_for_large_balanced_sets() {
        assert_abs_diff_eq!(expected_entropy(200_000, 100_000, 20), 0.9630, epsilon = 5e-5);
    }

    #[test]
    fn the_normaliser_is_the_mean_over_all_labellings() {
        let (total, k) = (7, 3);
        for marked in 0..=total {
            let (mut sum, mut ways) = (0.0, 0.0);
            for labels in 0_u32..1 << total {
                if labels.count_ones() as usize == marked {
                    let c = (labels & ((1 << k) - 1)).count_ones();
                    sum += binary_entropy(f64::from(c) / k as f64);
                    ways += 1.0;
                }
            }
            assert_abs_diff_eq!(expected_entropy(total, marked, k), sum / ways, epsilon = 1e-12);
        }
    }
}
