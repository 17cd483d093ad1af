use super::{ReAlignConfig, ReAlignStatistics};
use crate::alignment::{ClosedForm, fitting};
use crate::embedding::{BLOCK_ROWS, NonFinite, RawRows, RowReport, Terms, parallel};
use crate::geometry::Moments;
use crate::{Error, Result};

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

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.statistics.dim()
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
        self.update_centroid_raw(RawRows::single(text, self.statistics.dim())?, policy)
    }

    /// As [`ReAlignFit::update_centroid`], for rows as they lie in a file.
    ///
    /// # Errors
    ///
    /// As for [`ReAlignFit::update_centroid`].
    pub fn update_centroid_raw(&mut self, text: RawRows<'_>, policy: NonFinite) -> Result<RowReport> {
        let dim = self.statistics.dim();
        if text.dim() != dim {
            return Err(Error::mismatch("dimensions of text rows for the centroid", dim, text.dim()));
        }
        let form = self.closed_form();
        let blocks = parallel::map(text.blocks(BLOCK_ROWS).enumerate(), |(block, rows)| {
            form.moments(rows, Terms { policy, what: "text", first: block * BLOCK_ROWS })
        });
        let (mut gathered, mut report) = (Moments::new(dim), RowReport::default());
        for block in blocks {
            let (moments, part) = block?;
            gathered.merge(&moments)?;
            report.merge(&part);
        }
        self.add(&gathered)?;
        Ok(report)
    }

    /// Goes on after centroid passes that are done.
    pub(crate) fn resume(&mut self, centroids: &[Vec<f64>]) {
        self.statistics.centroids = centroids.to_vec();
    }

    /// The statistics so far.
    pub(crate) fn partial(&self) -> &ReAlignStatistics {
        &self.statistics
    }

    /// The map whose mean the pass under way gathers.
    pub(crate) fn closed_form(&self) -> ClosedForm {
        self.statistics.closed_form()
    }

    /// Takes in the moments of the images of text rows under [`ReAlignFit::closed_form`].
    pub(crate) fn add(&mut self, projected: &Moments) -> Result<()> {
        self.projected.merge(projected)
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
