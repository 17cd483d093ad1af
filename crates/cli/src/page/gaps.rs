//! The gap by method, in-sample and held out, against what sampling alone leaves.

use super::axis::{Axis, drawable};
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette::{self, Stroke, solid};
use super::section::{Page, Section};
use super::text;
use burn_revision::report::sections::MethodReport;

/// The mark of what sampling lets expect.
const FLOOR: Stroke = solid(0x00, 0x00, 0x00);
/// Beyond this ratio of the greatest to the least gap the axis is logarithmic.
const LOGARITHMIC: f64 = 25.0;
/// A logarithmic axis spans at most this ratio: gaps below, often rounding alone, stand at its lower end.
const SPAN: f64 = 1e6;
/// Columns of numbers to the right of the bars, in pixels: where they start, and their heads.
const COLUMNS: [(i32, &str); 3] = [(18, "held out"), (108, "fit half"), (198, "expected")];

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let methods = &page.report.methods;
    let body = if methods.iter().any(|m| drawable(m.gap) || drawable(m.fit_gap)) {
        bars(page)
    } else {
        "<p>No method of the report has a gap that can be drawn.</p>\n".into()
    };
    Section { id: "gaps", title: "Gap by method", rows: Some(Rows::Mixed), body }
}

/// The axis of the gap.
fn axis(methods: &[MethodReport]) -> (Axis, bool) {
    let values: Vec<f64> = methods
        .iter()
        .flat_map(|m| [m.gap, m.fit_gap, m.expected_gap])
        .filter(|v| drawable(*v) && *v > 0.0)
        .collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    let least = values.iter().copied().filter(|v| *v >= most / SPAN).fold(most, f64::min);
    if most > least * LOGARITHMIC {
        (Axis::logarithmic([least / 1.6, most]), true)
    } else {
        (Axis::from_zero(values), false)
    }
}

/// Two bars for each method with their numbers.
fn bars(page: &Page) -> String {
    let methods = &page.report.methods;
    let (x, log) = axis(methods);
    let (low, high) = (x.low(), x.high());
    let rows = methods.len();
    let names: Vec<String> = methods.iter().rev().map(|m| text::shorten(&m.name, 22)).collect();
    let ink = FLOOR.color;
    let words = |at, right, words: String, bold| Mark::Words { at, right, words, color: ink, bold };

    let mut marks = Vec::new();
    for (place, method) in methods.iter().enumerate() {
        let y = (rows - 1 - place) as f64;
        let color = page.palette.method(&method.name).color;
        let mut bar = |value: f64, (bottom, top): (f64, f64), opacity| {
            if drawable(value) && value > low {
                let (from, to) = ((low, y + bottom), (value, y + top));
                marks.push(Mark::Bar { from, to, color, opacity });
            }
        };
        bar(method.gap, (-0.08, 0.34), 1.0);
        bar(method.fit_gap, (-0.32, -0.12), 0.45);
        if drawable(method.expected_gap) && method.expected_gap > low {
            let at = method.expected_gap;
            let points = vec![(at, y - 0.42), (at, y + 0.42)];
            marks.push(Mark::Line { points, stroke: FLOOR, width: 2 });
        }
        let numbers = [method.gap, method.fit_gap, method.expected_gap];
        for ((right, _), value) in COLUMNS.iter().zip(numbers) {
            marks.push(words((high, y), *right, text::brief(value), false));
        }
    }
    for (right, head) in COLUMNS {
        marks.push(words((high, rows as f64 - 0.3), right, head.to_owned(), true));
    }
    let height = 36 * rows as u32 + 92;
    let panel = Panel {
        size: (1140, height),
        left: 190,
        right: 280,
        x: (
            x,
            if log {
                "gap (distance of the centroids), logarithmic"
            } else {
                "gap (distance of the centroids)"
            },
        ),
        y: (Axis::names(names, 0.55), ""),
        label: "Gap by method, held out and in-sample, with what sampling lets expect",
    };
    // Half a row more than the methods need leaves space for the heads of the columns.
    let panel = Panel { y: (panel.y.0.up_to(rows as f64 - 0.05), ""), ..panel };
    let sample = palette::IMAGE;
    let legend = figure::legend([
        (Key::Area(sample), "held out (thick bar, in the colour of the method)".to_owned()),
        (Key::Area(solid(0xAB, 0xAB, 0xAB)), "fit half, in-sample (thin, pale)".to_owned()),
        (Key::Line(FLOOR), "expected of sampling (upright line)".to_owned()),
    ]);
    let mut reading = String::from(
        "Good: the thick bar ends near the upright line, which is the gap that sampling of both halves would \
         leave if the true means matched perfectly; bars near it cannot be ranked. Rows that resemble each \
         other, such as variants of one picture, make the true line higher than it is drawn. A pale bar far shorter than the thick one is no merit: statistics always fit the rows that \
         they were made of.",
    );
    if log {
        reading.push_str(&format!(
            " The axis is logarithmic: its left end is {}, not zero, and smaller gaps have no bar.",
            text::brief(low)
        ));
    }
    let sample = format!("{}. {}", figure::held_out(page.report), figure::fit_half(page.report));
    Figure { title: "Distance of the centroids", rows: Rows::Mixed, sample: &sample, reading: &reading }
        .around(&(legend + &panel.draw(&marks)))
}
