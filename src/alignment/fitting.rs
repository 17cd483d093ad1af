//! What the fits of the methods share: checks of the moments that they are made from, and the rounding of what is kept.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ClosedForm;
use crate::embedding::RowReport;
use crate::geometry::{Moments, Spectrum};
use crate::{Error, Result};

/// What became of the rows that a method was fitted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FitReport {
    /// The text rows.
    pub text: RowReport,
    /// The image rows.
    pub image: RowReport,
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

/// The settings of a method with others in the place of some, as from a file.
pub(super) fn with_settings<C: Serialize + DeserializeOwned>(
    config: &C,
    method: &str,
    settings: &serde_json::Map<String, serde_json::Value>,
) -> Result<C> {
    let mut all = serde_json::to_value(config).expect("settings are plain data");
    let own = all.as_object_mut().expect("settings have names");
    for (name, value) in settings {
        let Some(known) = own.get_mut(name) else {
            let names: Vec<&str> = own.keys().map(String::as_str).collect();
            let detail = format!("no setting of {method}: they are {}", names.join(", "));
            return Err(Error::config(name, detail));
        };
        *known = value.clone();
    }
    serde_json::from_value(all).map_err(|error| {
        let named: Vec<&str> = settings.keys().map(String::as_str).collect();
        Error::config(named.join(", "), error.to_string())
    })
}

/// Refuses a standard deviation of noise that cannot be.
pub(super) fn check_sigma(sigma: f64) -> Result<()> {
    match sigma.is_finite() && sigma >= 0.0 {
        true => Ok(()),
        false => Err(Error::config("sigma", format!("expected at least 0, found {sigma}"))),
    }
}

/// The covariance of moments that must hold it.
pub(super) fn covariance(moments: &Moments) -> Result<Vec<f64>> {
    moments.covariance().ok_or_else(|| Error::config("moments", "gathered without the covariance"))
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
