//! The moments of unit rows from which every method here is fitted.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ClosedForm;
use crate::embedding::{EmbeddingTable, HostRows, NonFinite, RawRows, RowReport, host_rows};
use crate::geometry::{Moments, Spectrum};
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

/// Refuses sets of different dimensions or without rows.
pub(super) fn check_rows(text: &Moments, image: &Moments) -> Result<()> {
    check(text, image, 1)
}

/// As [`check_rows`], and sets whose rows are all alike.
pub(super) fn check_varying(text: &Moments, image: &Moments) -> Result<()> {
    check_rows(text, image)?;
    check_spread(text, "text")?;
    check_spread(image, "image")
}

/// Refuses unit rows that are all alike: about their mean nothing is left of them but its rounding to float32.
pub(super) fn check_spread(moments: &Moments, what: &str) -> Result<()> {
    match moments.trace() > 1e-12 {
        true => Ok(()),
        false => Err(Error::NoSpread { what: format!("{what} rows") }),
    }
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

/// The moments with covariance of the unit rows of both tables.
pub(super) fn table_covariances(
    text: &EmbeddingTable,
    image: &EmbeddingTable,
    policy: NonFinite,
) -> Result<(Moments, Moments, FitReport)> {
    let gather = |table: &EmbeddingTable, what| -> Result<_> {
        let mut moments = Moments::with_covariance(table.dim());
        let report = moments.update_unit_rows(table.rows(), policy, what)?;
        Ok((moments, report))
    };
    let ((text, text_report), (image, image_report)) = (gather(text, "text")?, gather(image, "image")?);
    Ok((text, image, FitReport { text: text_report, image: image_report }))
}

/// The rows of both tensors as tables of float32.
pub(super) fn tensor_tables(text: Tensor<2>, image: Tensor<2>) -> Result<(EmbeddingTable, EmbeddingTable)> {
    let [_, dim] = text.dims();
    assert_shape!(image, [_, dim], "image rows to fit on");
    let table = |rows: Tensor<2>| {
        let values = rows.into_data().try_into_vec_as::<f32>().expect("a float type converts to f32");
        EmbeddingTable::numbered(values, dim)
    };
    Ok((table(text)?, table(image)?))
}

/// A ridge that is given relative to the mean eigenvalue over so many dimensions.
pub(super) fn absolute_ridge(ridge: f64, spectrum: &Spectrum, dimensions: usize) -> Result<f64> {
    match ridge.is_finite() && ridge >= 0.0 {
        true => Ok(ridge * spectrum.trace() / dimensions.max(1) as f64),
        false => Err(Error::config("ridge", format!("expected at least 0, found {ridge}"))),
    }
}

/// `(lambda + ridge)^{-1/2}`; without a ridge 0 for eigenvalues that are rounding, as in a pseudo-inverse.
pub(super) fn inverse_root(value: f64, sound: bool, ridge: f64) -> f64 {
    if ridge > 0.0 {
        (value.max(0.0) + ridge).sqrt().recip()
    } else if sound {
        value.sqrt().recip()
    } else {
        0.0
    }
}
