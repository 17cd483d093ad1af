use serde::{Deserialize, Serialize};

use super::linalg;
use crate::{Error, Result};

/// The eigenvalues that a power law is fitted to, unless a range is asked for: the first hundred.
const POWER_LAW_LAST: usize = 100;

/// The eigenvalues of a covariance and, where they were asked for, its eigenvectors.
///
/// The decomposition is that of a symmetric matrix in float64. Of the two directions of an eigenvector the one is taken
/// in which the entry of largest magnitude is positive (the first such entry), so that results can be compared.
///
/// Eigenvalues below `max(n, d) eps lambda_1`, where `n` rows made the covariance, are rounding and count for nothing:
/// see [`Spectrum::rank`].
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

/// The exponent of `lambda_k ~ k^-alpha`: ordinary least squares of `ln lambda_k` on `ln k`.
///
/// arXiv 2602.07026, App. D.1, gives exponents without the range that they were fitted on; so the range stands here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// `alpha`.
    pub exponent: f64,
    /// The first eigenvalue of the fit, counted from 1.
    pub first: usize,
    /// The last one.
    pub last: usize,
    /// The share of the variance of `ln lambda` that the line explains.
    pub r_squared: f64,
}

/// How many eigenvalues hold a share of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyRank {
    /// The share.
    pub share: f64,
    /// The fewest eigenvalues that hold it.
    pub rank: usize,
}

/// Two readings of the condition number of a covariance, which arXiv 2602.07026 leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// `lambda_1 / lambda_n` over the `retained_rank` eigenvalues above rounding.
    pub retained: f64,
    /// How many those are.
    pub retained_rank: usize,
    /// `lambda_1 / lambda_r` over the leading `leading_rank` eigenvalues.
    pub leading: f64,
    /// How many those are.
    pub leading_rank: usize,
}

impl Spectrum {
    /// The eigenvalues and eigenvectors of a covariance, `[d, d]` row-major, that `rows` rows made.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for a matrix of another size, [`Error::Config`] for values that are not finite.
    pub fn of(covariance: &[f64], dim: usize, rows: usize) -> Result<Self> {
        Self::check(covariance, dim)?;
        let eigen = linalg::symmetric_eigen(covariance, dim)?;
        Ok(Self::from_parts(eigen.values, eigen.vectors, dim, rows))
    }

    /// As [`Spectrum::of`] without the eigenvectors, which takes a fraction of the time.
    ///
    /// # Errors
    ///
    /// As for [`Spectrum::of`].
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

    /// The eigenvalues, descending, as they were found.
    pub fn eigenvalues(&self) -> &[f64] {
        &self.values
    }

    /// Eigenvector number `k`, `[d]`, of unit length; nothing where they were not asked for.
    pub fn eigenvector(&self, k: usize) -> Option<&[f64]> {
        self.vectors.get(k * self.dim..(k + 1) * self.dim)
    }

    /// The first `rank` eigenvectors, `[rank, d]` row-major; all there are, where there are fewer.
    pub fn eigenvectors(&self, rank: usize) -> &[f64] {
        &self.vectors[..(rank * self.dim).min(self.vectors.len())]
    }

    /// `V f(Lambda) V^T`, `[d, d]`; `f` is told each eigenvalue and whether it is above rounding.
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

    /// How many eigenvalues are above rounding; 0 where all rows were alike.
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

    /// `exp(-sum p_k ln p_k)` with `p = lambda / tr` (Roy and Vetterli, 2007); the number of equal eigenvalues that would
    /// have the same entropy. 0 where there is no spread.
    pub fn effective_rank(&self) -> f64 {
        let trace = self.trace();
        if self.rank == 0 {
            return 0.0;
        }
        let entropy: f64 = self.retained().iter().map(|value| value / trace).map(|p| -p * p.ln()).sum();
        entropy.exp()
    }

    /// `tr(Sigma)^2 / tr(Sigma^2)`, the `d_eff` of arXiv 2605.07825. 0 where there is no spread.
    pub fn participation_ratio(&self) -> f64 {
        if self.rank == 0 {
            return 0.0;
        }
        self.trace().powi(2) / self.retained().iter().map(|value| value * value).sum::<f64>()
    }

    /// `A = lambda_1 d / tr Sigma`: 1 for an isotropic cloud. 0 where there is no spread.
    pub fn anisotropy(&self) -> f64 {
        if self.rank == 0 { 0.0 } else { self.values[0] * self.dim as f64 / self.trace() }
    }

    /// Both readings of the condition number, the second one over the leading `rank` eigenvalues or as many as there are;
    /// 1 where there is no spread.
    pub fn condition(&self, rank: usize) -> Condition {
        let ratio = |last: usize| if last == 0 { 1.0 } else { self.values[0] / self.values[last - 1] };
        let leading = rank.min(self.rank);
        Condition {
            retained: ratio(self.rank),
            retained_rank: self.rank,
            leading: ratio(leading),
            leading_rank: leading,
        }
    }

    /// `E(K)`, the share of the trace that the first `k` eigenvalues hold.
    pub fn cumulative_energy(&self, k: usize) -> f64 {
        let trace = self.trace();
        if trace == 0.0 { 0.0 } else { self.values[..k.min(self.rank)].iter().sum::<f64>() / trace }
    }

    /// The fewest eigenvalues that hold `share` of the trace; 0 where there is no spread.
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

    /// The power law over the first hundred eigenvalues above rounding; nothing where there are fewer than three.
    pub fn power_law(&self) -> Option<PowerLaw> {
        self.power_law_between(1, self.rank.min(POWER_LAW_LAST))
    }

    /// The power law over eigenvalues number `first` to `last`, counted from 1; nothing where fewer than three of them are
    /// above rounding.
    pub fn power_law_between(&self, first: usize, last: usize) -> Option<PowerLaw> {
        let (first, last) = (first.max(1), last.min(self.rank));
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
}

/// `C_lambda`, the correlation of `ln lambda` of two sorted spectra over the eigenvalues that both have above rounding
/// (arXiv 2605.07825, Sec. 3); nothing where fewer than three are left or one spectrum is flat.
pub fn spectral_correlation(a: &Spectrum, b: &Spectrum) -> Option<f64> {
    let rank = a.rank().min(b.rank());
    let logs = |spectrum: &Spectrum| -> Vec<f64> {
        spectrum.eigenvalues()[..rank].iter().map(|value| value.ln()).collect()
    };
    if rank < 3 { None } else { pearson(&logs(a), &logs(b)) }
}

/// The correlation of two lists; nothing where one of them does not vary.
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
    // Rounding makes values that are all alike vary a little.
    let varies = |sum: f64, mean: f64| sum > (8.0 * f64::EPSILON * mean).powi(2) * count;
    (varies(aa, mean_a) && varies(bb, mean_b) && correlation.is_finite()).then_some(correlation)
}
