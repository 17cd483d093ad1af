use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::sums::Sums;
use super::{linalg, scatter, single};
use crate::embedding::kernel::Lane;
use crate::embedding::{HostRows, Row, RowReport, check_length, host_rows, parallel};
use crate::{Error, Result, assert_shape};

/// Rows that are summed before they are merged; fixed, so that the result does not depend on the machine.
const BLOCK: usize = 512;

/// The mean, the spread and, if asked for, the covariance of rows that arrive in chunks.
///
/// Everything is float64 on the host, whatever the rows are. Each block of rows is summed about a point close to it
/// and the blocks are merged by the formula of Chan, Golub and LeVeque, which does not cancel where the usual
/// `E x^2 - (E x)^2` does:
///
/// ```text
/// n = n_a + n_b        delta = mean_b - mean_a
/// mean = mean_a + delta n_b / n
/// S    = S_a + S_b + delta delta^T n_a n_b / n         (S = sum (x - mean)(x - mean)^T; the trace likewise)
/// ```
///
/// $$ S = S_a + S_b + \\frac{n_a n_b}{n}\\,\\delta\\delta^\\top $$
///
/// The same formula merges moments that were gathered apart, by threads or machines ([`Moments::merge`]). Divisors
/// are `N`, as in arXiv 2602.07026, Sec. 4.
///
/// ```
/// use burn_revision::geometry::Moments;
///
/// # fn main() -> burn_revision::Result<()> {
/// let (mut first, mut second) = (Moments::new(2), Moments::new(2));
/// first.update_rows(&[1.0, 0.0, 0.0, 1.0])?;
/// second.update_rows(&[-1.0, 0.0, 0.0, -1.0])?;
/// first.merge(&second)?;
/// assert_eq!(first.mean(), [0.0, 0.0]);
/// assert_eq!(first.trace(), 1.0); // unit rows: 1 - ||mean||^2
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Moments {
    count: u64,
    mean: Vec<f64>,
    /// The sum of squared distances from the mean.
    squares: f64,
    /// The sum of outer products about the mean, `[d, d]` row-major, of which the upper triangle counts.
    scatter: Option<Vec<f64>>,
    /// Whether products for it are taken in float32.
    #[serde(default)]
    single: bool,
}

/// What a serialized form says, before it is believed.
#[derive(Deserialize)]
struct Stored {
    count: u64,
    mean: Vec<f64>,
    squares: f64,
    scatter: Option<Vec<f64>>,
    #[serde(default)]
    single: bool,
}

impl TryFrom<Stored> for Moments {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { count, mean, squares, scatter, single } = stored;
        if mean.is_empty() {
            return Err(Error::config("moments", "the mean has no dimension"));
        }
        if let Some(scatter) = &scatter
            && scatter.len() != mean.len() * mean.len()
        {
            return Err(Error::mismatch("scatter matrix", mean.len() * mean.len(), scatter.len()));
        }
        if !(squares.is_finite() && squares >= 0.0 && mean.iter().all(|m| m.is_finite())) {
            return Err(Error::config("moments", "a mean or a spread is not finite"));
        }
        Ok(Self { count, mean, squares, scatter, single })
    }
}

impl Moments {
    /// No rows yet; gathers the mean and the trace of the covariance.
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn new(dim: usize) -> Self {
        assert!(dim > 0, "moments: expected at least 1 dimension, found 0");
        Self { count: 0, mean: vec![0.0; dim], squares: 0.0, scatter: None, single: false }
    }

    /// No rows yet; gathers the whole covariance as well, at `O(n d^2)`. Feed it chunks of many rows.
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn with_covariance(dim: usize) -> Self {
        Self { scatter: Some(vec![0.0; dim * dim]), ..Self::new(dim) }
    }

    /// As [`Moments::with_covariance`], but products are taken in float32, some thousand rows at a time, and added up in
    /// float64: several times faster, and right to about six digits of each eigenvalue. Means and traces are those of
    /// the rows rounded to float32.
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn with_single_covariance(dim: usize) -> Self {
        Self { single: true, ..Self::with_covariance(dim) }
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The number of rows so far.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The mean row, `[d]`; zeros while there is no row.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// `E ||x - mean||^2`, the trace of the covariance (divisor `N`); 0 while there is no row.
    pub fn trace(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.squares / self.count as f64 }
    }

    /// `E ||x - center||^2`, the spread about any point `[d]`.
    ///
    /// # Panics
    ///
    /// If `center` has another number of dimensions.
    pub fn trace_about(&self, center: &[f64]) -> f64 {
        assert_eq!(center.len(), self.dim(), "moments: dimensions of the center and of the rows");
        let offset: f64 = self.mean.iter().zip(center).map(|(m, c)| (m - c) * (m - c)).sum();
        self.trace() + offset
    }

    /// The covariance, `[d, d]` row-major (divisor `N`), where it was asked for.
    pub fn covariance(&self) -> Option<Vec<f64>> {
        let scatter = self.scatter.as_ref()?;
        let (dim, divisor) = (self.dim(), self.count.max(1) as f64);
        let upper = |i: usize, j: usize| scatter[i.min(j) * dim + i.max(j)] / divisor;
        Some((0..dim * dim).map(|at| upper(at / dim, at % dim)).collect())
    }

