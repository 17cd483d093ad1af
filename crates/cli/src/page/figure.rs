//! What surrounds charts and tables: sections, badges, captions and legends.

use super::palette::{self, Stroke};
use super::text;
use burn_revision::report::GapReport;
use burn_revision::report::sections::SetReport;

/// On which rows the numbers of a section were measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rows {
    /// Those of which the statistics were made.
    Fit,
    /// Those that no method has seen.
    HeldOut,
    /// Both, or neither.
    Mixed,
}

/// The badge that says on which rows numbers were measured.
pub(super) fn badge(rows: Rows) -> &'static str {
    match rows {
        Rows::Fit => "<span class=\"badge fit\">fit half (in-sample)</span>",
        Rows::HeldOut => "<span class=\"badge held\">held out</span>",
        Rows::Mixed => "<span class=\"badge held\">held out</span> <span class=\"badge fit\">fit half</span>",
    }
}

/// A chart or table: what it shows, how many rows it was measured on, and how to read it. All are markup.
pub(super) struct Figure<'a> {
    /// What it shows.
    pub title: &'a str,
    /// On which rows.
    pub rows: Rows,
    /// The sizes of the samples.
    pub sample: &'a str,
    /// How to read it, and what good looks like.
    pub reading: &'a str,
}

impl Figure<'_> {
    /// The figure around `body`.
    pub(super) fn around(&self, body: &str) -> String {
        let sample = if self.sample.is_empty() {
            String::new()
        } else {
            format!("<span class=\"sample\">{}.</span> ", self.sample)
        };
        format!(
            "<figure>\n<h3>{} {}</h3>\n{body}<figcaption>{sample}{}</figcaption>\n</figure>\n",
            self.title,
            badge(self.rows),
            self.reading
        )
    }
}

/// How an entry of a legend looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key {
    /// A line.
    Line(Stroke),
    /// A dot.
    Dot(Stroke),
    /// An area.
    Area(Stroke),
}

/// A legend above a chart, where it hides no data; the words are escaped here.
pub(super) fn legend(entries: impl IntoIterator<Item = (Key, String)>) -> String {
    let entries: String = entries
        .into_iter()
        .map(|(key, words)| format!("<li>{} {}</li>\n", swatch(key), text::escape(&words)))
        .collect();
    format!("<ul class=\"legend\">\n{entries}</ul>\n")
}

/// A small sample of how a series is drawn.
pub(super) fn swatch(key: Key) -> String {
    let shape = match key {
        Key::Line(stroke) => {
            let dash = stroke.dash.map_or(String::new(), |(dash, gap)| {
                format!(" stroke-dasharray=\"{} {}\"", f64::from(dash) * 0.7, f64::from(gap) * 0.7)
            });
            let color = palette::hex(stroke.color);
            format!("<path d=\"M1 6h26\" stroke=\"{color}\" stroke-width=\"3\"{dash}/>")
        }
        Key::Dot(stroke) => {
            format!("<circle cx=\"14\" cy=\"6\" r=\"5\" fill=\"{}\"/>", palette::hex(stroke.color))
        }
        Key::Area(stroke) => {
            format!("<path d=\"M1 1h26v10h-26z\" fill=\"{}\"/>", palette::hex(stroke.color))
        }
    };
    let width = if matches!(key, Key::Dot(_)) { 12 } else { 28 };
    let left = (28 - width) / 2;
    format!(
        "<svg class=\"swatch\" width=\"{width}\" height=\"12\" viewBox=\"{left} 0 {width} 12\" \
         aria-hidden=\"true\">{shape}</svg>"
    )
}

/// The sizes of the fit half.
pub(super) fn fit_half(report: &GapReport) -> String {
    sizes(report, "Fit half (in-sample)", |set| set.fit)
}

/// The sizes of the held-out half.
pub(super) fn held_out(report: &GapReport) -> String {
    sizes(report, "Held-out half", |set| set.held_out)
}

/// The sizes of the samples of the held-out half that neighbours and cosines are measured on.
pub(super) fn probe(report: &GapReport) -> String {
    sizes(report, "Probe of the held-out half", |set| set.probe)
}

/// How many texts and images there are.
fn sizes(report: &GapReport, name: &str, size: fn(&SetReport) -> usize) -> String {
    let (text, image) = (size(&report.data.text), size(&report.data.image));
    format!("{name}: {}, {}", text::counted(text, "text"), text::counted(image, "image"))
}
