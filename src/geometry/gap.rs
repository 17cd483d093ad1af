use super::Moments;
use crate::embedding::EmbeddingTable;
use crate::{Error, Result};

/// The modality gap `||mu_a - mu_b||`, the distance of two centroids (arXiv 2602.07026, Sec. 5, RQ1).
///
/// The papers measure it on unit rows.
///
/// # Errors
///
/// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] if one set is empty.
///
/// # Example
///
/// ```
/// use burn_revision::geometry::{Moments, modality_gap};
///
/// # fn main() -> burn_revision::Result<()> {
/// let (mut text, mut image) = (Moments::new(2), Moments::new(2));
/// text.update_rows(&[1.0, 0.0])?;
/// image.update_rows(&[1.0, 0.5, 1.0, 1.5])?;
/// assert_eq!(modality_gap(&text, &image)?, 1.0);
/// # Ok(())
/// # }
/// ```
pub fn modality_gap(a: &Moments, b: &Moments) -> Result<f64> {
    if a.dim() != b.dim() {
        return Err(Error::mismatch("dimensions of the two modalities", a.dim(), b.dim()));
    }
    for (moments, what) in [(a, "first modality"), (b, "second modality")] {
        if moments.count() == 0 {
            return Err(Error::TooFewRows { what: what.to_string(), needed: 1, actual: 0 });
        }
    }
    Ok(a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt())
}

/// The mean cosine of the rows of two tables with the same id.
///
/// For a table and what a method makes of it, this is `Phi`: 1 if the method changes no direction (arXiv 2605.07825,
/// Sec. 3). For ReAlign it is close to `1 - gap^2 / 2 - (sqrt T_x - sqrt T_y)^2 / 2`.
///
/// # Errors
///
/// [`Error::Mismatch`] for different numbers of dimensions or rows, [`Error::MissingId`] if `b` lacks an id of `a`,
/// [`Error::TooFewRows`] for empty tables, [`Error::ZeroRow`] for a row of zero norm.
///
/// # Example
///
/// ```
/// use burn_revision::{embedding::EmbeddingTable, geometry::paired_cosine};
///
/// # fn main() -> burn_revision::Result<()> {
/// let text = EmbeddingTable::numbered(vec![1.0, 0.0, 0.0, 1.0], 2)?;
/// let aligned = EmbeddingTable::numbered(vec![1.0, 0.0, 0.6, 0.8], 2)?;
/// assert!((paired_cosine(&text, &aligned)? - 0.9).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn paired_cosine(a: &EmbeddingTable, b: &EmbeddingTable) -> Result<f64> {
    if a.dim() != b.dim() {
        return Err(Error::mismatch("dimensions of the paired rows", a.dim(), b.dim()));
    }
    if a.len() != b.len() {
        return Err(Error::mismatch("number of paired rows", a.len(), b.len()));
    }
    if a.is_empty() {
        return Err(Error::TooFewRows { what: "paired rows".to_string(), needed: 1, actual: 0 });
    }
    let mut sum = 0.0;
    for (row, id) in a.ids().iter().enumerate() {
        sum += cosine(a.row(row), b.get(id)?, row)?;
    }
    Ok(sum / a.len() as f64)
}

fn cosine(a: &[f32], b: &[f32], row: usize) -> Result<f64> {
    let (mut dot, mut norm_a, mut norm_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        norm_a += a * a;
        norm_b += b * b;
    }
    let norm = (norm_a * norm_b).sqrt();
    if norm > 0.0 && norm.is_finite() {
        return Ok(dot / norm);
    }
    Err(Error::ZeroRow { what: "paired rows".to_string(), row, norm })
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    fn table(rows: &[f32]) -> EmbeddingTable {
        EmbeddingTable::numbered(rows.to_vec(), 2).unwrap()
    }

    #[test]
    fn the_cosine_of_a_rotated_table_is_the_cosine_of_the_angle() {
        let source = table(&[1.0, 0.0, 0.0, 3.0, -2.0, 1.0]);
        let (sin, cos) = 0.7_f32.sin_cos();
        let rotated =
            source.rows().chunks(2).flat_map(|v| [cos * v[0] - sin * v[1], sin * v[0] + cos * v[1]]);
        let rotated = table(&rotated.collect::<Vec<_>>());
        assert_abs_diff_eq!(paired_cosine(&source, &rotated).unwrap(), f64::from(cos), epsilon = 1e-6);
        assert_abs_diff_eq!(paired_cosine(&source, &source).unwrap(), 1.0, epsilon = 1e-12);
    }

    #[test]
    fn pairs_are_found_by_id_whatever_their_order() {
        let a = table(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let shuffled = a.select(&[2, 0, 1]).unwrap();
        assert_abs_diff_eq!(paired_cosine(&a, &shuffled).unwrap(), 1.0, epsilon = 1e-12);
        let shorter = a.select(&[0, 1]).unwrap();
        assert!(matches!(paired_cosine(&a, &shorter), Err(Error::Mismatch { expected: 3, actual: 2, .. })));
        let zero = table(&[1.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        assert!(matches!(paired_cosine(&a, &zero), Err(Error::ZeroRow { row: 1, .. })));
    }

    #[test]
    fn sets_that_cannot_be_compared_are_refused() {
        let mut one = Moments::new(2);
        one.update_rows(&[1.0, 0.0]).unwrap();
        assert!(matches!(modality_gap(&one, &Moments::new(3)), Err(Error::Mismatch { .. })));
        assert!(matches!(modality_gap(&one, &Moments::new(2)), Err(Error::TooFewRows { .. })));
    }
}
