use burn::config::Config;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Cloud, dot, norm};
use crate::embedding::parallel;
use crate::{Error, Result};

/// Configuration of an exact search for nearest neighbours.
#[derive(Config, Debug)]
pub struct KnnConfig {
    /// The number of neighbours of a row. Default: 20, as in arXiv 2602.07026, App. D.3.
    #[config(default = 20)]
    pub k: usize,
    /// The number of rows whose similarities to all others are in memory at once. Default: 1024.
    #[config(default = 1024)]
    pub block_size: usize,
}

/// The `k` nearest neighbours of every row of a set, nearest first.
///
/// The neighbours of a row are the other rows of highest cosine; ties go to the first row.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::geometry::{Cloud, KnnConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let rows = Cloud::new(vec![1.0, 0.0, 0.8, 0.6, 0.0, 1.0], 2)?;
/// let found = KnnConfig::new().with_k(1).find(&rows, &Device::default())?;
/// assert_eq!((found.of(0), found.of(2)), ([1].as_slice(), [1].as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    k: usize,
    indices: Vec<u32>,
}

impl Neighbours {
    /// The number of neighbours of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.indices.len() / self.k
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The neighbours of a row, nearest first.
    ///
    /// # Panics
    ///
    /// If `row` is out of bounds.
    pub fn of(&self, row: usize) -> &[u32] {
        &self.indices[row * self.k..(row + 1) * self.k]
    }

    /// `Omega_k`, the mean share of its `k` nearest neighbours that a row has in both searches, where row `i` is the same
    /// row before and after a transformation (arXiv 2605.07825, Sec. 3; arXiv 2602.07026, App. F.4).
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of rows or of neighbours.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_revision::geometry::{Cloud, KnnConfig};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let neighbours = |values| {
    ///     KnnConfig::new().with_k(1).find(&Cloud::new(values, 2)?.into_unit("rows")?, &Device::default())
    /// };
    /// let before = neighbours(vec![1.0, 0.0, 0.9, 0.1, 0.0, 1.0])?;
    /// let turned = neighbours(vec![0.0, 1.0, -0.1, 0.9, -1.0, 0.0])?;
    /// assert_eq!(before.overlap(&turned)?, 1.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn overlap(&self, after: &Self) -> Result<f64> {
        if self.k != after.k {
            return Err(Error::mismatch("neighbours of a row", self.k, after.k));
        }
        if self.len() != after.len() {
            return Err(Error::mismatch("rows with neighbours", self.len(), after.len()));
        }
        let kept = |row: usize| self.of(row).iter().filter(|found| after.of(row).contains(found)).count();
        let kept: usize = (0..self.len()).map(kept).sum();
        Ok(kept as f64 / (self.len() * self.k) as f64)
    }
}

impl KnnConfig {
    /// Finds the neighbours of all rows, `[n, d]`, which must be unit rows.
    ///
    /// The search is exact. Blocks of the cosine matrix are computed on `device` in float32, each product once for both of
    /// its rows; rows that could be neighbours in spite of rounding are compared again in float64 on the host. On a device
    /// that multiplies in lower precision than float32, which a sample of the products detects, the search is very likely,
    /// but not certainly, exact.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] for `k` rows or fewer, [`Error::Config`] if `k` or `block_size` is zero or a row is not of
    /// unit length.
    pub fn find(&self, rows: &Cloud, device: &Device) -> Result<Neighbours> {
        self.check(rows.len(), "rows")?;
        if let Some((row, norm)) =
            rows.rows().map(norm).enumerate().find(|(_, norm)| (norm - 1.0).abs() > 1e-6)
        {
            let detail = format!("expected unit rows, but row {row} has norm {norm}");
            return Err(Error::config("neighbours", detail));
        }
        let (total, dim) = (rows.len(), rows.dim());
        let device = device.clone().without_autodiff();
        let single = |rows: &[f64]| {
            let values: Vec<f32> = rows.iter().map(|&value| value as f32).collect();
            let data = TensorData::new(values, [rows.len() / dim, dim]);
            Tensor::<2>::from_data(data, (&device, DType::F32))
        };
        let all = single(rows.values());
        let mut search = Search { rows, k: self.k, margin: 0.0 };
        let mut found: Vec<Candidates> = (0..total).map(|_| Candidates::new(self.k)).collect();
        for first in (0..total).step_by(self.block_size) {
            let last = (first + self.block_size).min(total);
            let block = all.clone().slice_dim(0, first..last);
            let cosines = block.matmul(all.clone().slice_dim(0, first..total).transpose());
            let cosines: Vec<f32> = cosines.into_data().try_into_vec_as::<f32>().expect("converted to f32");
            search.margin = search.margin.max(margin(rows, first, &cosines, total - first));
            let (own, later) = found[first..].split_at_mut(last - first);
            search.queries_of_block(own, first, &cosines, total - first);
            search.queries_of_columns(later, first, &cosines, last - first);
        }
        let indices = parallel::map(found.iter_mut().enumerate(), |(row, candidates)| {
            search.nearest(row, &candidates.found)
        });
        Ok(Neighbours { k: self.k, indices: indices.concat() })
    }

    pub(super) fn check(&self, rows: usize, what: &str) -> Result<()> {
        if self.k == 0 || self.block_size == 0 {
            let key = if self.k == 0 { "k" } else { "block_size" };
            return Err(Error::config(key, "expected at least 1, found 0"));
        }
        if rows < self.k + 1 {
            return Err(Error::TooFewRows { what: what.to_string(), needed: self.k + 1, actual: rows });
        }
        Ok(())
    }
}

