use serde::{Deserialize, Serialize};

use super::{Cloud, difference, dot, norm};
use crate::{Error, Result};

/// A measured drift and its prediction by an expansion; see [`PhantomDrift`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftComparison {
    /// The norm of the measured drift.
    pub measured: f64,
    /// The norm of the predicted drift.
    pub predicted: f64,
    /// The norm of their difference relative to the measured norm; 0 if both are zero.
    pub relative_error: f64,
}

/// Phantom drift: the shift of the centroid of a cloud by the projection onto the sphere.
///
/// It is measured on ReAlign's affine step `z = mu_x + s (e_y - mu_y)`, whose mean is `mu_x` before the projection
/// `unit(z) = z / ||z||`, and compared with two predictions:
///
/// ```text
/// E unit(z) - unit(mu_x)  against  -(1/r^2) S a - (1/(2 r^2)) a tr S + (3/(2 r^2)) a (a^T S a)
///                                  r = ||mu_x||, a = mu_x / r, S = s^2 Sigma_y     (arXiv 2602.07026, Theorem B.14)
/// E unit(z) - mu_x        against  -S w + (3/2) (w^T S w) mu_x,   w = mu_x - s mu_y
/// ```
///
/// $$ E\\,\\pi(z) - \\pi(\\mu_x) \\approx -\\frac{1}{r^2} S a - \\frac{1}{2r^2}\\,a\\,\\mathrm{tr} S + \\frac{3}{2r^2}\\,a\\,(a^\\top S a) $$
///
/// The first expands in `||z - mu_x|| / r` and fails for a cloud that is as wide as it is far from zero, as those of
/// contrastive encoders are. The second expands in `||z||^2 - 1`, which is small because text embeddings lie on the
/// sphere.
///
/// # Example
///
/// ```
/// use burn_revision::geometry::{Cloud, PhantomDrift};
///
/// # fn main() -> burn_revision::Result<()> {
/// // Text at (0.8, +-0.6), moved to the image mean: (1, +-0.6) is projected to (1, +-0.6) / sqrt(1.36).
/// let text = Cloud::new(vec![0.8, 0.6, 0.8, -0.6], 2)?;
/// let drift = PhantomDrift::measure(&text, &[1.0, 0.0], 1.0)?.expect("the image mean is not zero");
/// assert!((drift.from_centroid.measured - (1.0 - 1.0 / 1.36_f64.sqrt())).abs() < 1e-12);
/// assert!((drift.from_direction.predicted - 0.6 * 0.6 / 2.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhantomDrift {
    /// The number of rows.
    pub rows: usize,
    /// `||mu_x||`.
    pub radius: f64,
    /// `sqrt(E||z - mu_x||^2) / ||mu_x||`; the first expansion holds where this is far below 1.
    pub spread: f64,
    /// `E unit(z) - unit(mu_x)` against the expansion in the spread.
    pub from_direction: DriftComparison,
    /// `E unit(z) - mu_x` against the expansion in the deviation of `||z||^2` from 1.
    pub from_centroid: DriftComparison,
}

impl PhantomDrift {
    /// Measures the drift of unit text rows that are scaled by `scale` about their own mean and moved to the mean of the
    /// images; `None` if that mean is zero.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] for an empty cloud,
    /// [`Error::ZeroRow`] if a row is moved to zero.
    pub fn measure(text: &Cloud, image_mean: &[f64], scale: f64) -> Result<Option<Self>> {
        if text.dim() != image_mean.len() {
            return Err(Error::mismatch("dimensions of text and image rows", image_mean.len(), text.dim()));
        }
        if text.is_empty() {
            return Err(Error::TooFewRows { what: "text rows".to_string(), needed: 1, actual: 0 });
        }
        let radius = norm(image_mean);
        if radius == 0.0 {
            return Ok(None);
        }
        let text_mean = text.mean();
        let shift: Vec<f64> = text_mean.iter().zip(image_mean).map(|(y, x)| scale * y - x).collect();
        let mut moved = text.clone();
        moved.scale(scale);
        let moved = moved.minus(&shift);
        let deviations = moved.minus(image_mean);
        let spread = deviations.energy().sqrt() / radius;
        let centroid = moved.into_unit("text rows before the projection")?.mean();

        let direction: Vec<f64> = image_mean.iter().map(|value| value / radius).collect();
        let w: Vec<f64> = image_mean.iter().zip(&text_mean).map(|(x, y)| x - scale * y).collect();
        // Sigma v = E d (d . v): no d x d matrix is needed.
        let by_direction = apply_covariance(&deviations, &direction);
        let by_w = apply_covariance(&deviations, &w);
        let first = phantom_drift_expansion(&direction, radius, deviations.energy(), &by_direction);
        let along = dot(&w, &by_w);
        let second: Vec<f64> =
            by_w.iter().zip(image_mean).map(|(sw, mean)| -sw + 1.5 * along * mean).collect();
        Ok(Some(Self {
            rows: text.len(),
            radius,
            spread,
            from_direction: compare(&difference(&centroid, &direction), &first),
            from_centroid: compare(&difference(&centroid, image_mean), &second),
        }))
    }
}

/// The second-order expansion of `E unit(mu + eps) - unit(mu)` for `mu = radius direction`, where `Sigma` is the
/// covariance of `eps`: `-(1/r^2) Sigma a - (1/(2 r^2)) a tr Sigma + (3/(2 r^2)) a (a^T Sigma a)` (arXiv 2602.07026,
/// Theorem B.14). `moved` is `Sigma a`, `[d]`.
///
/// # Panics
///
/// If the vectors differ in length.
pub fn phantom_drift_expansion(direction: &[f64], radius: f64, trace: f64, moved: &[f64]) -> Vec<f64> {
    assert_eq!(direction.len(), moved.len(), "phantom drift: dimensions of the vectors");
    let along = dot(direction, moved);
    let square = radius * radius;
    direction.iter().zip(moved).map(|(a, s)| (-s - 0.5 * a * trace + 1.5 * a * along) / square).collect()
}

/// `E d (d . v)` over rows `d`.
fn apply_covariance(rows: &Cloud, vector: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; vector.len()];
    for row in rows.rows() {
        let factor = dot(row, vector);
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
    }
    sum.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    sum
}

fn compare(measured: &[f64], predicted: &[f64]) -> DriftComparison {
    let (length, error) = (norm(measured), norm(&difference(measured, predicted)));
    let relative_error = if error == 0.0 { 0.0 } else { error / length.max(f64::MIN_POSITIVE) };
    DriftComparison { measured: length, predicted: norm(predicted), relative_error }
}
