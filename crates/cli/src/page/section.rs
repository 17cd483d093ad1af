//! A section of the page, and what all sections read.

use super::figure::{self, Rows};
use super::palette::Palette;
use burn_revision::report::GapReport;

/// What all sections read.
pub(super) struct Page<'a> {
    /// The report.
    pub report: &'a GapReport,
    /// The colours of its methods.
    pub palette: Palette,
}

/// One section of the page.
pub(super) struct Section {
    /// The anchor.
    pub id: &'static str,
    /// The title, as markup.
    pub title: &'static str,
    /// On which rows its numbers were measured, where that is one answer.
    pub rows: Option<Rows>,
    /// The markup.
    pub body: String,
}

impl Section {
    /// The markup of the whole section under its number.
    pub(super) fn draw(&self, number: usize) -> String {
        let Self { id, title, rows, body } = self;
        let badge = rows.map_or("", figure::badge);
        format!("<section id=\"{id}\">\n<h2>{number}. {title} {badge}</h2>\n{body}</section>\n")
    }
}
