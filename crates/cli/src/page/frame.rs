//! The fixed frame and the gap along and across it.

use super::axis::Axis;
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Rows};
use super::palette::{self, REFERENCE};
use super::residual;
use super::section::{Page, Section};
use super::table::{Cell, Table};
use super::text;
use burn_revision::geometry::{DriftComparison, PhantomDrift};
use burn_revision::report::GapReport;

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let report = page.report;
    let mut body = String::from(
        "<p>The frame splits the space in two: <em>U</em>, the leading eigenspace of the sum of both \
         covariances, and <em>V</em>, all that is orthogonal to it. The difference of an image and its text is \
         then the sum of four parts: the mean gap within U (β) and within V (γ), and what varies around it \
         within U (δ) and within V (ζ).</p>\n",
    );
    body.push_str(&frame(report));
    body.push_str(&mean(report));
    body.push_str(&residual::figures(report));
    body.push_str(&drift(report));
    Section { id: "frame", title: "The frame and the decomposition", rows: Some(Rows::Mixed), body }
}

/// The size of the frame and how well the other half agrees with it.
fn frame(report: &GapReport) -> String {
    let frame = &report.geometry.frame;
    let degrees: Vec<(f64, f64)> = frame
        .angles
        .iter()
        .enumerate()
        .map(|(place, angle)| (place as f64 + 1.0, angle.to_degrees()))
        .collect();
    let chart = if degrees.iter().any(|p| p.1.is_finite()) {
        let color = palette::IMAGE.color;
        let dense = degrees.len() > 60;
        let dots =
            Mark::Dots { points: degrees.clone(), color, radius: if dense { 2 } else { 3 }, opacity: 1.0 };
        let line = Mark::Line { points: degrees.clone(), stroke: palette::IMAGE, width: 1 };
        let right_angle = Mark::Line {
            points: vec![(0.0, 90.0), (degrees.len() as f64 + 1.0, 90.0)],
            stroke: REFERENCE,
            width: 1,
        };
        Panel {
            size: (1140, 290),
            left: 78,
            right: 20,
            x: (Axis::between(0.0, degrees.len() as f64 + 1.0), "principal angle, from the smallest"),
            y: (Axis::between(0.0, 95.0), "angle, degrees"),
            label: "Principal angles between the frames of both halves",
        }
        .draw(&[right_angle, line, dots])
    } else {
        "<p>The report has no principal angles.</p>\n".into()
    };
    let mut table = Table::new(["quantity", "value"]);
    table.row([Cell::html("dimensions of U, r"), Cell::count(frame.rank)]);
    table.row([
        Cell::html("share of tr(Σ<sub>text</sub> + Σ<sub>image</sub>) in U"),
        Cell::percent(frame.energy),
    ]);
    table.row([
        Cell::html("sine of the largest angle, sin θ"),
        Cell::optional(frame.sin_theta, "the held-out half does not vary"),
    ]);
    let sample = format!("{}, against the frame of the held-out half", figure::fit_half(report));
    Figure {
        title: "The frame, and the same frame from other rows",
        rows: Rows::Mixed,
        sample: &sample,
        reading: "Angles between U of the fit half and U of the held-out half. Good: nearly all angles small, \
                  so that the frame is a property of the encoder and not of the sample. A few last angles near \
                  90° are usual, because the cut at r falls among eigenvalues that are nearly equal.",
    }
    .around(&(chart + &table.draw()))
}

/// The mean gap along and across the frame.
fn mean(report: &GapReport) -> String {
    let gap = &report.gap;
    let share = |part: f64| Cell::percent(part * part / (gap.norm * gap.norm));
    let mut table =
        Table::new(["part of the mean gap m = μ<sub>x</sub> − μ<sub>y</sub>", "norm", "share of ‖m‖²"]);
    table.row([Cell::html("whole, ‖m‖"), Cell::number(gap.norm), share(gap.norm)]);
    table.row([
        Cell::html("within U: principal modality bias, ‖β‖"),
        Cell::number(gap.beta),
        share(gap.beta),
    ]);
    table.row([
        Cell::html("within V: passive orthogonal bias, ‖γ‖"),
        Cell::number(gap.gamma),
        share(gap.gamma),
    ]);
    Figure {
        title: "The mean gap along and across the frame",
        rows: Rows::HeldOut,
        sample: &figure::held_out(report),
        reading: "A large γ says that a good part of the gap lies where neither modality varies much. The \
                  theory expects training to leave that part alone, and a shift removes it.",
    }
    .around(&table.draw())
}

/// The drift of the centroid that the projection onto the sphere causes.
fn drift(report: &GapReport) -> String {
    let Some(drift) = &report.gap.phantom_drift else { return String::new() };
    let PhantomDrift { rows, radius, spread, from_direction, from_centroid } = drift;
    let mut table = Table::new(["drift of ReAlign’s affine step", "measured", "predicted", "relative error"]);
    let mut row = |label: &str, drift: &DriftComparison| {
        table.row([
            Cell::html(label),
            Cell::number(drift.measured),
            Cell::number(drift.predicted),
            Cell::percent(drift.relative_error),
        ]);
    };
    row(
        "from the direction of the mean: E π(z) − μ<sub>x</sub>/‖μ<sub>x</sub>‖, second-order expansion",
        from_direction,
    );
    row("from the centroid: E π(z) − μ<sub>x</sub>, expansion in ‖z‖² − 1", from_centroid);
    let sample = format!("Fit half (in-sample): {}", text::counted(*rows, "row"));
    let reading = format!(
        "Projecting onto the sphere moves the centroid again, even after a perfect shift. The first expansion \
         asks that the spread of the cloud is far below the norm of its mean; here the spread is {} times a \
         norm of {}, and it {}. The second asks only that ‖z‖² stays near 1, and here it {}.",
        text::brief(*spread),
        text::brief(*radius),
        verdict(from_direction.relative_error),
        verdict(from_centroid.relative_error)
    );
    Figure { title: "Phantom drift", rows: Rows::Fit, sample: &sample, reading: &reading }
        .around(&table.draw())
}

/// How an expansion did.
fn verdict(relative_error: f64) -> &'static str {
    match relative_error {
        error if error < 0.1 => "agrees with what was measured",
        error if error < 0.5 => "agrees roughly",
        error if error.is_finite() => "does not hold",
        _ => "cannot be judged",
    }
}