    /// Takes in the rows of a tensor `[n, d]` of any float type on any device, as they are.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] where a value is NaN or infinite; the moments are then as before.
    ///
    /// # Panics
    ///
    /// If the rows have another number of dimensions.
    pub fn update(&mut self, rows: &Tensor<2>) -> Result<()> {
        let dim = self.dim();
        assert_shape!(rows, [_, dim], "moments: rows");
        match host_rows(rows.clone()) {
            HostRows::Single(rows) => self.take(&rows, Entry::AsTheyAre),
            HostRows::Double(rows) => self.take(&rows, Entry::AsTheyAre),
        }
        .map(|_| ())
    }

    /// Takes in rows, row-major `[n, d]`, as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `rows` is not a whole number of rows, [`Error::NonFinite`] where a value is NaN or
    /// infinite; the moments are then as before.
    pub fn update_rows(&mut self, rows: &[f32]) -> Result<()> {
        self.take(rows, Entry::AsTheyAre).map(|_| ())
    }

    /// The moments of `count` rows with the given sum and sum of squared norms.
    pub(crate) fn from_sums(count: usize, mut sums: Vec<f64>, squares: f64) -> Self {
        let divisor = count.max(1) as f64;
        sums.iter_mut().for_each(|sum| *sum /= divisor);
        let centre: f64 = sums.iter().map(|mean| mean * mean).sum();
        let squares = (squares - count as f64 * centre).max(0.0);
        Self { count: count as u64, mean: sums, squares, scatter: None, single: false }
    }

    /// The moments of `count` rows, given the sum of their differences from `shift` and of the squared norms of these.
    pub(crate) fn from_shifted_sums(count: usize, shift: &[f64], sums: Vec<f64>, squares: f64) -> Self {
        let mut moments = Self::from_sums(count, sums, squares);
        moments.mean.iter_mut().zip(shift).for_each(|(mean, shift)| *mean += shift);
        moments
    }

    /// What [`Moments::mean`], [`Moments::count`], the sum of squared distances and [`Moments::packed_scatter`] said, checked.
    pub(crate) fn from_parts(
        count: u64,
        mean: Vec<f64>,
        squares: f64,
        packed: Option<Vec<f64>>,
    ) -> Result<Self> {
        let dim = mean.len();
        let scatter = match packed {
            Some(packed) => {
                let expected = dim * (dim + 1) / 2;
                if packed.len() != expected {
                    let what = "values in the upper triangle of a scatter matrix";
                    return Err(Error::mismatch(what, expected, packed.len()));
                }
                let (mut scatter, mut rest) = (vec![0.0; dim * dim], packed.as_slice());
                for (row, values) in scatter.chunks_exact_mut(dim).enumerate() {
                    let (upper, others) = rest.split_at(dim - row);
                    values[row..].copy_from_slice(upper);
                    rest = others;
                }
                Some(scatter)
            }
            None => None,
        };
        Stored { count, mean, squares, scatter, single: false }.try_into()
    }

    /// The upper triangle of the sum of outer products about the mean, row by row, `[d (d + 1) / 2]`; where the covariance
    /// is gathered.
    pub(crate) fn packed_scatter(&self) -> Option<Vec<f64>> {
        let dim = self.dim();
        let rows = self.scatter.as_ref()?.chunks_exact(dim).enumerate();
        Some(rows.flat_map(|(row, values)| &values[row..]).copied().collect())
    }

    /// Moments of no row that gather the same as these.
    pub(crate) fn without_rows(&self) -> Self {
        match (self.scatter.is_some(), self.single) {
            (true, true) => Self::with_single_covariance(self.dim()),
            (true, false) => Self::with_covariance(self.dim()),
            (false, _) => Self::new(self.dim()),
        }
    }

    /// The same, as gathered without the covariance.
    pub(crate) fn without_covariance(&self) -> Self {
        let mean = self.mean.clone();
        Self { count: self.count, mean, squares: self.squares, scatter: None, single: false }
    }

    /// The sum of squared distances from the mean.
    pub(crate) fn squares(&self) -> f64 {
        self.squares
    }

    /// Whether the covariance is gathered as well.
    pub fn gathers_covariance(&self) -> bool {
        self.scatter.is_some()
    }

    /// A better value for the sum of squared distances from the mean.
    pub(super) fn set_squares(&mut self, squares: f64) {
        self.squares = squares;
    }

