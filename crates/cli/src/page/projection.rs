//! Before and after: rows in one plane, a panel for each method.

use super::axis::{Axis, drawable};
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette;
use super::section::{Page, Section};
use super::text;
use burn_revision::report::sections::{MethodReport, Projection};

/// The share of points at each end of an axis that may lie outside, so that an outlier does not shrink all others.
const OUTSIDE: f64 = 0.002;
/// The width of a panel, in pixels of the page.
const WIDTH: u32 = 350;

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let projection = &page.report.projection;
    let body = match limits(projection) {
        Some(limits) => panels(page, limits),
        None => "<p>The report has no points to show.</p>\n".into(),
    };
    Section { id: "projection", title: "Before and after", rows: Some(Rows::HeldOut), body }
}

/// The ends of both axes, the same for all panels, and the height of a panel with one scale on both axes.
struct Limits {
    x: (f64, f64),
    y: (f64, f64),
    height: u32,
}

/// Where all points lie but a few outliers; `None` without points.
fn limits(projection: &Projection) -> Option<Limits> {
    let sets =
        projection.methods.iter().flat_map(|m| m.image.iter().chain([&m.text])).chain([&projection.image]);
    let points: Vec<[f64; 2]> =
        sets.flatten().map(|p| p.map(f64::from)).filter(|p| p.iter().all(|v| drawable(*v))).collect();
    let ends = |axis: usize| {
        let mut values: Vec<f64> = points.iter().map(|p| p[axis]).collect();
        values.sort_by(f64::total_cmp);
        let outliers = (values.len() as f64 * OUTSIDE) as usize;
        let (low, high) = (*values.get(outliers)?, *values.get(values.len() - 1 - outliers)?);
        // A point alone still needs a plane around it.
        let margin = ((high - low) * 0.06).max(0.02 * low.abs().max(high.abs()).max(1e-3));
        Some((low - margin, high + margin))
    };
    let (x, y) = (ends(0)?, ends(1)?);
    // One scale on both axes keeps distances true; a very flat or high plane is widened instead.
    let plot = f64::from(WIDTH - 70);
    let ratio = ((y.1 - y.0) / (x.1 - x.0)).clamp(0.6, 1.3);
    let widen = |(low, high): (f64, f64), span: f64| {
        let margin = ((span - (high - low)) / 2.0).max(0.0);
        (low - margin, high + margin)
    };
    let (span_x, span_y) = (x.1 - x.0, y.1 - y.0);
    let (x, y) = (widen(x, span_y / ratio), widen(y, span_x * ratio));
    Some(Limits { x, y, height: (plot * ratio) as u32 + 56 })
}

/// One panel for each method.
fn panels(page: &Page, limits: Limits) -> String {
    let report = page.report;
    let projection = &report.projection;
    let [along, across] = projection.explained.map(text::percent);
    let x_title = format!("along the gap ({along} of the variance)");
    let y_title = format!("first component across ({across})");
    let inside = |p: &[f32; 2]| {
        let [x, y] = p.map(f64::from);
        (limits.x.0..limits.x.1).contains(&x) && (limits.y.0..limits.y.1).contains(&y)
    };
    let mut panels = String::from("<div class=\"panels\">\n");
    for method in &projection.methods {
        let images = method.image.as_ref().unwrap_or(&projection.image);
        let color = page.palette.method(&method.method).color;
        let outside = images.iter().chain(&method.text).filter(|p| !inside(p)).count();
        let name = text::escape(&method.method);
        let swatch = figure::swatch(Key::Dot(page.palette.method(&method.method)));
        let mut notes = Vec::new();
        if let Some(gap) = gap_of(&report.methods, &method.method) {
            notes.push(format!("gap {}", text::brief(gap)));
        }
        if method.image.is_some() {
            notes.push("images moved".into());
        }
        if outside > 0 {
            notes.push(format!("{} outside", text::count(outside)));
        }
        let label = format!("Images and text after {}", method.method);
        let panel = Panel {
            size: (WIDTH, limits.height),
            left: 58,
            right: 12,
            x: (Axis::between(limits.x.0, limits.x.1).at_most(5), &x_title),
            y: (Axis::between(limits.y.0, limits.y.1).at_most(5), &y_title),
            label: &label,
        };
        let clouds = Mark::Clouds(vec![(images.clone(), palette::IMAGE.color), (method.text.clone(), color)]);
        panels.push_str(&format!(
            "<div class=\"panel\">\n<h4>{swatch} {name} <span>{}</span></h4>\n{}</div>\n",
            notes.join(", "),
            panel.draw(&[clouds])
        ));
    }
    panels.push_str("</div>\n");
    let legend = figure::legend([
        (Key::Dot(palette::IMAGE), "images".to_owned()),
        (Key::Dot(palette::TEXT), "text as it is; aligned text has the colour of its method".to_owned()),
    ]);
    let texts = projection.methods.iter().map(|m| m.text.len()).max().unwrap_or(0);
    let sample = format!(
        "Held-out half: {} and {} drawn of {} and {}",
        text::counted(texts, "text"),
        text::counted(projection.image.len(), "image"),
        text::count(report.data.text.held_out),
        text::count(report.data.image.held_out)
    );
    Figure {
        title: "Images and text in one plane",
        rows: Rows::HeldOut,
        sample: &sample,
        reading: "The horizontal axis is the direction of the gap, the vertical one the first principal \
                  component of all rows across it; both were found on the fit half before alignment, and all \
                  panels have the same axes. Good: the clouds cover each other in place, in width and in \
                  density. Two dimensions hide the others: clouds that agree here may still be apart, as the \
                  mixing rates show.",
    }
    .around(&(legend + &panels))
}

/// The held-out gap of the method of this name.
fn gap_of(methods: &[MethodReport], name: &str) -> Option<f64> {
    methods.iter().find(|m| m.name == name).map(|m| m.gap).filter(|gap| gap.is_finite())
}
