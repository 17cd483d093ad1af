//! The upper triangle of sums of outer products, `[d, d]` row-major.

use crate::embedding::parallel;

/// Rows that enter a sum at once: so many products for each load and store of the sum.
const ROWS: usize = 8;
/// Rows and columns of a piece of the input that stays in the second-level cache.
const DEPTH: usize = 128;
const WIDTH: usize = 128;
/// Rows of the result a task.
const STRIP: usize = 32;

/// `scatter += X^T X` for centred rows `X`, `[n, d]`; what it leaves below the diagonal means nothing.
pub(super) fn add_gram(scatter: &mut [f64], mut rows: Vec<f64>, dim: usize) {
    // Rows of zeros change nothing, and leave no odd rows at the end.
    let whole = (rows.len() / dim).next_multiple_of(ROWS) * dim;
    rows.resize(whole, 0.0);
    for rows in rows.chunks(DEPTH * dim) {
        parallel::map(scatter.chunks_mut(STRIP * dim).enumerate(), |(strip, out)| {
            let first = strip * STRIP;
            for start in (first..dim).step_by(WIDTH) {
                let columns = start..(start + WIDTH).min(dim);
                for (i, out) in out.chunks_exact_mut(dim).enumerate() {
                    for rows in rows.chunks_exact(ROWS * dim) {
                        add_products(&mut out[columns.clone()], rows, first + i, start, dim);
                    }
                }
            }
        });
    }
}

/// `out[j] += sum_r X[r, i] X[r, start + j]` over eight rows.
#[inline]
fn add_products(out: &mut [f64], rows: &[f64], i: usize, start: usize, dim: usize) {
    let row = |r: usize| &rows[r * dim + start..][..out.len()];
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(row);
    let factors: [f64; ROWS] = std::array::from_fn(|r| rows[r * dim + i]);
    for (j, out) in out.iter_mut().enumerate() {
        let near = (factors[0] * a[j] + factors[1] * b[j]) + (factors[2] * c[j] + factors[3] * d[j]);
        let far = (factors[4] * e[j] + factors[5] * f[j]) + (factors[6] * g[j] + factors[7] * h[j]);
        *out += near + far;
    }
}

/// `scatter += weight delta delta^T`.
pub(super) fn add_outer(scatter: &mut [f64], delta: &[f64], weight: f64) {
    for (i, row) in scatter.chunks_exact_mut(delta.len()).enumerate() {
        let factor = weight * delta[i];
        row[i..].iter_mut().zip(&delta[i..]).for_each(|(out, delta)| *out += factor * delta);
    }
}

/// `scatter += other + weight delta delta^T`.
pub(super) fn merge(scatter: &mut [f64], other: &[f64], delta: &[f64], weight: f64) {
    scatter.iter_mut().zip(other).for_each(|(mine, theirs)| *mine += theirs);
    add_outer(scatter, delta, weight);
}
