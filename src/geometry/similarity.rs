use rand::RngExt;

use super::Cloud;
use super::spectrum::pearson;
use crate::embedding::parallel;
use crate::random::seeded_rng;
use crate::{Error, Result};

/// Standard deviations beyond which a Gaussian kernel is negligible in float64.
const REACH: f64 = 9.0;

/// `count` random pairs `[a, b]` of different rows of one set, uniformly distributed.
///
/// # Errors
///
/// [`Error::TooFewRows`] for fewer than two rows.
pub(crate) fn sample_pairs(rows: usize, count: usize, seed: u64) -> Result<Vec<[u32; 2]>> {
    if rows < 2 {
        return Err(Error::TooFewRows { what: "rows to draw pairs of".to_string(), needed: 2, actual: rows });
    }
    let mut rng = seeded_rng(seed, &[0]);
    let pair = |_| {
        let first = rng.random_range(0..rows);
        // One of the others, uniformly.
        let second = (first + rng.random_range(1..rows)) % rows;
        [first as u32, second as u32]
    };
    Ok((0..count).map(pair).collect())
}

/// `count` random pairs of a row of one set and a row of another, uniformly distributed.
///
/// # Errors
///
/// [`Error::TooFewRows`] if a set is empty.
pub(crate) fn sample_pairs_across(
    first: usize,
    second: usize,
    count: usize,
    seed: u64,
) -> Result<Vec<[u32; 2]>> {
    if first.min(second) == 0 {
        let what = "rows to draw pairs of".to_string();
        return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
    }
    let mut rng = seeded_rng(seed, &[1]);
    Ok((0..count).map(|_| [rng.random_range(0..first) as u32, rng.random_range(0..second) as u32]).collect())
}

/// The products `a_i . b_j` of pairs `[i, j]`: their cosines, for unit rows.
///
/// # Panics
///
/// If a row is out of bounds, or the numbers of dimensions differ.
pub(crate) fn pair_products(a: &Cloud, b: &Cloud, pairs: &[[u32; 2]]) -> Vec<f64> {
    assert_eq!(a.dim(), b.dim(), "pair products: dimensions of the two sets");
    let product = |&[i, j]: &[u32; 2]| -> f64 {
        a.row(i as usize).iter().zip(b.row(j as usize)).map(|(a, b)| a * b).sum()
    };
    parallel::map(pairs.chunks(1024), |pairs| pairs.iter().map(product).collect::<Vec<_>>()).concat()
}

/// `Psi`, the correlation of the cosines of pairs of rows before and after; 0 if one of them is constant (arXiv
/// 2605.07825, Sec. 3).
///
/// # Panics
///
/// If the lists differ in length.
pub(crate) fn similarity_correlation(before: &[f64], after: &[f64]) -> f64 {
    assert_eq!(before.len(), after.len(), "Psi: pairs before and after");
    pearson(before, after).unwrap_or(0.0)
}

/// Kernel density estimates on one grid, with Gaussian kernels of one bandwidth.
///
/// arXiv 2602.07026, App. D.2, compares densities of pairwise cosines by their Jensen-Shannon divergence and states
/// neither bandwidth nor grid nor base of the logarithm. Here the bandwidth is Scott's for the prior sample,
/// `std n^(-1/5)`, but at least a step of the grid; the grid is uniform and extends three bandwidths beyond all samples;
/// densities sum to 1 over the grid; and divergences are in bits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DensityGrid {
    bandwidth: f64,
    points: Vec<f64>,
}

impl DensityGrid {
    /// A grid of `points` points for a prior sample and the samples that are compared with it.
    ///
    /// # Panics
    ///
    /// If there are fewer than two points, or the prior sample is empty.
    pub(crate) fn new(prior: &[f64], others: &[&[f64]], points: usize) -> Self {
        assert!(points >= 2 && !prior.is_empty(), "density grid: at least 2 points and 1 value");
        let all = || others.iter().copied().chain([prior]).flatten();
        let lowest = all().copied().fold(f64::INFINITY, f64::min);
        let highest = all().copied().fold(f64::NEG_INFINITY, f64::max);
        let steps = (points - 1) as f64;
        // The range includes three bandwidths at each end. A single value still needs some width.
        let least = ((highest - lowest) / (steps - 6.0).max(1.0)).max(1e-6);
        let bandwidth = scott(prior).max(least);
        let (lowest, highest) = (lowest - 3.0 * bandwidth, highest + 3.0 * bandwidth);
        let step = (highest - lowest) / steps;
        Self { bandwidth, points: (0..points).map(|at| lowest + at as f64 * step).collect() }
    }

    /// The standard deviation of the kernels.
    pub(crate) fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// The points of the grid, ascending.
    pub(crate) fn points(&self) -> &[f64] {
        &self.points
    }

    /// The density of a sample at the points of the grid, scaled to the sum 1.
    pub(crate) fn density(&self, sample: &[f64]) -> Vec<f64> {
        let mut sorted = sample.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut density = parallel::map(self.points.chunks(16), |points| {
            points.iter().map(|&point| self.kernels(&sorted, point)).collect::<Vec<f64>>()
        })
        .concat();
        let sum: f64 = density.iter().sum();
        if sum > 0.0 {
            density.iter_mut().for_each(|value| *value /= sum);
        }
        density
    }

