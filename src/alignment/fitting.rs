//! The moments of unit rows from which every method here is fitted.

use burn::tensor::Tensor;

use crate::embedding::{EmbeddingTable, HostRows, NonFinite, RowReport, host_rows};
use crate::geometry::Moments;
use crate::{Error, Result, assert_shape};

/// The moments of the unit rows of a table; says so in the log where the policy had something to do.
pub(super) fn table_moments(table: &EmbeddingTable, policy: NonFinite, what: &str) -> Result<Moments> {
    let mut moments = Moments::new(table.dim());
    let report = moments.update_unit_rows(table.rows(), policy, what)?;
    warn(&report, what);
    Ok(moments)
}

/// The rows of text and image tensors on the host with the moments of their unit rows.
pub(super) fn tensor_moments(
    text: Tensor<2>,
    image: Tensor<2>,
    policy: NonFinite,
) -> Result<(HostRows, Moments, Moments)> {
    let [_, dim] = text.dims();
    assert_shape!(image, [_, dim], "image rows to fit on");
    let (mut text_moments, mut image_moments) = (Moments::new(dim), Moments::new(dim));
    let text = host_rows(text);
    warn(&text_moments.update_unit_host(&text, policy, "text")?, "text");
    warn(&image_moments.update_unit_host(&host_rows(image), policy, "image")?, "image");
    Ok((text, text_moments, image_moments))
}

/// Refuses sets of different dimensions or of too few rows.
pub(super) fn check(text: &Moments, image: &Moments, min_rows: usize) -> Result<()> {
    if text.dim() != image.dim() {
        return Err(Error::mismatch("dimensions of text and image rows", text.dim(), image.dim()));
    }
    for (moments, what) in [(text, "text"), (image, "image")] {
        if moments.count() < min_rows.max(1) {
            let (what, needed) = (format!("{what} rows to fit on"), min_rows.max(1));
            return Err(Error::TooFewRows { what, needed, actual: moments.count() });
        }
    }
    Ok(())
}

/// A mean as the statistics keep it: rounded to float32.
pub(super) fn rounded(mean: &[f64]) -> Vec<f32> {
    mean.iter().map(|&value| value as f32).collect()
}

fn warn(report: &RowReport, what: &str) {
    if report.skipped + report.zeroed > 0 {
        let RowReport { rows, skipped, zeroed, .. } = report;
        log::warn!("{what}: of {rows} rows {skipped} were skipped and {zeroed} zeroed");
    }
}
