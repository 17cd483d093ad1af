use super::linalg;
use crate::embedding::{EmbeddingTable, MIN_NORM};
use crate::{Error, Result};

/// The largest magnitude of a value: sums of products of four such values, as in products of covariances, stay below
/// the largest float64.
const MAX_MAGNITUDE: f64 = 1e70;

/// The rows of a set of embeddings in float64 on the host, on which the exact diagnostics are computed. For a set that
/// does not fit into memory, use a sample.
///
/// # Example
///
/// ```
/// use burn_revision::{embedding::EmbeddingTable, geometry::Cloud};
///
/// # fn main() -> burn_revision::Result<()> {
/// let table = EmbeddingTable::numbered(vec![3.0, 4.0, 0.0, 2.0], 2)?;
/// let cloud = Cloud::unit(&table, "text")?;
/// assert_eq!(cloud.row(0), [0.6, 0.8]);
/// assert_eq!(cloud.mean(), [0.3, 0.9]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Cloud {
    values: Vec<f64>,
    dim: usize,
}

impl Cloud {
    /// Creates a cloud of the given values, row-major `[n, d]`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if the values do not form whole rows, [`Error::NonFinite`] for a NaN or an infinity,
    /// [`Error::Config`] for a value beyond `1e70`, whose powers overflow.
    pub fn new(values: Vec<f64>, dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            let expected = values.len() / dim.max(1) * dim;
            return Err(Error::mismatch(
                format!("values in rows of {dim} dimensions"),
                expected,
                values.len(),
            ));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, column, value) = (at / dim, at % dim, values[at] as f32);
            return Err(Error::NonFinite { what: "rows".to_string(), row, column, value });
        }
        if let Some(at) = values.iter().position(|value| value.abs() > MAX_MAGNITUDE) {
            let (row, column, value) = (at / dim, at % dim, values[at]);
            let detail = format!(
                "row {row}, column {column}: expected a magnitude of at most {MAX_MAGNITUDE:e}, found {value:e}; scale \
                 the rows"
            );
            return Err(Error::config("rows", detail));
        }
        Ok(Self { values, dim })
    }

    /// Rows that were computed from those of clouds, whose limits they may exceed by a few factors of their number of
    /// dimensions.
    pub(crate) fn computed(values: Vec<f64>, dim: usize) -> Self {
        debug_assert!(values.len().is_multiple_of(dim));
        Self { values, dim }
    }

    /// The rows of a table, not normalised.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] for a NaN or an infinity.
    pub fn of(table: &EmbeddingTable) -> Result<Self> {
        Self::new(table.rows().iter().map(|&value| f64::from(value)).collect(), table.dim())
    }

    /// The rows of a table, each scaled to unit length; `what` is the name of the set in errors.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] for a NaN or an infinity, [`Error::ZeroRow`] for a row of zero norm.
    pub fn unit(table: &EmbeddingTable, what: &str) -> Result<Self> {
        let named = |error| match error {
            Error::NonFinite { row, column, value, .. } => {
                Error::NonFinite { what: what.to_string(), row, column, value }
            }
            other => other,
        };
        Self::of(table).map_err(named)?.into_unit(what)
    }

    /// Scales each row to unit length; `what` is the name of the set in errors.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroRow`] for a row of zero norm.
    pub fn into_unit(mut self, what: &str) -> Result<Self> {
        for (row, values) in self.values.chunks_exact_mut(self.dim).enumerate() {
            let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
            if norm < MIN_NORM {
                return Err(Error::ZeroRow { what: what.to_string(), row, norm });
            }
            values.iter_mut().for_each(|value| *value /= norm);
        }
        Ok(self)
    }

    /// The union of both modalities: the text rows, followed by the image rows.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] if one of the sets is empty.
    pub fn union(text: &Self, image: &Self) -> Result<Self> {
        if text.dim != image.dim {
            return Err(Error::mismatch("dimensions of the two modalities", text.dim, image.dim));
        }
        for (cloud, what) in [(text, "text rows"), (image, "image rows")] {
            if cloud.is_empty() {
                return Err(Error::TooFewRows { what: what.to_string(), needed: 1, actual: 0 });
            }
        }
        Ok(Self { values: [text.values(), image.values()].concat(), dim: text.dim })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether the cloud has no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row-major `[n, d]`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// One row, `[d]`.
    ///
    /// # Panics
    ///
    /// If `row` is out of bounds.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    /// The rows, each `[d]`.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.dim)
    }

    /// The given rows, in the given order; a row may be repeated.
    ///
    /// # Panics
    ///
    /// If a row is out of bounds.
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Self { values, dim: self.dim }
    }

    /// The mean row, `[d]`; zeros for an empty cloud.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dim];
        for row in self.rows() {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
        }
        let count = self.len().max(1) as f64;
        mean.iter_mut().for_each(|mean| *mean /= count);
        mean
    }

    /// The rows minus their mean. Where only the rounding error of the mean remains, because all rows are equal, the
    /// result is exactly zero.
    pub fn centered(&self) -> Self {
        let mut centered = self.minus(&self.mean());
        let rounding = self.len() as f64 * f64::EPSILON;
        if centered.energy() <= rounding * rounding * self.energy() {
            centered.values.fill(0.0);
        }
        centered
    }

    /// The rows minus a point `[d]`.
    pub(crate) fn minus(&self, point: &[f64]) -> Self {
        let mut values = self.values.clone();
        for row in values.chunks_exact_mut(self.dim) {
            row.iter_mut().zip(point).for_each(|(value, point)| *value -= point);
        }
        Self { values, dim: self.dim }
    }

    /// Multiplies all rows by `factor`.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.values.iter_mut().for_each(|value| *value *= factor);
    }

    /// The row-wise difference of two clouds of the same shape.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of rows or dimensions.
    pub fn difference(&self, other: &Self) -> Result<Self> {
        if self.dim != other.dim {
            return Err(Error::mismatch("dimensions of the paired rows", self.dim, other.dim));
        }
        if self.len() != other.len() {
            return Err(Error::mismatch("number of paired rows", self.len(), other.len()));
        }
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a - b).collect();
        Ok(Self { values, dim: self.dim })
    }

    /// `tr Sigma = E ||x - mean||^2`; 0 for an empty cloud.
    pub fn trace(&self) -> f64 {
        self.centered().energy()
    }

    /// `E ||x||^2`; 0 for an empty cloud.
    pub(crate) fn energy(&self) -> f64 {
        self.values.iter().map(|value| value * value).sum::<f64>() / self.len().max(1) as f64
    }

    /// The covariance, `[d, d]` row-major (divisor `n`).
    pub fn covariance(&self) -> Vec<f64> {
        self.centered().second_moment()
    }

    /// `E x x^T`, `[d, d]` row-major.
    pub(crate) fn second_moment(&self) -> Vec<f64> {
        let mut scatter = vec![0.0; self.dim * self.dim];
        linalg::add_gram_double(&mut scatter, &self.values, self.dim);
        let divisor = self.len().max(1) as f64;
        scatter.iter_mut().for_each(|value| *value /= divisor);
        linalg::mirror_upper(&mut scatter, self.dim);
        scatter
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::geometry::Moments;

    #[test]
    fn agrees_with_the_streamed_moments() {
        let values: Vec<f32> = (0..40 * 7).map(|i| ((i * 7919 % 1009) as f32 / 504.5) - 1.0).collect();
        let table = EmbeddingTable::numbered(values.clone(), 7).unwrap();
        let mut moments = Moments::with_covariance(7);
        moments.update_unit_rows(&values, Default::default(), "text").unwrap();
        let cloud = Cloud::unit(&table, "text").unwrap();
        assert_abs_diff_eq!(cloud.mean()[..], *moments.mean(), epsilon = 1e-14);
        assert_abs_diff_eq!(cloud.covariance()[..], moments.covariance().unwrap()[..], epsilon = 1e-14);
        assert_abs_diff_eq!(cloud.trace(), moments.trace(), epsilon = 1e-14);
    }

    #[test]
    fn rows_that_cannot_be_used_are_named() {
        let table = |rows: &[f32]| EmbeddingTable::numbered(rows.to_vec(), 2).unwrap();
        let error = Cloud::unit(&table(&[1.0, 0.0, 0.0, 0.0]), "text").unwrap_err();
        assert!(matches!(error, Error::ZeroRow { row: 1, .. }), "{error}");
        let error = Cloud::unit(&table(&[1.0, 0.0, 0.0, f32::NAN]), "images.npy").unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: 1, column: 1, .. }), "{error}");
        assert!(error.to_string().contains("images.npy"), "{error}");
        assert!(Cloud::new(vec![0.0; 3], 2).is_err());
    }

    #[test]
    fn no_finite_value_makes_a_diagnostic_panic() {
        use crate::geometry::{FixedFrame, FrameRank, GapDecomposition, PhantomDrift, ResidualGeometry};
        let row = |k: usize| [1.0, 0.5, -0.25].map(|value| value * (k as f64 + 1.0).sqrt() - k as f64 % 2.0);
        for scale in [1e-160, 1e-30, 1.0, 1e30, 1e69, 1e150, f64::MAX / 4.0] {
            let values =
                |shift: usize| (0..9).flat_map(move |k| row(k + shift)).map(move |value| value * scale);
            let clouds = [0, 5].map(|shift| Cloud::new(values(shift).collect(), 3));
            let [Ok(text), Ok(image)] = clouds else {
                let error = clouds[0].as_ref().unwrap_err().to_string();
                assert!(scale > 1e69 && error.contains("row 0") && error.contains("1e70"), "{error}");
                continue;
            };
            let Ok(frame) = FixedFrame::fit(&text, &image, FrameRank::Rank(1)) else { continue };
            assert!(frame.project_u(&text).values().iter().all(|value| value.is_finite()));
            assert!(frame.project_v(&text).values().iter().all(|value| value.is_finite()));
            let gap = GapDecomposition::new(&frame, &image, &text).unwrap();
            assert!(gap.delta().energy().is_finite() && gap.zeta().energy().is_finite());
            let _ = (gap.coupling(0.1), gap.delta_spectrum(), gap.zeta_spectrum());
            let _ = ResidualGeometry::measure(&image, &text);
            let _ = PhantomDrift::measure(&text, &image.mean(), 1.0);
        }
    }
}
