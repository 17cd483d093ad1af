use serde::{Deserialize, Serialize};

use super::{Cloud, Spectrum};
use crate::{Error, Result};

/// Energies and shape of the centred residual of pairs, `r = (x - mu_x) - (y - mu_y)` (arXiv 2605.07825, Sec. 3 and
/// App. A).
///
/// `E||x - y||^2 = ||mu_x - mu_y||^2 + tr Sigma_r`: a shift of the mean removes the first term and leaves the second.
///
/// # Example
///
/// ```
/// use burn_revision::geometry::{Cloud, ResidualGeometry};
///
/// # fn main() -> burn_revision::Result<()> {
/// let image = Cloud::new(vec![1.0, 1.0, 1.0, -1.0], 2)?;
/// let text = Cloud::new(vec![0.0, 0.0, 0.0, 0.0], 2)?;
/// let (residual, _) = ResidualGeometry::measure(&image, &text)?;
/// assert_eq!((residual.gap_energy, residual.residual_energy, residual.anisotropy), (1.0, 1.0, 2.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResidualGeometry {
    /// `||mu_x - mu_y||^2`.
    pub gap_energy: f64,
    /// `tr Sigma_r`.
    pub residual_energy: f64,
    /// `R_energy = tr Sigma_r / (||mu_x - mu_y||^2 + tr Sigma_r)`; 0 if all pairs are equal.
    pub energy_ratio: f64,
    /// `R_dist = E||r|| / E||x - y||`; 0 if all pairs are equal.
    pub distance_ratio: f64,
    /// `A_r = lambda_max d / tr Sigma_r`: 1 for an isotropic residual; 0 for a residual of zero.
    pub anisotropy: f64,
    /// `d_eff = tr(Sigma_r)^2 / tr(Sigma_r^2)`: `d` for an isotropic residual; 0 for a residual of zero.
    pub effective_dim: f64,
}

impl ResidualGeometry {
    /// Measures pairs: row `i` of `image` belongs to row `i` of `text`.
    ///
    /// # Returns
    ///
    /// The measures, and the spectrum of `Sigma_r`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of rows or dimensions, [`Error::TooFewRows`] if there is no pair.
    pub fn measure(image: &Cloud, text: &Cloud) -> Result<(Self, Spectrum)> {
        let difference = image.difference(text)?;
        if difference.is_empty() {
            return Err(Error::TooFewRows { what: "pairs".to_string(), needed: 1, actual: 0 });
        }
        let mean = difference.mean();
        let residual = difference.centered();
        let spectrum = Spectrum::of(&residual.second_moment(), residual.dim(), residual.len())?;
        let gap_energy = mean.iter().map(|value| value * value).sum::<f64>();
        let residual_energy = residual.energy();
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let measured = Self {
            gap_energy,
            residual_energy,
            energy_ratio: ratio(residual_energy, gap_energy + residual_energy),
            distance_ratio: ratio(mean_norm(&residual), mean_norm(&difference)),
            anisotropy: spectrum.anisotropy(),
            effective_dim: spectrum.participation_ratio(),
        };
        Ok((measured, spectrum))
    }
}

/// `E ||x||`.
pub(super) fn mean_norm(rows: &Cloud) -> f64 {
    let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
    rows.rows().map(norm).sum::<f64>() / rows.len() as f64
}
