//! Captions by length.

use super::axis::Axis;
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette::{self, Stroke};
use super::section::{Page, Section};
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::sections::{LengthSection, LengthSlice};

/// The width of the plot of a small chart, in pixels of the page.
const PLOT: f64 = 305.0;
/// The mean width of a letter of a label.
const LETTER: f64 = 7.2;

/// The section; `None` without slices.
pub(super) fn section(page: &Page) -> Option<Section> {
    let lengths = page.report.lengths.as_ref().filter(|lengths| !lengths.slices.is_empty())?;
    let body = figure(page, lengths);
    Some(Section { id: "lengths", title: "Captions by length", rows: Some(Rows::HeldOut), body })
}

/// The words of the captions of a slice.
fn words(slice: &LengthSlice) -> String {
    if slice.shortest == slice.longest {
        text::count(slice.shortest)
    } else {
        format!("{}–{}", text::count(slice.shortest), text::count(slice.longest))
    }
}

/// One small chart over the slices.
fn chart(lengths: &LengthSection, title: &str, lines: &[(Stroke, Vec<f64>)]) -> String {
    let names: Vec<String> = lengths.slices.iter().map(words).collect();
    let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(1);
    let labels = PLOT / (letters as f64 * LETTER + 4.0);
    let values = lines.iter().flat_map(|(_, values)| values.iter().copied());
    let marks: Vec<Mark> = lines
        .iter()
        .flat_map(|(stroke, values)| {
            let points: Vec<_> = values.iter().enumerate().map(|(place, v)| (place as f64, *v)).collect();
            [
                Mark::Line { points: points.clone(), stroke: *stroke, width: 2 },
                Mark::Dots { points, color: stroke.color, radius: 4, opacity: 1.0 },
            ]
        })
        .collect();
    let label = format!("{title} by length of the caption");
    let panel = Panel {
        size: (365, 250),
        left: 52,
        right: 8,
        x: (Axis::names(names, 0.4).at_most_names(labels as usize), "words of the caption"),
        y: (Axis::from_zero(values).at_most(5), title),
        label: &label,
    };
    format!("<div class=\"panel\">\n{}</div>\n", panel.draw(&marks))
}

/// The charts and the table.
fn figure(page: &Page, lengths: &LengthSection) -> String {
    let slices = &lengths.slices;
    let aligned = Stroke { dash: None, ..page.palette.method(&lengths.method) };
    let all = |get: fn(&LengthSlice) -> f64| slices.iter().map(get).collect::<Vec<_>>();
    let text_color = palette::TEXT;
    let mut body = figure::legend([
        (Key::Dot(text_color), "text as it is".to_owned()),
        (Key::Dot(aligned), format!("after {}", lengths.method)),
    ]);
    body.push_str("<div class=\"panels\">\n");
    body.push_str(&chart(
        lengths,
        "gap to all images",
        &[(text_color, all(|s| s.raw_gap)), (aligned, all(|s| s.gap))],
    ));
    body.push_str(&chart(lengths, "effective rank", &[(text_color, all(|s| s.effective_rank))]));
    body.push_str(&chart(lengths, "trace", &[(text_color, all(|s| s.trace))]));
    body.push_str("</div>\n");

    let mut table = Table::new([
        "words".to_owned(),
        "captions".into(),
        "rows measured".into(),
        "gap, as it is".into(),
        format!("gap after {}", text::escape(&lengths.method)),
        "effective rank".into(),
        "trace".into(),
        "cosine of pairs".into(),
    ]);
    for slice in slices {
        table.row([
            Cell::html(words(slice)),
            Cell::count(slice.captions),
            Cell::count(slice.rows),
            Cell::number(slice.raw_gap),
            Cell::number(slice.gap),
            Cell::number(slice.effective_rank),
            Cell::number(slice.trace),
            Cell::optional(slice.paired_cosine, "the held-out rows are not paired"),
        ]);
    }
    body.push_str(&table.draw());
    let rows = slices.iter().map(|s| s.rows).max().unwrap_or(0);
    let sample = format!(
        "Held-out half: {} for each slice, by the field <code>{}</code>, against {}",
        text::counted(rows, "caption"),
        text::escape(&lengths.field),
        text::counted(page.report.data.image.held_out, "image")
    );
    Figure {
        title: "Gap, effective rank and trace by length",
        rows: Rows::HeldOut,
        sample: &sample,
        reading: "Every slice is measured on the same number of rows, so that slices compare. Good: a gap \
                  after alignment that is level. Where it rises for long captions, the statistics of all \
                  captions do not fit those; where the effective rank differs, so does the shape of their \
                  cloud. A slice’s gap after alignment stays above zero even for a perfect method, as its \
                  captions are about other things than all images are.",
    }
    .around(&body)
}
