//! Spectra as lines, and what tables say of one.

use super::axis::{Axis, drawable_log};
use super::chart::Panel;
use super::table::Cell;
use super::text;
use burn_revision::geometry::PowerLaw;

/// A line has at most about so many points: more cannot be seen.
const POINTS: f64 = 220.0;

/// Eigenvalues by index from 1, thinned evenly on a logarithmic axis; only the first `rank`.
pub(super) fn thinned(eigenvalues: &[f64], rank: usize) -> Vec<(f64, f64)> {
    let mut next = 1.0;
    let mut points = Vec::new();
    let last = rank.min(eigenvalues.len());
    let ratio = (last.max(2) as f64).powf(1.0 / POINTS);
    for (place, value) in eigenvalues.iter().take(last).enumerate() {
        let index = place as f64 + 1.0;
        if index >= next || place + 1 == last {
            points.push((index, *value));
            next = (next * ratio).max(index + 0.5);
        }
    }
    points
}

/// A chart with logarithmic axes around the points of all lines; `None` where no point can be drawn.
pub(super) fn panel<'a, 'p>(
    points: impl Iterator<Item = &'p (f64, f64)> + Clone,
    height: u32,
    label: &'a str,
) -> Option<Panel<'a>> {
    points.clone().any(|point| drawable_log(point.1)).then(|| Panel {
        size: (1140, height),
        left: 78,
        right: 20,
        x: (Axis::logarithmic(points.clone().map(|p| p.0)), "index of the eigenvalue, from the largest"),
        y: (Axis::logarithmic(points.map(|p| p.1)), "eigenvalue of the covariance (variance)"),
        label,
    })
}

/// A power law with its range and fit.
pub(super) fn power_law(law: Option<PowerLaw>) -> Cell {
    match law {
        Some(law) if law.exponent.is_finite() => Cell::html(format!(
            "{} <small>(k = {}–{}, R² {})</small>",
            text::brief(law.exponent),
            text::count(law.first),
            text::count(law.last),
            text::brief(law.r_squared)
        )),
        Some(_) => Cell::number(f64::NAN),
        None => Cell::none("too few eigenvalues above rounding for a fit"),
    }
}

/// A condition number and the eigenvalues that it was taken over.
pub(super) fn condition(value: f64, rank: usize) -> Cell {
    if value.is_finite() {
        Cell::html(format!("{} <small>(of {})</small>", text::brief(value), text::count(rank)))
    } else {
        Cell::none("an eigenvalue that it divides by is zero, or there is none")
    }
}
