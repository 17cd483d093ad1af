//! The moments of unit rows from which every method here is fitted.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ClosedForm;
use crate::embedding::{EmbeddingTable, HostRows, NonFinite, RawRows, RowReport, host_rows};
use crate::geometry::Moments;
use crate::{Error, Result, assert_shape};

/// What became of the rows that a method was fitted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FitReport {
    /// The text rows.
    pub text: RowReport,
    /// The image rows.
    pub image: RowReport,
}

/// The moments of the unit rows of both tables.
pub(super) fn table_moments(
    text: &EmbeddingTable,
    image: &EmbeddingTable,
    policy: NonFinite,
) -> Result<(Moments, Moments, FitReport)> {
    let rows = |table| RawRows::single(EmbeddingTable::rows(table), EmbeddingTable::dim(table));
    raw_moments(rows(text)?, rows(image)?, policy)
}

/// The moments of the unit rows of both sets.
pub(super) fn raw_moments(
    text: RawRows<'_>,
    image: RawRows<'_>,
    policy: NonFinite,
) -> Result<(Moments, Moments, FitReport)> {
    let (mut text_moments, mut image_moments) = (Moments::new(text.dim()), Moments::new(image.dim()));
    let report = FitReport {
        text: text_moments.update_unit_raw(text, policy, "text")?,
        image: image_moments.update_unit_raw(image, policy, "image")?,
    };
    Ok((text_moments, image_moments, report))
}

/// The text rows on the host, and the moments of the unit rows of both tensors; bad rows are refused.
pub(super) fn tensor_moments(text: Tensor<2>, image: Tensor<2>) -> Result<(HostRows, Moments, Moments)> {
    let [_, dim] = text.dims();
    assert_shape!(image, [_, dim], "image rows to fit on");
    let (mut text_moments, mut image_moments) = (Moments::new(dim), Moments::new(dim));
    let text = host_rows(text);
    text_moments.update_unit_raw(text.raw(dim)?, NonFinite::Error, "text")?;
    image_moments.update_unit_raw(host_rows(image).raw(dim)?, NonFinite::Error, "image")?;
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

/// The rows shifted from one centre to another, or to zero.
pub(super) fn shift(from: &[f32], to: Option<&[f32]>) -> ClosedForm {
    let to = |at: usize| to.map_or(0.0, |to| f64::from(to[at]));
    let shift = from.iter().enumerate().map(|(at, &from)| to(at) - f64::from(from)).collect();
    ClosedForm::new(1.0, shift, Vec::new(), 0.0)
}
