use super::Cloud;
use super::residual::mean_norm;
use crate::{Error, Result};

/// The distribution gap of pairs, `E||(x - mu_x) - (y - mu_y)||`: the mean distance that is left between an image and its
/// text once the centroids lie on each other.
///
/// arXiv 2604.00279 divides the modality gap into a centroid gap, [`modality_gap`](super::modality_gap), and a distribution
/// gap, the discrepancy of structure that remains after the centroids are aligned, and reports that the latter predicts the
/// quality of cross-modal tasks. This is a reading of that sentence, in the unit of the centroid gap: the paper's own formula was
/// not at hand. Rows are not scaled after they were centred.
///
/// It is 0 where all pairs differ by the same vector, and no translation of either set and no rotation of both changes it. Its
/// square is at most the energy of the residual, so that
/// `E||x - y||^2 = ||mu_x - mu_y||^2 + tr Sigma_r >= centroid gap^2 + distribution gap^2`
/// ([`ResidualGeometry`](super::ResidualGeometry)). Unlike the
/// centroid gap it depends on which rows are pairs.
///
/// # Arguments
///
/// - `image`, `text`: `[n, d]`; row `i` of one belongs to row `i` of the other
///
/// # Errors
///
/// [`Error::Mismatch`] for different numbers of rows or dimensions, [`Error::TooFewRows`] if there is no pair.
///
/// # Example
///
/// ```
/// use burn_revision::geometry::{Cloud, distribution_gap};
///
/// # fn main() -> burn_revision::Result<()> {
/// let image = Cloud::new(vec![3.0, 1.0, 3.0, -1.0], 2)?;
/// let text = Cloud::new(vec![0.0, 0.0, 0.0, 0.0], 2)?;
/// assert_eq!(distribution_gap(&image, &text)?, 1.0); // the centroids are 3 apart
/// # Ok(())
/// # }
/// ```
pub fn distribution_gap(image: &Cloud, text: &Cloud) -> Result<f64> {
    let difference = image.difference(text)?;
    if difference.is_empty() {
        return Err(Error::TooFewRows { what: "pairs".to_string(), needed: 1, actual: 0 });
    }
    Ok(mean_norm(&difference.centered()))
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use rand::RngExt;

    use super::super::{ResidualGeometry, difference, norm};
    use super::*;
    use crate::random::seeded_rng;

    const DIM: usize = 5;

    fn random(rows: usize, seed: u64) -> Cloud {
        let mut rng = seeded_rng(seed, &[]);
        Cloud::new((0..rows * DIM).map(|_| rng.random::<f64>() - 0.3).collect(), DIM).unwrap()
    }

    fn moved(cloud: &Cloud, by: f64) -> Cloud {
        let rows = cloud.rows().flat_map(|row| row.iter().enumerate());
        Cloud::new(rows.map(|(k, value)| value + by * (k as f64 - 1.5)).collect(), DIM).unwrap()
    }

    /// A rotation in the plane of two axes, then one in that of two others.
    fn turned(cloud: &Cloud, angle: f64) -> Cloud {
        let (sin, cos) = angle.sin_cos();
        let turn = |row: &[f64]| {
            let mut row = row.to_vec();
            for (i, j) in [(0, 3), (3, 4), (1, 2)] {
                (row[i], row[j]) = (cos * row[i] - sin * row[j], sin * row[i] + cos * row[j]);
            }
            row
        };
        Cloud::new(cloud.rows().flat_map(turn).collect(), DIM).unwrap()
    }

    #[test]
    fn the_gap_of_three_pairs_by_hand() {
        // Differences (1, 0), (1, 3), (4, 0), their mean (2, 1), and what is left (-1, -1), (-1, 2), (2, -1).
        let image = Cloud::new(vec![1.0, 0.0, 2.0, 4.0, 4.0, 5.0], 2).unwrap();
        let text = Cloud::new(vec![0.0, 0.0, 1.0, 1.0, 0.0, 5.0], 2).unwrap();
        let expected = (2_f64.sqrt() + 2.0 * 5_f64.sqrt()) / 3.0;
        assert_abs_diff_eq!(distribution_gap(&image, &text).unwrap(), expected, epsilon = 1e-15);
    }

    #[test]
    fn a_translation_is_no_distribution_gap_and_rotations_of_both_change_none() {
        let (image, text) = (random(40, 1), random(40, 2));
        let gap = distribution_gap(&image, &text).unwrap();
        assert!(gap > 0.1);
        assert_abs_diff_eq!(distribution_gap(&image, &moved(&image, 0.7)).unwrap(), 0.0, epsilon = 1e-14);
        assert_eq!(distribution_gap(&image, &image).unwrap(), 0.0);
        let both = distribution_gap(&moved(&image, -2.0), &moved(&text, 0.4)).unwrap();
        assert_abs_diff_eq!(both, gap, epsilon = 1e-14);
        let both = distribution_gap(&turned(&image, 0.8), &turned(&text, 0.8)).unwrap();
        assert_abs_diff_eq!(both, gap, epsilon = 1e-14);
        // Of one alone, a rotation is one.
        assert!(distribution_gap(&turned(&image, 0.8), &image).unwrap() > 0.1);
        assert_abs_diff_eq!(distribution_gap(&text, &image).unwrap(), gap, epsilon = 1e-15);
    }

    #[test]
    fn other_pairs_have_another_gap_and_the_same_centroids() {
        let (image, text) = (random(40, 3), random(40, 3));
        let shifted: Vec<usize> = (0..40).map(|row| (row + 1) % 40).collect();
        let other = text.select(&shifted);
        let centroids = norm(&difference(&image.mean(), &other.mean()));
        assert_abs_diff_eq!(centroids, 0.0, epsilon = 1e-14);
        assert_eq!(distribution_gap(&image, &text).unwrap(), 0.0);
        assert!(distribution_gap(&image, &other).unwrap() > 0.1);
        // The same pairs in another order are the same pairs.
        let both = distribution_gap(&image.select(&shifted), &other).unwrap();
        assert_abs_diff_eq!(both, 0.0, epsilon = 1e-14);
    }

    #[test]
    fn squares_of_both_gaps_are_within_the_mean_squared_distance() {
        let (image, text) = (moved(&random(60, 4), 0.5), random(60, 5));
        let residual = ResidualGeometry::measure(&image, &text).unwrap().0;
        let gap = distribution_gap(&image, &text).unwrap();
        let squared = image.difference(&text).unwrap().energy();
        let parts = residual.gap_energy + residual.residual_energy;
        assert_abs_diff_eq!(squared, parts, epsilon = 1e-12);
        assert!(gap * gap <= residual.residual_energy && gap * gap > 0.5 * residual.residual_energy);
        let distance = mean_norm(&image.difference(&text).unwrap());
        assert_abs_diff_eq!(residual.distance_ratio * distance, gap, epsilon = 1e-14);
    }

    #[test]
    fn sets_that_are_no_pairs_are_refused() {
        let (image, text) = (random(4, 6), random(3, 7));
        assert!(matches!(distribution_gap(&image, &text), Err(Error::Mismatch { .. })));
        let none = image.select(&[]);
        assert!(matches!(distribution_gap(&none, &none), Err(Error::TooFewRows { .. })));
    }
}
