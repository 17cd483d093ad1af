//! The gap on held-out rows against the number of rows of which the statistics were made.

use super::axis::{Axis, drawable_log};
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette::{self, REFERENCE};
use super::section::{Page, Section};
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::sections::{EfficiencyCurve, EfficiencyPoint};

/// The section; `None` without curves.
pub(super) fn section(page: &Page) -> Option<Section> {
    let curves = &page.report.sample_efficiency;
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return None;
    }
    let body = panels(page) + &table(page);
    Some(Section { id: "efficiency", title: "Sample efficiency", rows: Some(Rows::HeldOut), body })
}

/// The median of the finite values.
fn median(values: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle)?, middle.checked_sub(1).and_then(|below| values.get(below))) {
        (upper, Some(lower)) if values.len().is_multiple_of(2) => Some(lower / 2.0 + upper / 2.0),
        (upper, _) => Some(*upper),
    }
}

/// All points of all curves.
fn points(curves: &[EfficiencyCurve]) -> impl Iterator<Item = &EfficiencyPoint> {
    curves.iter().flat_map(|curve| &curve.points)
}

/// One panel for each method, all with the same axes.
fn panels(page: &Page) -> String {
    let curves = &page.report.sample_efficiency;
    let rows = Axis::logarithmic(points(curves).map(|p| p.rows as f64)).at_most(7);
    let gap = Axis::logarithmic(points(curves).flat_map(|p| p.gaps.iter().copied().chain([p.predicted])));
    let mut dropped = 0;
    let mut body = figure::legend([
        (Key::Dot(palette::IMAGE), "one draw (in the colour of the method)".to_owned()),
        (Key::Line(palette::IMAGE), "median of the draws".to_owned()),
        (Key::Line(REFERENCE), "predicted for a method that matches means".to_owned()),
    ]);
    body.push_str("<div class=\"panels wide\">\n");
    for curve in curves {
        let stroke = palette::Stroke { dash: None, ..page.palette.method(&curve.method) };
        let at = |p: &EfficiencyPoint, gap: f64| (p.rows as f64, gap);
        let draws: Vec<_> = curve.points.iter().flat_map(|p| p.gaps.iter().map(move |g| at(p, *g))).collect();
        dropped += draws.iter().filter(|draw| !drawable_log(draw.1)).count();
        let line = |points, stroke| Mark::Line { points, stroke, width: 2 };
        let predicted = curve.points.iter().map(|p| at(p, p.predicted)).collect();
        let medians = curve.points.iter().filter_map(|p| Some(at(p, median(&p.gaps)?))).collect();
        let label = format!("Held-out gap of {} by rows", curve.method);
        let panel = Panel {
            size: (530, 300),
            left: 66,
            right: 14,
            x: (rows.clone(), "rows of each modality for the statistics"),
            y: (gap.clone(), "held-out gap"),
            label: &label,
        };
        let chart = panel.draw(&[
            line(predicted, REFERENCE),
            Mark::Dots { points: draws, color: stroke.color, radius: 4, opacity: 0.4 },
            line(medians, stroke),
        ]);
        body.push_str(&format!(
            "<div class=\"panel\">\n<h4>{} {}</h4>\n{chart}</div>\n",
            figure::swatch(Key::Line(stroke)),
            text::escape(&curve.method)
        ));
    }
    body.push_str("</div>\n");
    let draws = points(curves).map(|p| p.gaps.len()).max().unwrap_or(0);
    let sample = format!(
        "{}. Statistics of seeded draws from the fit half, up to {} for each number of rows",
        figure::held_out(page.report),
        text::counted(draws, "draw")
    );
    let mut reading = String::from(
        "Good: the dots fall along the dashed line, steeply at first, as one over the square root of the rows, \
         and then level off where the held-out rows themselves limit what can be seen. Beyond that bend more \
         rows of statistics buy nothing that this page could show.",
    );
    if dropped > 0 {
        reading.push_str(&format!(
            " Left out, because a logarithmic axis shows neither zero nor what is not finite: {}.",
            text::counted(dropped, "draw")
        ));
    }
    let title = "Gap by the number of rows of the statistics";
    Figure { title, rows: Rows::HeldOut, sample: &sample, reading: &reading }.around(&body)
}

/// Medians and predictions as numbers.
fn table(page: &Page) -> String {
    let curves = &page.report.sample_efficiency;
    let mut counts: Vec<usize> = points(curves).map(|p| p.rows).collect();
    counts.sort_unstable();
    counts.dedup();
    let heads = counts.iter().map(|rows| text::counted(*rows, "row"));
    let mut table = Table::new(std::iter::once("median gap (predicted)".to_owned()).chain(heads));
    for curve in curves {
        let cells = counts.iter().map(|rows| match curve.points.iter().find(|p| p.rows == *rows) {
            None => Cell::none("not measured at this number of rows"),
            Some(point) => match median(&point.gaps) {
                None => Cell::none("no draw gave a finite number"),
                Some(median) => Cell::html(format!(
                    "{}<br/><small>({})</small>",
                    text::brief(median),
                    text::brief(point.predicted)
                )),
            },
        });
        table.row(std::iter::once(Cell::words(&curve.method)).chain(cells));
    }
    Figure {
        title: "The same in numbers",
        rows: Rows::HeldOut,
        sample: &figure::held_out(page.report),
        reading: "Medians over the draws; in brackets what sampling predicts.",
    }
    .around(&table.draw())
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN, 2.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0, 7.0]), Some(3.0));
    }
}
