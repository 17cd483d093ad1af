use serde::{Deserialize, Serialize};

use super::linalg;
use crate::{Error, Result};

/// The last eigenvalue that a power law is fitted to.
const POWER_LAW_LAST: usize = 100;

/// The eigenvalues of a covariance and, if computed, its eigenvectors.
///
/// The covariance is decomposed as a symmetric matrix in float64. The sign of an eigenvector is chosen such that its
/// entry of largest magnitude (the first such entry) is positive, so that results can be compared.
///
/// Eigenvalues below `max(n, d) eps lambda_1`, for a covariance of `n` rows, are rounding errors and excluded from all
/// measures: see [`Spectrum::rank`].
///
/// # Example
///
/// ```
/// use burn_revision::geometry::Spectrum;
///
/// # fn main() -> burn_revision::Result<()> {
/// let spectrum = Spectrum::of(&[3.0, 0.0, 0.0, 1.0], 2, 100)?;
/// assert!((spectrum.eigenvalues()[0] - 3.0).abs() < 1e-12);
/// assert!((spectrum.participation_ratio() - 1.6).abs() < 1e-12); // (3 + 1)^2 / (9 + 1)
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    values: Vec<f64>,
    /// `[r, d]` row-major, or empty.
    vectors: Vec<f64>,
    dim: usize,
    rank: usize,
}

/// A power law `lambda_k ~ k^-alpha`, fitted by ordinary least squares of `ln lambda_k` on `ln k`; see
/// [`Spectrum::power_law`].
///
/// arXiv 2602.07026, App. D.1, gives exponents without the range of the fit, so the range is part of the result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// `alpha`.
    pub exponent: f64,
    /// The first eigenvalue of the fit, counted from 1.
    pub first: usize,
    /// The last eigenvalue of the fit.
    pub last: usize,
    /// The share of the variance of `ln lambda` that the line explains.
    pub r_squared: f64,
}

impl Spectrum {
    /// Computes the eigenvalues and eigenvectors of a covariance.
    ///
    /// # Arguments
    ///
    /// * `covariance` - `[d, d]` row-major; the upper triangle is read.
    /// * `dim` - The number of dimensions `d`.
    /// * `rows` - The number of rows that the covariance was estimated from.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for a matrix of another size, [`Error::Config`] for values that are not finite.
    pub fn of(covariance: &[f64], dim: usize, rows: usize) -> Result<Self> {
        Self::check(covariance, dim)?;
        let eigen = linalg::symmetric_eigen(covariance, dim)?;
        Ok(Self::from_parts(eigen.values, eigen.vectors, dim, rows))
    }

    /// Computes the eigenvalues alone, in a fraction of the time of [`Spectrum::of`], which has the same arguments and
    /// errors.
    pub fn values_of(covariance: &[f64], dim: usize, rows: usize) -> Result<Self> {
        Self::check(covariance, dim)?;
        let values = linalg::symmetric_eigenvalues(covariance, dim)?;
        Ok(Self::from_parts(values, Vec::new(), dim, rows))
    }

    fn check(covariance: &[f64], dim: usize) -> Result<()> {
        match dim > 0 && covariance.len() == dim * dim {
            true => Ok(()),
            false => Err(Error::mismatch("values in a covariance", dim * dim, covariance.len())),
        }
    }

    fn from_parts(values: Vec<f64>, vectors: Vec<f64>, dim: usize, rows: usize) -> Self {
        let floor =
            values.first().map_or(0.0, |largest| largest * rows.max(dim) as f64 * f64::EPSILON).max(0.0);
        let rank = values.iter().take_while(|&&value| value > floor).count();
        Self { values, vectors, dim, rank }
    }

    /// All eigenvalues, descending, including those below rounding.
    pub fn eigenvalues(&self) -> &[f64] {
        &self.values
    }

    /// Eigenvector `k`, counted from 0, `[d]`, of unit length; `None` if the eigenvectors were not computed.
    pub fn eigenvector(&self, k: usize) -> Option<&[f64]> {
        self.vectors.get(k * self.dim..(k + 1) * self.dim)
    }

    /// The first `rank` eigenvectors, or all if there are fewer, `[rank, d]` row-major.
    pub fn eigenvectors(&self, rank: usize) -> &[f64] {
        &self.vectors[..(rank * self.dim).min(self.vectors.len())]
    }

