//! The upper triangle of sums of outer products, `[d, d]` row-major.

use crate::embedding::parallel;

/// Columns a panel, and rows a strip: sixteen running sums fit the vector registers of any 64-bit processor.
const TILE: usize = 4;

/// `scatter += X^T X` for centred rows `X`, `[n, d]`; what it leaves below the diagonal means nothing.
pub(super) fn add_gram(scatter: &mut [f64], rows: &[f64], dim: usize) {
    let n = rows.len() / dim;
    if n == 0 {
        return;
    }
    let panels = pack(rows, dim, n);
    parallel::map(scatter.chunks_mut(TILE * dim).enumerate(), |(strip, out)| {
        for (panel, columns) in panels.iter().enumerate().skip(strip) {
            let tile = product(&panels[strip], columns);
            let first = panel * TILE;
            let width = TILE.min(dim - first);
            for (out, sums) in out.chunks_exact_mut(dim).zip(&tile) {
                let out = &mut out[first..first + width];
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
        }
    });
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

/// Panels of four neighbouring columns, each with its rows one after the other, filled up with zeros.
fn pack(rows: &[f64], dim: usize, n: usize) -> Vec<Vec<[f64; TILE]>> {
    let mut panels = vec![vec![[0.0; TILE]; n]; dim.div_ceil(TILE)];
    for (r, row) in rows.chunks_exact(dim).enumerate() {
        for (panel, values) in panels.iter_mut().zip(row.chunks(TILE)) {
            panel[r][..values.len()].copy_from_slice(values);
        }
    }
    panels
}

fn product(left: &[[f64; TILE]], right: &[[f64; TILE]]) -> [[f64; TILE]; TILE] {
    let mut sums = [[0.0; TILE]; TILE];
    for (left, right) in left.iter().zip(right) {
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum += left * right;
            }
        }
    }
    sums
}