/// The most by which a float32 cosine of a block can miss the true one.
///
/// Rounding the rows and adding `d` products bounds it, in whatever order they are added; a device that multiplies with
/// fewer digits is found out by a sample.
fn margin(rows: &Cloud, first: usize, cosines: &[f32], width: usize) -> f32 {
    const SAMPLE: usize = 64;
    let epsilon = f64::from(f32::EPSILON) / 2.0;
    let bound = (rows.dim() as f64 + 4.0) * epsilon;
    let sample = SAMPLE.min(width).min(cosines.len() / width);
    let worst = (0..sample)
        .flat_map(|i| (0..sample).map(move |j| (i, j)))
        .map(|(i, j)| {
            (f64::from(cosines[i * width + j]) - dot(rows.row(first + i), rows.row(first + j))).abs()
        })
        .fold(0.0, f64::max);
    // Beyond the bound, a sample's worst case says only what to expect.
    (if worst <= bound { bound } else { 8.0 * worst }) as f32
}

/// Rows that may be among the `k` nearest of a row.
struct Candidates {
    found: Vec<(f32, u32)>,
    /// Rows whose cosine is below this, in float32, cannot be among them.
    threshold: f32,
    /// The number of candidates at which they are pruned.
    capacity: usize,
}

impl Candidates {
    fn new(k: usize) -> Self {
        Self { found: Vec::new(), threshold: f32::NEG_INFINITY, capacity: 2 * k + 16 }
    }
}

struct Search<'a> {
    rows: &'a Cloud,
    k: usize,
    margin: f32,
}

/// Cosines that are compared at once before any of them is looked at.
const LANES: usize = 16;
/// Columns of a task: their thresholds stay in the first-level cache.
const STRIP: usize = 512;

impl Search<'_> {
    /// Offers every row from the block on as a candidate to the rows of the block.
    fn queries_of_block(&self, own: &mut [Candidates], first: usize, cosines: &[f32], width: usize) {
        let queries = own.iter_mut().zip(cosines.chunks_exact(width)).enumerate();
        parallel::map(queries, |(query, (candidates, cosines))| {
            for (strip, values) in cosines.chunks(LANES).enumerate() {
                let threshold = candidates.threshold;
                if !values.iter().fold(false, |any, &value| any | (value >= threshold)) {
                    continue;
                }
                for (at, &value) in values.iter().enumerate() {
                    let column = strip * LANES + at;
                    if column != query {
                        self.offer(candidates, first + query, value, first + column);
                    }
                }
            }
        });
    }

    /// Offers the rows of the block as candidates to the rows after it: the same products, read by columns.
    fn queries_of_columns(&self, later: &mut [Candidates], first: usize, cosines: &[f32], block: usize) {
        let width = block + later.len();
        parallel::map(later.chunks_mut(STRIP).enumerate(), |(strip, later)| {
            let start = block + strip * STRIP;
            let mut thresholds: Vec<f32> = later.iter().map(|candidates| candidates.threshold).collect();
            for (row, cosines) in cosines.chunks_exact(width).enumerate() {
                let cosines = &cosines[start..start + later.len()];
                let pieces = cosines.chunks(LANES).zip(thresholds.chunks_mut(LANES)).enumerate();
                for (piece, (values, thresholds)) in pieces {
                    let compared = values.iter().zip(thresholds.iter());
                    if !compared.fold(false, |any, (value, threshold)| any | (value >= threshold)) {
                        continue;
                    }
                    for (at, (&value, threshold)) in values.iter().zip(thresholds).enumerate() {
                        let column = piece * LANES + at;
                        self.offer(&mut later[column], first + start + column, value, first + row);
                        *threshold = later[column].threshold;
                    }
                }
            }
        });
    }

    fn offer(&self, candidates: &mut Candidates, query: usize, value: f32, index: usize) {
        if value < candidates.threshold {
            return;
        }
        candidates.found.push((value, index as u32));
        if candidates.found.len() >= candidates.capacity {
            self.prune(candidates, query);
        }
    }

    /// Drops rows that cannot be among the nearest, and raises the threshold.
    fn prune(&self, candidates: &mut Candidates, query: usize) {
        let Candidates { found, threshold, capacity } = candidates;
        let (_, kth, _) = found.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
        // The exact cosines of the k best so far are at least this minus one margin, and a row whose exact cosine is as
        // large is at most another margin below it in float32.
        *threshold = threshold.max(kth.0 - 2.0 * self.margin);
        found.retain(|(value, _)| *value >= *threshold);
        if found.len() * 2 > *capacity {
            // Many are nearly equal: only float64 can order them.
            let mut exact = self.exact(query, found);
            exact.truncate(self.k);
            let kth = exact[self.k - 1].0;
            found.retain(|(_, index)| exact.iter().any(|(_, kept)| kept == index));
            *threshold = threshold.max(kth as f32 - self.margin - f32::EPSILON);
            *capacity = (*capacity).max(4 * self.k + 64);
        }
    }

    /// Candidates with their cosines in float64, nearest first, ties by index.
    fn exact(&self, query: usize, found: &[(f32, u32)]) -> Vec<(f64, u32)> {
        let mut exact: Vec<(f64, u32)> = found
            .iter()
            .map(|&(_, index)| (dot(self.rows.row(query), self.rows.row(index as usize)), index))
            .collect();
        exact.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        exact
    }

    fn nearest(&self, query: usize, found: &[(f32, u32)]) -> Vec<u32> {
        self.exact(query, found).into_iter().take(self.k).map(|(_, index)| index).collect()
    }
}
