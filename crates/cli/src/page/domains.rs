//! Statistics of one domain applied to another.

use super::figure::{self, Figure, Key, Rows};
use super::section::{Page, Section};
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::sections::DomainMatrix;

/// The section; `None` without domains.
pub(super) fn section(page: &Page) -> Option<Section> {
    let domains = page.report.domains.as_ref().filter(|domains| !domains.names.is_empty())?;
    let body = matrix(page, domains);
    Some(Section { id: "domains", title: "Across domains", rows: Some(Rows::HeldOut), body })
}

/// The colour of a cell between white, the least gap, and dark blue, the greatest.
fn shade(gap: f64, (least, most): (f64, f64)) -> String {
    let depth = if most > least { ((gap - least) / (most - least)).clamp(0.0, 1.0) } else { 0.0 };
    if !depth.is_finite() {
        return String::new();
    }
    let mix = |from: f64, to: f64| (from + (to - from) * depth).round() as u8;
    let (r, g, b) = (mix(242.0, 8.0), mix(248.0, 64.0), mix(253.0, 129.0));
    let ink = if depth > 0.62 { "#fff" } else { "#222" };
    format!("background:#{r:02X}{g:02X}{b:02X};color:{ink}")
}

/// The matrix with shaded cells.
fn matrix(page: &Page, domains: &DomainMatrix) -> String {
    let finite = || domains.raw.iter().chain(domains.gap.iter().flatten()).copied().filter(|v| v.is_finite());
    let range = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let rows_of = |rows: Option<&[usize; 2]>| {
        rows.map_or(String::new(), |[text, image]| {
            format!(
                "<br/><small>{}, {}</small>",
                text::counted(*text, "text"),
                text::counted(*image, "image")
            )
        })
    };
    let heads = domains
        .names
        .iter()
        .enumerate()
        .map(|(j, name)| format!("{}{}", text::escape(name), rows_of(domains.held_out_rows.get(j))));
    let mut table =
        Table::new(std::iter::once("statistics of ↓ measured on →".to_owned()).chain(heads)).class("matrix");
    let cell = |gap: Option<&f64>| match gap {
        Some(gap) if gap.is_finite() => Cell::html(text::brief(*gap)).style(shade(*gap, range)),
        Some(_) => Cell::number(f64::NAN),
        None => Cell::none("not in this report"),
    };
    let columns = 0..domains.names.len();
    let raw = columns.clone().map(|j| cell(domains.raw.get(j)));
    table.row(std::iter::once(Cell::html("no alignment")).chain(raw));
    for (i, name) in domains.names.iter().enumerate() {
        let head = format!("{}{}", text::escape(name), rows_of(domains.fit_rows.get(i)));
        let cells = columns.clone().map(|j| {
            let cell = cell(domains.gap.get(i).and_then(|row| row.get(j)));
            if i == j { cell.class("own") } else { cell }
        });
        table.row(std::iter::once(Cell::html(head)).chain(cells));
    }
    let swatch = figure::swatch(Key::Line(page.palette.method(&domains.method)));
    let title = format!("Gap by domain after {swatch} {}", text::escape(&domains.method));
    let sample = format!(
        "Domains by the field <code>{}</code>; statistics of the fit half (rows), gaps on the held-out half \
         (columns)",
        text::escape(&domains.field)
    );
    Figure {
        title: &title,
        rows: Rows::HeldOut,
        sample: &sample,
        reading: "Darker is a larger gap. Good: pale everywhere below the first row. Framed cells use the \
                  statistics of their own domain; where a column is much darker outside its frame, that domain \
                  needs statistics of its own. Small domains have larger gaps from sampling alone.",
    }
    .around(&table.draw())
}
