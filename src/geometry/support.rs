use serde::{Deserialize, Serialize};

use super::Neighbours;
use super::mixing::{check_sides, image_shares};
use crate::{Error, Result};

/// Local support compatibility: the entropy of the modalities among a row's `k` nearest neighbours, divided by what it is
/// where the labels are dealt at random: 1 for a random mixture, 0 for separate clouds (arXiv 2605.07825, Sec. 3).
///
/// With `p_k(u)` the share of images among the neighbours of `u` in the union of images and aligned text, and `H2` the
/// binary entropy in bits, the score is the mean of `H2(p_k(u))`. Its normaliser is exact: among rows labelled at random
/// the number of images among `k` neighbours is hypergeometric (for `k = 20` and large balanced sets 0.963).
///
/// Each side is asked by itself as well, because a text that is scattered through the cloud of images can mix well from
/// its own point of view and still leave most images without a text nearby.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SupportScore {
    /// Asked of all rows.
    pub score: f64,
    /// Asked of the aligned text: does it reach where images are?
    pub penetration: f64,
    /// Asked of the images: does aligned text reach each of them?
    pub coverage: f64,
    /// The mean entropy, in bits, of labels dealt at random, by which `score` is divided.
    pub normalizer: f64,
}

impl SupportScore {
    /// Measures it in the neighbours of a union of which the first `texts` rows are text.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] where one of the sets is empty.
    pub fn of(neighbours: &Neighbours, texts: usize) -> Result<Self> {
        let images = check_sides(neighbours, texts)?;
        let (total, k) = (neighbours.len(), neighbours.k());
        let entropies: Vec<f64> = image_shares(neighbours, texts).into_iter().map(binary_entropy).collect();
        let mean = |entropies: &[f64]| entropies.iter().sum::<f64>() / entropies.len() as f64;
        // A row is not its own neighbour: the others have one label of its kind less.
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
pub(super) fn expected_entropy(total: usize, marked: usize, k: usize) -> f64 {
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

/// `Omega_k`, the mean share of a row's `k` nearest neighbours that it keeps: row `i` of both searches is the same row
/// before and after (arXiv 2605.07825, Sec. 3; arXiv 2602.07026, App. F.4).
///
/// # Errors
///
/// [`Error::Mismatch`] for another number of rows or of neighbours.
pub fn neighbour_overlap(before: &Neighbours, after: &Neighbours) -> Result<f64> {
    if before.k() != after.k() {
        return Err(Error::mismatch("neighbours of a row", before.k(), after.k()));
    }
    if before.len() != after.len() {
        return Err(Error::mismatch("rows with neighbours", before.len(), after.len()));
    }
    let kept = |row: usize| before.of(row).iter().filter(|found| after.of(row).contains(found)).count();
    let kept: usize = (0..before.len()).map(kept).sum();
    Ok(kept as f64 / (before.len() * before.k()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normaliser_is_the_papers_for_large_balanced_sets() {
        assert!((expected_entropy(200_000, 100_000, 20) - 0.9630).abs() < 5e-5);
    }

    #[test]
    fn the_normaliser_is_the_mean_over_all_ways_to_deal_labels() {
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
            assert!((expected_entropy(total, marked, k) - sum / ways).abs() < 1e-12, "{marked}");
        }
    }
}
