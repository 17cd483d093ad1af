use serde::{Deserialize, Serialize};

use super::{Cloud, FixedFrame, Spectrum, linalg};
use crate::{Error, Result};

/// The decomposition of the gap of pairs in a fixed frame: `x - y = beta + gamma + delta + zeta` for every pair, exactly
/// (arXiv 2602.07026, Sec. 3.2 and Lemma B.3).
///
/// ```text
/// m     = E (x - y)
/// beta  = P_U m              the principal modality bias     gamma = P_V m              the passive orthogonal bias
/// delta = P_U (x - y - m)    the residual in U               zeta  = P_V (x - y - m)    the residual in V
/// ```
///
/// $$ x - y = \\beta + \\gamma + \\delta + \\zeta $$
///
/// `delta` and `zeta` have mean zero and are orthogonal to each other in every pair.
///
/// # Example
///
/// ```
/// use burn_revision::geometry::{Cloud, FixedFrame, GapDecomposition};
///
/// # fn main() -> burn_revision::Result<()> {
/// let frame = FixedFrame::from_basis(vec![1.0, 0.0], 2)?;
/// let image = Cloud::new(vec![1.0, 0.5, 3.0, 0.5], 2)?;
/// let text = Cloud::new(vec![0.0, 0.0, 0.0, 0.0], 2)?;
/// let gap = GapDecomposition::new(&frame, &image, &text)?;
/// assert_eq!((gap.beta(), gap.gamma()), ([2.0, 0.0].as_slice(), [0.0, 0.5].as_slice()));
/// assert_eq!(gap.delta().values(), [-1.0, 0.0, 1.0, 0.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GapDecomposition {
    frame: FixedFrame,
    beta: Vec<f64>,
    gamma: Vec<f64>,
    /// `[n, r]`, in the basis of the frame.
    delta: Vec<f64>,
    zeta: Cloud,
}

/// How much of `zeta` is a linear function of `delta`: `zeta = L delta + xi` (arXiv 2602.07026, App. C); see
/// [`GapDecomposition::coupling`].
///
/// `L = E[zeta delta^T] (Sigma_U + lambda I)^-1`. The paper's theory assumes that the coupling is weak; it gives
/// neither `lambda` nor values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coupling {
    /// The ridge `lambda`, relative to the mean eigenvalue of `Cov(delta)`.
    pub ridge: f64,
    /// `||L||_2`.
    pub norm: f64,
    /// The share of the energy of `zeta` that `L delta` explains, in-sample.
    pub r_squared: f64,
    /// The expected `r_squared`, without ridge, of independent `zeta` and `delta`: `r / (n - 1)`, at most 1.
    pub r_squared_of_chance: f64,
}

impl GapDecomposition {
    /// Decomposes the gap of pairs: row `i` of `image` belongs to row `i` of `text`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of rows or dimensions, [`Error::TooFewRows`] if there is no pair.
    pub fn new(frame: &FixedFrame, image: &Cloud, text: &Cloud) -> Result<Self> {
        let difference = image.difference(text)?;
        if difference.is_empty() {
            return Err(Error::TooFewRows { what: "pairs".to_string(), needed: 1, actual: 0 });
        }
        if difference.dim() != frame.dim() {
            return Err(Error::mismatch(
                "dimensions of the rows (as the frame)",
                frame.dim(),
                difference.dim(),
            ));
        }
        let mean = difference.mean();
        let (beta, gamma) = frame.split(&mean);
        let residual = difference.centered();
        let delta = frame.coordinates(&residual);
        let zeta = frame.project_v(&residual);
        Ok(Self { frame: frame.clone(), beta, gamma, delta, zeta })
    }

    /// `P_U m`, `[d]`.
    pub fn beta(&self) -> &[f64] {
        &self.beta
    }

    /// `P_V m`, `[d]`.
    pub fn gamma(&self) -> &[f64] {
        &self.gamma
    }

    /// The residuals in `U`, `[n, d]`.
    pub fn delta(&self) -> Cloud {
        let shape = [self.zeta.len(), self.frame.rank()];
        let values =
            linalg::matmul(&self.delta, shape, self.frame.basis(), [self.frame.rank(), self.frame.dim()]);
        Cloud::computed(values, self.frame.dim())
    }

    /// The residuals in `V`, `[n, d]`.
    pub fn zeta(&self) -> &Cloud {
        &self.zeta
    }

    /// The spectrum of `Cov(delta)` in the basis of `U`, `[r, r]`.
    ///
    /// # Errors
    ///
    /// Those of [`Spectrum::of`].
    pub fn delta_spectrum(&self) -> Result<Spectrum> {
        Spectrum::of(&self.delta_covariance(), self.frame.rank(), self.zeta.len())
    }

    /// The spectrum of `Cov(zeta)`, `[d, d]`; at most `d - r` of its eigenvalues are above rounding.
    ///
    /// # Errors
    ///
    /// Those of [`Spectrum::of`].
    pub fn zeta_spectrum(&self) -> Result<Spectrum> {
        Spectrum::of(&self.zeta.second_moment(), self.frame.dim(), self.zeta.len())
    }

    /// `Cov(delta)` in the basis of `U`, `[r, r]` row-major; the mean of `delta` is zero.
    fn delta_covariance(&self) -> Vec<f64> {
        Cloud::computed(self.delta.clone(), self.frame.rank()).second_moment()
    }

    /// Regresses `zeta` on `delta`, with a ridge relative to the mean eigenvalue of `Cov(delta)`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the regression cannot be solved.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::geometry::{Cloud, FixedFrame, GapDecomposition};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let frame = FixedFrame::from_basis(vec![1.0, 0.0], 2)?;
    /// // Across the frame, pairs differ by half of what they differ by in it.
    /// let image = Cloud::new(vec![2.0, 1.0, -2.0, -1.0, 4.0, 2.0], 2)?;
    /// let text = Cloud::new(vec![0.0; 6], 2)?;
    /// let coupling = GapDecomposition::new(&frame, &image, &text)?.coupling(0.0)?;
    /// assert!((coupling.norm - 0.5).abs() < 1e-12 && (coupling.r_squared - 1.0).abs() < 1e-12);
    /// # Ok(())
    /// # }
    /// ```
    pub fn coupling(&self, ridge: f64) -> Result<Coupling> {
        let (rows, rank, dim) = (self.zeta.len(), self.frame.rank(), self.frame.dim());
        let covariance = self.delta_covariance();
        let mean = (0..rank).map(|k| covariance[k * rank + k]).sum::<f64>() / rank as f64;
        let mut cross =
            linalg::matmul_transposed_a(self.zeta.values(), [rows, dim], &self.delta, [rows, rank]);
        cross.iter_mut().for_each(|value| *value /= rows as f64);
        let l = linalg::ridge_solve(&covariance, &cross, rank, ridge * mean)?;
        let explained = linalg::matmul_transposed_b(&self.delta, [rows, rank], &l, [dim, rank]);
        let energy: f64 = self.zeta.values().iter().map(|value| value * value).sum();
        let left: f64 = self.zeta.values().iter().zip(&explained).map(|(z, e)| (z - e) * (z - e)).sum();
        Ok(Coupling {
            ridge,
            norm: linalg::spectral_norm(&l, [dim, rank])?,
            r_squared: if energy > 0.0 { 1.0 - left / energy } else { 0.0 },
            r_squared_of_chance: (rank as f64 / (rows as f64 - 1.0).max(1.0)).min(1.0),
        })
    }
}
