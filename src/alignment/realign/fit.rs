use super::{ReAlignConfig, ReAlignStatistics};
use crate::alignment::fitting;
use crate::embedding::{HostRows, NonFinite, Real, RowReport, check_length, inspect, parallel};
use crate::geometry::Moments;
use crate::{Error, Result};

/// Rows that are moved before their mean is merged; fixed, so that the result does not depend on the machine.
const BLOCK: usize = 64;

/// Fits [`ReAlign`](super::ReAlign) on rows that arrive in chunks, of any number.
///
/// The first pass over the data gathers [`Moments`] of the unit rows of both sets, the second one gives every text
/// row once more to [`ReAlignFit::update_centroid`]:
///
/// ```text
/// anchor_trace(moments of text, moments of images)
/// update_centroid(rows) ...  finish_pass()             as often as centroid_passes asks
/// finish()
/// ```
///
/// Parts that were gathered apart are merged with [`ReAlignFit::merge`]; for an example see [`ReAlignStatistics`].
#[derive(Clone, Debug)]
pub struct ReAlignFit {
    statistics: ReAlignStatistics,
    passes: usize,
    rows: usize,
    projected: Moments,
}

impl ReAlignFit {
    /// The first two steps, from the moments of unit rows: the centroids and the scale between the spreads.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] for too small a set,
    /// [`Error::Config`] for a setting that cannot be used.
    pub fn anchor_trace(config: &ReAlignConfig, text: &Moments, image: &Moments) -> Result<Self> {
        fitting::check(text, image, config.min_rows)?;
        if !(config.eps.is_finite() && config.eps > 0.0) {
            return Err(Error::config("eps", format!("expected a number above 0, found {}", config.eps)));
        }
        if config.centroid_passes == 0 {
            return Err(Error::config("centroid_passes", "expected at least 1, found 0"));
        }
        let (text_mean, image_mean) = (fitting::rounded(text.mean()), fitting::rounded(image.mean()));
        let trace_about = |moments: &Moments, mean: &[f32]| {
            moments.trace_about(&mean.iter().map(|&value| f64::from(value)).collect::<Vec<_>>())
        };
        let (text_trace, image_trace) = (trace_about(text, &text_mean), trace_about(image, &image_mean));
        let scale = (image_trace / (text_trace + config.eps)).sqrt();
        let centroids = Vec::with_capacity(config.centroid_passes);
        Ok(Self {
            statistics: ReAlignStatistics {
                text_mean,
                image_mean,
                scale,
                text_trace,
                image_trace,
                centroids,
            },
            passes: config.centroid_passes,
            rows: text.count(),
            projected: Moments::new(text.dim()),
        })
    }

    /// How many centroid passes are still to do.
    pub fn passes_left(&self) -> usize {
        self.passes - self.statistics.centroids.len()
    }

    /// Takes in text rows `[n, d]`, row-major, for the centroid pass under way.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `text` is not a whole number of rows, [`Error::NonFinite`] or [`Error::ZeroRow`]
    /// under [`NonFinite::Error`].
    pub fn update_centroid(&mut self, text: &[f32], policy: NonFinite) -> Result<RowReport> {
        self.update(text, policy)
    }

    pub(super) fn update_centroid_host(&mut self, text: &HostRows, policy: NonFinite) -> Result<RowReport> {
        match text {
            HostRows::Single(rows) => self.update(rows, policy),
            HostRows::Double(rows) => self.update(rows, policy),
        }
    }

    fn update<T: Real>(&mut self, text: &[T], policy: NonFinite) -> Result<RowReport> {
        let dim = self.statistics.dim();
        check_length(text, dim)?;
        let blocks = parallel::map(text.chunks(BLOCK * dim).enumerate(), |(block, rows)| {
            let mut report = RowReport::default();
            let mut moved = Vec::with_capacity(rows.len());
            for (i, values) in rows.chunks_exact(dim).enumerate() {
                report.rows += 1;
                let Some(row) = inspect(values, policy, "text", block * BLOCK + i)? else {
                    report.skipped += 1;
                    continue;
                };
                report.zeroed += usize::from(row.zeroed);
                let start = moved.len();
                moved.resize(start + dim, 0.0);
                self.statistics.project(&row, &mut moved[start..]);
            }
            report.kept = report.rows - report.skipped;
            let mut projected = Moments::new(dim);
            projected.update_double(&moved)?;
            Ok((projected, report))
        });
        let blocks = blocks.into_iter().collect::<Result<Vec<_>>>()?;
        let mut report = RowReport::default();
        for (projected, part) in &blocks {
            self.projected.merge(projected)?;
            report.merge(part);
        }
        Ok(report)
    }

    /// Takes in what another instance has seen in the same pass.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the two do not stand at the same pass of the same fit.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.statistics != other.statistics {
            return Err(Error::config("ReAlign", "two fits with different statistics do not merge"));
        }
        self.projected.merge(&other.projected)
    }

    /// Ends a centroid pass in which every fitted text row has been given.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where the pass saw another number of rows than the moments, [`Error::Config`] where no
    /// pass is left.
    pub fn finish_pass(&mut self) -> Result<()> {
        if self.passes_left() == 0 {
            return Err(Error::config("centroid_passes", format!("all {} passes are done", self.passes)));
        }
        if self.projected.count() != self.rows {
            let what = "text rows in a centroid pass (as many as in the moments)";
            return Err(Error::mismatch(what, self.rows, self.projected.count()));
        }
        let done = std::mem::replace(&mut self.projected, Moments::new(self.statistics.dim()));
        self.statistics.centroids.push(done.mean().to_vec());
        Ok(())
    }

    /// The fitted statistics; ends the last pass where that has not been done.
    ///
    /// # Errors
    ///
    /// As for [`ReAlignFit::finish_pass`], and [`Error::Config`] where passes are missing.
    pub fn finish(mut self) -> Result<ReAlignStatistics> {
        if self.passes_left() == 1 {
            self.finish_pass()?;
        }
        match self.passes_left() {
            0 => Ok(self.statistics),
            left => {
                let detail = format!("{left} of {} passes are still to do", self.passes);
                Err(Error::config("centroid_passes", detail))
            }
        }
    }
}
