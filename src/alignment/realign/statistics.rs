use burn::tensor::Device;

use super::ReAlign;
use crate::alignment::record;
use crate::embedding::{EmbeddingTable, NonFinite, Real, Row, RowReport, inverse_norm, map_rows};
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
        map_rows(text, self.dim(), (policy, "text", 0), |row, moved, out| {
            self.project(row, moved);
            out.iter_mut().zip(&*moved).for_each(|(out, &value)| *out = value as f32);
        })
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

    /// Writes to `out` what becomes of a row after the passes fitted so far: `e'` after none, `e^` after all.
    pub(super) fn project<T: Real>(&self, row: &Row<'_, T>, out: &mut [f64]) {
        let means = self.text_mean.iter().zip(&self.image_mean);
        for ((out, value), (text_mean, image_mean)) in out.iter_mut().zip(row.values.iter()).zip(means) {
            let unit: f64 = (*value).into() * row.inverse_norm;
            *out = (unit - f64::from(*text_mean)) * self.scale + f64::from(*image_mean);
        }
        for centroid in &self.centroids {
            let factor = inverse_norm(out);
            for ((out, centroid), image_mean) in out.iter_mut().zip(centroid).zip(&self.image_mean) {
                *out = *out * factor - centroid + f64::from(*image_mean);
            }
        }
        let factor = inverse_norm(out);
        out.iter_mut().for_each(|value| *value *= factor);
    }
}