    /// Takes in the rows that another instance has seen.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions, [`Error::Config`] where only one of the two gathers the
    /// covariance.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.dim() != other.dim() {
            return Err(Error::mismatch("dimensions of merged moments", self.dim(), other.dim()));
        }
        if self.scatter.is_some() != other.scatter.is_some() {
            return Err(Error::config("moments", "only one of two merged moments gathers the covariance"));
        }
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                self.clone_from(other);
            }
            return Ok(());
        }
        let (n_a, n_b) = (self.count as f64, other.count as f64);
        let weight = n_a * n_b / (n_a + n_b);
        let delta: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        for (mean, delta) in self.mean.iter_mut().zip(&delta) {
            *mean += delta * (n_b / (n_a + n_b));
        }
        self.squares += other.squares + weight * delta.iter().map(|d| d * d).sum::<f64>();
        if let (Some(mine), Some(theirs)) = (&mut self.scatter, &other.scatter) {
            scatter::merge(mine, theirs, &delta, weight);
        }
        self.count += other.count;
        Ok(())
    }

    /// Gathers the rows apart and merges them when all went well.
    pub(super) fn take<T: Lane>(&mut self, rows: &[T], entry: Entry<'_>) -> Result<RowReport> {
        let dim = self.dim();
        check_length(rows, dim)?;
        if self.single {
            return self.take_single(rows, entry);
        }
        let mut gathered = if self.scatter.is_some() { Self::with_covariance(dim) } else { Self::new(dim) };
        let mut report = RowReport::default();
        let keep_rows = self.scatter.is_some();
        // With the covariance each block brings its rows along, so only a few blocks are in flight at once.
        let flight = if keep_rows { 8 * BLOCK * dim } else { rows.len().max(1) };
        for (group, rows) in rows.chunks(flight).enumerate() {
            let first = group * flight / dim;
            let blocks = rows.chunks(BLOCK * dim).enumerate();
            let blocks = parallel::map(blocks, |(block, rows)| {
                sum_block(rows, dim, first + block * BLOCK, keep_rows, entry)
            });
            let mut centered = Vec::new();
            for block in blocks {
                let (sums, part) = block?;
                report.merge(&part);
                gathered.merge_block(sums, &mut centered);
            }
            if let Some(scatter) = &mut gathered.scatter {
                linalg::add_gram_double(scatter, &centered, dim);
            }
        }
        self.merge(&gathered)?;
        Ok(report)
    }

    /// As [`Moments::take`], with products in float32.
    fn take_single<T: Lane>(&mut self, rows: &[T], entry: Entry<'_>) -> Result<RowReport> {
        let dim = self.dim();
        let (mut gathered, mut report) = (Self::with_single_covariance(dim), RowReport::default());
        for (number, rows) in rows.chunks(single::CHUNK * dim).enumerate() {
            let first = number * single::CHUNK;
            let (chunk, part) = single::chunk(rows, dim, first, entry)?;
            report.merge(&part);
            if let Some(chunk) = chunk {
                if !chunk.squares.is_finite() {
                    return Err(find_non_finite(rows, dim, first));
                }
                gathered.merge(&Self {
                    count: chunk.count as u64,
                    mean: chunk.mean,
                    squares: chunk.squares,
                    scatter: Some(chunk.scatter),
                    single: true,
                })?;
            }
        }
        self.merge(&gathered)?;
        Ok(report)
    }

    /// Takes in the sums of a block; its rows about their mean, which are still to be multiplied, go to `centered`.
    fn merge_block(&mut self, sums: Sums, centered: &mut Vec<f64>) {
        let Some(block) = sums.finish() else { return };
        let part = Self {
            count: block.count as u64,
            mean: block.mean,
            squares: block.squares,
            scatter: None,
            single: false,
        };
        let mut scatter = self.scatter.take();
        if let Some(scatter) = &mut scatter {
            centered.extend(block.centered);
            let (n_a, n_b) = (self.count as f64, part.count as f64);
            let delta: Vec<f64> = part.mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
            scatter::add_outer(scatter, &delta, n_a * n_b / (n_a + n_b));
        }
        self.merge(&part).expect("both have the same dimensions and no covariance");
        self.scatter = scatter;
    }
}

/// The sums of one block of rows, four rows at a time.
fn sum_block<T: Lane>(
    rows: &[T],
    dim: usize,
    first: usize,
    keep_rows: bool,
    entry: Entry<'_>,
) -> Result<(Sums, RowReport)> {
    let mut sums = Sums::new(dim, keep_rows);
    let mut report = RowReport::default();
    let mut waiting: Vec<Row<'_, T>> = Vec::with_capacity(4);
    for (i, values) in rows.chunks_exact(dim).enumerate() {
        report.rows += 1;
        let Some(row) = entry.row(values, first + i)? else {
            report.skipped += 1;
            continue;
        };
        report.zeroed += usize::from(row.zeroed);
        waiting.push(row);
        if let [a, b, c, d] = waiting.as_slice() {
            sums.push_four([a, b, c, d]);
            waiting.clear();
        }
    }
    for row in &waiting {
        sums.push(row);
    }
    report.kept = report.rows - report.skipped;
    if !sums.is_finite() {
        return Err(find_non_finite(rows, dim, first));
    }
    Ok((sums, report))
}

fn find_non_finite<T: Lane>(rows: &[T], dim: usize, first: usize) -> Error {
    let what = "moments".to_string();
    match rows.iter().position(|&value| !value.into().is_finite()) {
        Some(at) => {
            let value = rows[at].into() as f32;
            Error::NonFinite { what, row: first + at / dim, column: at % dim, value }
        }
        None => Error::config(what, "the squares of the rows overflow float64"),
    }
}
