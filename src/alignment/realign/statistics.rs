use burn::tensor::Device;

use super::ReAlign;
use crate::alignment::{ClosedForm, record};
use crate::embedding::{EmbeddingTable, NonFinite, RawRows, RowReport};
use crate::{Error, Result};

/// The fitted statistics of [`ReAlign`] on the host, which can align rows by themselves: in float64, row by row, on
/// all cores, and rounded to float32 once.
///
/// This is the most exact way to align, and on a machine without an accelerator the fastest.
///
/// ```
/// use burn_revision::alignment::{ReAlignConfig, ReAlignFit};
/// use burn_revision::embedding::NonFinite;
/// use burn_revision::geometry::Moments;
///
/// # fn main() -> burn_revision::Result<()> {
/// let (text, image) = ([1.0, 0.0, 0.8, 0.6], [0.0, 1.0, -0.6, 0.8]);
/// let mut moments = [Moments::new(2), Moments::new(2)];
/// moments[0].update_unit_rows(&text, NonFinite::Error, "text")?;
/// moments[1].update_unit_rows(&image, NonFinite::Error, "image")?;
/// let mut fit = ReAlignFit::anchor_trace(&ReAlignConfig::new(), &moments[0], &moments[1])?;
/// fit.update_centroid(&text, NonFinite::Error)?;
/// let statistics = fit.finish()?;
/// let (aligned, _, report) = statistics.align_rows(&text, NonFinite::Error)?;
/// assert_eq!((aligned.len(), report.kept), (4, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReAlignStatistics {
    /// `mu_y`, the mean unit row of text, `[d]`; rounded to float32 like the authors' script does.
    pub text_mean: Vec<f32>,
    /// `mu_x`, the mean unit row of images, `[d]`; rounded likewise.
    pub image_mean: Vec<f32>,
    /// `s = sqrt(T_x / (T_y + eps))`.
    pub scale: f64,
    /// `T_y`, the spread of text about its rounded mean.
    pub text_trace: f64,
    /// `T_x`, the spread of images about their rounded mean.
    pub image_trace: f64,
    /// `E e'` at each centroid pass, `[passes][d]`.
    pub centroids: Vec<Vec<f64>>,
}

impl ReAlignStatistics {
    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.text_mean.len()
    }

    /// The module with these statistics on `device`, in float32.
    pub fn init(&self, device: &Device) -> ReAlign {
        let dim = self.dim();
        let traces = [record::split(self.text_trace), record::split(self.image_trace)].concat();
        let centroids: Vec<f32> = self.centroids.iter().flatten().map(|&value| value as f32).collect();
        ReAlign {
            text_mean: record::constant(self.text_mean.clone(), [dim], device),
            image_mean: record::constant(self.image_mean.clone(), [dim], device),
            scale: record::constant(record::split(self.scale).to_vec(), [2], device),
            traces: record::constant(traces, [2, 2], device),
            centroids: record::constant(centroids, [self.centroids.len(), dim], device),
        }
    }

    /// Aligned unit rows of text rows `[n, d]`, row-major; also which rows they came from.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `text` is not a whole number of rows, [`Error::NonFinite`] or [`Error::ZeroRow`]
    /// under [`NonFinite::Error`].
    pub fn align_rows(&self, text: &[f32], policy: NonFinite) -> Result<(Vec<f32>, Vec<usize>, RowReport)> {
        let rows = RawRows::single(text, self.dim())?;
        let mut aligned = vec![0.0; text.len()];
        let (skipped, report) = self.closed_form().align_into(rows, policy, 0, &mut aligned)?;
        aligned.truncate(report.kept * self.dim());
        let mut left_out = skipped.iter().peekable();
        let kept = (0..rows.len()).filter(|row| left_out.next_if_eq(&row).is_none()).collect();
        Ok((aligned, kept, report))
    }

    /// As [`ReAlignStatistics::align_rows`] for a table, of which the ids are kept.
    ///
    /// # Errors
    ///
    /// As for [`ReAlignStatistics::align_rows`].
    pub fn align_table(
        &self,
        text: &EmbeddingTable,
        policy: NonFinite,
    ) -> Result<(EmbeddingTable, RowReport)> {
        if text.dim() != self.dim() {
            return Err(Error::mismatch("dimensions of the rows for ReAlign", self.dim(), text.dim()));
        }
        let (rows, kept, report) = self.align_rows(text.rows(), policy)?;
        text.with_rows(rows, &kept).map(|table| (table, report))
    }

    /// The map with the centroid passes fitted so far: rows become `e'` after none, and the result after all.
    pub fn closed_form(&self) -> ClosedForm {
        let image: Vec<f64> = self.image_mean.iter().map(|&mean| f64::from(mean)).collect();
        let means = image.iter().zip(&self.text_mean);
        let shift = means.map(|(image, &text)| image - self.scale * f64::from(text)).collect();
        let step =
            |centroid: &Vec<f64>| image.iter().zip(centroid).map(|(image, mean)| image - mean).collect();
        ClosedForm::new(self.scale, shift, self.centroids.iter().map(step).collect(), 0.0)
    }
}