    fn kernels(&self, sorted: &[f64], point: f64) -> f64 {
        let reach = REACH * self.bandwidth;
        let first = sorted.partition_point(|&value| value < point - reach);
        let last = sorted.partition_point(|&value| value <= point + reach);
        let kernel = |value: &f64| {
            let distance = (point - value) / self.bandwidth;
            (-0.5 * distance * distance).exp()
        };
        // Not `sum`, which is -0.0 for no values.
        sorted[first..last].iter().map(kernel).fold(0.0, |sum, value| sum + value)
    }
}

/// Scott's bandwidth of a sample in one dimension; 0 for a single value.
fn scott(sample: &[f64]) -> f64 {
    let count = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let squares: f64 = sample.iter().map(|value| (value - mean) * (value - mean)).sum();
    (squares / (count - 1.0).max(1.0)).sqrt() * count.powf(-0.2)
}

/// The Jensen-Shannon divergence of two densities over the same points, in bits: 0 for equal densities, 1 for disjoint
/// ones.
///
/// # Panics
///
/// If the densities differ in length.
pub(crate) fn js_divergence(p: &[f64], q: &[f64]) -> f64 {
    assert_eq!(p.len(), q.len(), "Jensen-Shannon divergence: points of the densities");
    let part = |p: f64, m: f64| if p > 0.0 { p * (p / m).log2() } else { 0.0 };
    let sum: f64 = p
        .iter()
        .zip(q)
        .map(|(&p, &q)| {
            let middle = (p + q) / 2.0;
            part(p, middle) + part(q, middle)
        })
        .sum();
    (sum / 2.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn pairs_are_of_different_rows_and_reach_all() {
        let pairs = sample_pairs(5, 2000, 3).unwrap();
        assert!(pairs.iter().all(|[a, b]| a != b && *a < 5 && *b < 5));
        let mut counts = [[0; 5]; 5];
        pairs.iter().for_each(|[a, b]| counts[*a as usize][*b as usize] += 1);
        for (a, row) in counts.iter().enumerate() {
            assert!(row.iter().enumerate().all(|(b, &count)| if a == b { count == 0 } else { count > 50 }));
        }
        assert_eq!(pairs, sample_pairs(5, 2000, 3).unwrap());
        assert_ne!(pairs, sample_pairs(5, 2000, 4).unwrap());
        assert!(matches!(sample_pairs(1, 2, 0), Err(Error::TooFewRows { .. })));
        assert!(matches!(sample_pairs_across(1, 0, 2, 0), Err(Error::TooFewRows { .. })));
    }

    #[test]
    fn the_density_of_one_value_is_a_gaussian_bell() {
        let sample: Vec<f64> = (0..500).map(|i| (i as f64 / 499.0).sqrt()).collect();
        let grid = DensityGrid::new(&sample, &[], 401);
        let bell = grid.density(&[0.5]);
        assert_abs_diff_eq!(bell.iter().sum::<f64>(), 1.0, epsilon = 1e-12);
        let mean: f64 = grid.points().iter().zip(&bell).map(|(x, p)| x * p).sum();
        let variance: f64 = grid.points().iter().zip(&bell).map(|(x, p)| (x - mean).powi(2) * p).sum();
        assert_abs_diff_eq!(mean, 0.5, epsilon = 1e-9);
        assert_abs_diff_eq!(variance.sqrt() / grid.bandwidth(), 1.0, epsilon = 1e-6);
    }

    #[test]
    fn equal_samples_have_equal_densities() {
        let (prior, other) = ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]);
        let grid = DensityGrid::new(&prior, &[&other], 64);
        assert!(js_divergence(&grid.density(&prior), &grid.density(&other)) < 1e-12);
    }

    #[test]
    fn the_divergence_is_0_for_equal_densities_1_for_disjoint_ones_and_symmetric() {
        let (p, q) = ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75]);
        assert_eq!(js_divergence(&p, &p), 0.0);
        assert_abs_diff_eq!(js_divergence(&p, &q), 1.0, epsilon = 1e-15);
        let r = [0.25, 0.25, 0.25, 0.25];
        assert_abs_diff_eq!(js_divergence(&p, &r), js_divergence(&r, &p), epsilon = 1e-15);
        // By hand: m = (3/8, 3/8, 1/8, 1/8), so JS = (log2(4/3) + (log2(2/3) + log2 2) / 2) / 2.
        let expected = ((4.0_f64 / 3.0).log2() + ((2.0_f64 / 3.0).log2() + 1.0) / 2.0) / 2.0;
        assert_abs_diff_eq!(js_divergence(&p, &r), expected, epsilon = 1e-15);
    }

    #[test]
    fn equal_values_have_a_density() {
        let equal = vec![0.25; 50];
        let grid = DensityGrid::new(&equal, &[&equal], 100);
        let density = grid.density(&equal);
        assert!(density.iter().all(|value| value.is_finite()) && grid.bandwidth() > 0.0);
        assert_eq!(js_divergence(&density, &density), 0.0);
        assert_eq!(similarity_correlation(&equal, &equal), 0.0);
    }
}