    /// `V f(Lambda) V^T`, `[d, d]`; `f` receives each eigenvalue and whether it is above rounding.
    pub(crate) fn apply(&self, f: impl Fn(f64, bool) -> f64) -> Vec<f64> {
        let mut scaled = self.vectors.clone();
        for (k, row) in scaled.chunks_exact_mut(self.dim).enumerate() {
            let factor = f(self.values[k], k < self.rank);
            row.iter_mut().for_each(|value| *value *= factor);
        }
        let shape = [self.values.len(), self.dim];
        linalg::matmul_transposed_a(&self.vectors, shape, &scaled, shape)
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of eigenvalues above rounding; 0 if all rows are equal.
    pub fn rank(&self) -> usize {
        self.rank
    }

    fn retained(&self) -> &[f64] {
        &self.values[..self.rank]
    }

    /// The sum of the eigenvalues above rounding.
    pub fn trace(&self) -> f64 {
        self.retained().iter().sum()
    }

    /// The effective rank `exp(-sum p_k ln p_k)` with `p = lambda / tr` (Roy and Vetterli, 2007): the number of equal
    /// eigenvalues with the same entropy. 0 if the trace is zero.
    pub fn effective_rank(&self) -> f64 {
        let trace = self.trace();
        if self.rank == 0 {
            return 0.0;
        }
        let entropy: f64 = self.retained().iter().map(|value| value / trace).map(|p| -p * p.ln()).sum();
        entropy.exp()
    }

    /// The participation ratio `tr(Sigma)^2 / tr(Sigma^2)`, the `d_eff` of arXiv 2605.07825. 0 if the trace is zero.
    pub fn participation_ratio(&self) -> f64 {
        if self.rank == 0 {
            return 0.0;
        }
        self.trace().powi(2) / self.retained().iter().map(|value| value * value).sum::<f64>()
    }

    /// The anisotropy `A = lambda_1 d / tr Sigma`: 1 for an isotropic cloud. 0 if the trace is zero.
    pub fn anisotropy(&self) -> f64 {
        if self.rank == 0 { 0.0 } else { self.values[0] * self.dim as f64 / self.trace() }
    }

    /// The condition number `lambda_1 / lambda_r` over the leading `r` eigenvalues; 1 if `r` or the trace is zero.
    ///
    /// At most the eigenvalues above rounding count: with [`rank`](Self::rank) or more for `r`, it is the condition number
    /// of the whole covariance on its support.
    pub fn condition_number(&self, r: usize) -> f64 {
        match r.min(self.rank) {
            0 => 1.0,
            last => self.values[0] / self.values[last - 1],
        }
    }

    /// `E(K)`, the share of the trace in the first `k` eigenvalues.
    pub fn cumulative_energy(&self, k: usize) -> f64 {
        let trace = self.trace();
        if trace == 0.0 { 0.0 } else { self.values[..k.min(self.rank)].iter().sum::<f64>() / trace }
    }

    /// The fewest leading eigenvalues whose sum is at least `share` of the trace; 0 if the trace is zero.
    pub fn energy_rank(&self, share: f64) -> usize {
        let (trace, mut sum) = (self.trace(), 0.0);
        for (k, value) in self.retained().iter().enumerate() {
            sum += value;
            // The last bits of a sum must not make a share of 1 unreachable.
            if sum >= trace * share * (1.0 - 1e-14) {
                return k + 1;
            }
        }
        self.rank
    }

    /// Fits a power law to the first hundred eigenvalues above rounding; `None` if there are fewer than three.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::geometry::Spectrum;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let values = [1.0, 1.0 / 4.0, 1.0 / 9.0]; // k^-2
    /// let covariance = [values[0], 0.0, 0.0, 0.0, values[1], 0.0, 0.0, 0.0, values[2]];
    /// let law = Spectrum::of(&covariance, 3, 100)?.power_law().expect("three eigenvalues");
    /// assert!((law.exponent - 2.0).abs() < 1e-9);
    /// assert_eq!((law.first, law.last), (1, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn power_law(&self) -> Option<PowerLaw> {
        let (first, last) = (1, self.rank.min(POWER_LAW_LAST));
        if last < first + 2 {
            return None;
        }
        let points: Vec<(f64, f64)> =
            (first..=last).map(|k| ((k as f64).ln(), self.values[k - 1].ln())).collect();
        let count = points.len() as f64;
        let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / count, y + p.1 / count));
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in &points {
            xx += (x - mean_x) * (x - mean_x);
            xy += (x - mean_x) * (y - mean_y);
            yy += (y - mean_y) * (y - mean_y);
        }
        let r_squared = if yy == 0.0 { 1.0 } else { xy * xy / (xx * yy) };
        Some(PowerLaw { exponent: -xy / xx, first, last, r_squared })
    }

    /// `C_lambda`, the Pearson correlation of `ln lambda` of two sorted spectra over the eigenvalues that are above
    /// rounding in both (arXiv 2605.07825, Sec. 3); `None` if these are fewer than three or one spectrum is flat.
    pub fn correlation(&self, other: &Self) -> Option<f64> {
        let rank = self.rank.min(other.rank);
        let logs = |spectrum: &Self| -> Vec<f64> {
            spectrum.values[..rank].iter().map(|value| value.ln()).collect()
        };
        if rank < 3 { None } else { pearson(&logs(self), &logs(other)) }
    }
}

/// The Pearson correlation of two lists; `None` if one of them is constant.
pub(crate) fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let count = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / count, b.iter().sum::<f64>() / count);
    let (mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        aa += a * a;
        ab += a * b;
        bb += b * b;
    }
    let correlation = ab / (aa * bb).sqrt();
    // Rounding makes equal values vary a little.
    let varies = |sum: f64, mean: f64| sum > (8.0 * f64::EPSILON * mean).powi(2) * count;
    (varies(aa, mean_a) && varies(bb, mean_b) && correlation.is_finite()).then_some(correlation)
}
