//! The upper triangle of sums of outer products, `[d, d]` row-major.

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
