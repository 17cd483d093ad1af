use super::config::ReAlignConfig;
use super::statistics::ReAlignStatistics;
use crate::alignment::{ClosedForm, Embeddings, fitting};
use crate::geometry::Moments;
use crate::{Error, Result};

/// A fit of [`ReAlign`](super::ReAlign) under way: anchor and trace are done, and as many centroid passes as have been
/// finished.
#[derive(Clone, Debug)]
pub(crate) struct ReAlignFit {
    statistics: ReAlignStatistics,
    passes: usize,
    rows: usize,
}

impl ReAlignFit {
    /// The first two steps, from the moments of unit rows: the centroids and the scale between the spreads.
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
        })
    }

    /// How many centroid passes are still to do.
    pub fn passes_left(&self) -> usize {
        self.passes - self.statistics.centroids.len()
    }

    /// Goes on after centroid passes that are done.
    pub fn resume(&mut self, centroids: &[Vec<f64>]) {
        self.statistics.centroids = centroids.to_vec();
    }

    /// The statistics so far.
    pub fn partial(&self) -> &ReAlignStatistics {
        &self.statistics
    }

    /// The map whose mean the next pass gathers.
    pub fn closed_form(&self) -> ClosedForm {
        self.statistics.closed_form()
    }

    /// Ends a centroid pass with the moments of every fitted text row under [`ReAlignFit::closed_form`].
    pub fn finish_pass(&mut self, projected: &Moments) -> Result<()> {
        if projected.count() != self.rows {
            let what = "text rows in a centroid pass (as many as in the moments)";
            return Err(Error::mismatch(what, self.rows, projected.count()));
        }
        self.statistics.centroids.push(projected.mean().to_vec());
        Ok(())
    }

    /// The fitted statistics, after the centroid passes that are left over these texts.
    pub fn over(mut self, text: &Embeddings<'_>) -> Result<ReAlignStatistics> {
        while self.passes_left() > 0 {
            self.finish_pass(&text.moments_under(&self.closed_form(), "text")?)?;
        }
        self.finish()
    }

    /// The fitted statistics.
    pub fn finish(self) -> Result<ReAlignStatistics> {
        match self.passes_left() {
            0 => Ok(self.statistics),
            left => {
                let detail = format!("{left} of {} passes are still to do", self.passes);
                Err(Error::config("centroid_passes", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::embedding::RawRows;

    /// Text rows seen in two parts, as by two machines.
    #[test]
    fn a_fit_in_parts_is_the_fit_of_the_whole() {
        let rows = |n: usize, seed: usize| -> Vec<f32> {
            (0..n * 10).map(|at| ((at * 7919 + seed) % 1009) as f32 / 504.5 - 0.7).collect()
        };
        let (text, image) = (rows(700, 1), rows(300, 5));
        let embeddings = |rows| Embeddings::from(RawRows::single(rows, 10).unwrap());
        let moments = |rows| embeddings(rows).moments("rows").unwrap();
        let config = ReAlignConfig::new().with_centroid_passes(2);
        let whole = config.fit(embeddings(&text), embeddings(&image)).unwrap();
        let mut fit = ReAlignFit::anchor_trace(&config, &moments(&text), &moments(&image)).unwrap();
        assert!(fit.clone().finish().is_err(), "passes are missing");
        while fit.passes_left() > 0 {
            let (first, second) = text.split_at(10 * 123);
            let form = fit.closed_form();
            let mut projected = embeddings(first).moments_under(&form, "first").unwrap();
            assert!(fit.finish_pass(&projected).is_err(), "rows are missing");
            projected.merge(&embeddings(second).moments_under(&form, "second").unwrap()).unwrap();
            fit.finish_pass(&projected).unwrap();
        }
        let parts = fit.finish().unwrap();
        assert_eq!(parts.text_mean, whole.text_mean());
        // The module keeps 48 bits of the scale, and float32 means.
        assert_abs_diff_eq!(parts.scale, whole.scale(), epsilon = 1e-13);
        for (parts, whole) in parts.centroids.iter().flatten().zip(whole.centroids().iter().flatten()) {
            assert_abs_diff_eq!(*parts, f64::from(*whole), epsilon = 1e-7);
        }
    }
}
