//! Tables.

use std::fmt::Write;

use super::text;

/// One cell of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// The content, escaped.
    html: String,
    /// The reason why there is no number.
    reason: Option<&'static str>,
    /// How the cell looks.
    class: &'static str,
    /// Declarations of CSS.
    style: String,
}

impl Cell {
    /// Words, which are escaped.
    pub(super) fn words(words: &str) -> Self {
        Self::html(text::escape(words)).class("words")
    }

    /// Markup.
    pub(super) fn html(html: impl Into<String>) -> Self {
        Self { html: html.into(), ..Self::default() }
    }

    /// A number to four digits.
    pub(super) fn number(value: f64) -> Self {
        Self::finite(value, text::number)
    }

    /// A number that `format` writes.
    pub(super) fn finite(value: f64, format: fn(f64) -> String) -> Self {
        if value.is_finite() {
            Self::html(format(value))
        } else {
            Self::none("not a finite number for these rows")
        }
    }

    /// A share as a percentage.
    pub(super) fn percent(share: f64) -> Self {
        Self::finite(share, text::percent)
    }

    /// A count.
    pub(super) fn count(value: usize) -> Self {
        Self::html(text::count(value))
    }

    /// No number, and why.
    pub(super) fn none(reason: &'static str) -> Self {
        Self { reason: Some(reason), class: "none", ..Self::default() }
    }

    /// A number if there is one, otherwise the reason.
    pub(super) fn optional(value: Option<f64>, reason: &'static str) -> Self {
        value.map_or_else(|| Self::none(reason), Self::number)
    }

    /// The same cell with a class of CSS.
    pub(super) fn class(mut self, class: &'static str) -> Self {
        if self.reason.is_none() {
            self.class = class;
        }
        self
    }

    /// The same cell with words before its content.
    pub(super) fn after(mut self, words: &str) -> Self {
        self.html.insert_str(0, words);
        self
    }

    /// The same cell with declarations of CSS.
    pub(super) fn style(mut self, style: String) -> Self {
        self.style = style;
        self
    }

    /// Writes the element.
    fn write(&self, out: &mut String, head: bool) {
        let tag = if head { "th" } else { "td" };
        _ = write!(out, "<{tag}");
        if head {
            out.push_str(" scope=\"row\"");
        }
        if !self.class.is_empty() {
            _ = write!(out, " class=\"{}\"", self.class);
        }
        if !self.style.is_empty() {
            _ = write!(out, " style=\"{}\"", self.style);
        }
        match self.reason {
            Some(reason) => _ = write!(out, " title=\"{reason}\">{}", text::NONE),
            None => _ = write!(out, ">{}", self.html),
        }
        _ = writeln!(out, "</{tag}>");
    }
}

/// A table; the first cell of a row is its head.
#[derive(Debug, Default)]
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<Row>,
    class: &'static str,
}

/// One row.
#[derive(Debug)]
enum Row {
    /// Cells.
    Cells(Vec<Cell>),
    /// The title of the rows that follow.
    Group(String),
}

impl Table {
    /// A table with these heads of columns, which are markup.
    pub(super) fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A class of CSS for the table.
    pub(super) fn class(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(Row::Cells(cells.into_iter().collect()));
    }

    /// Adds a quantity, its value and how to read it; the words are markup.
    pub(super) fn reading(&mut self, quantity: &str, value: Cell, reading: &str) {
        self.row([Cell::html(quantity), value, Cell::html(reading).class("words")]);
    }

    /// Adds the title of the rows that follow, as markup.
    pub(super) fn group(&mut self, title: &str) {
        self.rows.push(Row::Group(title.to_owned()));
    }

    /// Whether a column holds words, which stand left as their head should.
    fn holds_words(&self, column: usize) -> bool {
        self.rows.iter().any(|row| match row {
            Row::Cells(cells) => cells.get(column).is_some_and(|cell| cell.class == "words"),
            Row::Group(_) => false,
        })
    }

    /// The markup, with the reasons of all missing numbers below.
    pub(super) fn draw(&self) -> String {
        let mut out = format!("<div class=\"scroll\"><table class=\"{}\">\n", self.class);
        if self.head.iter().any(|head| !head.is_empty()) {
            out.push_str("<thead><tr>");
            for (column, head) in self.head.iter().enumerate() {
                let class = if self.holds_words(column) { " class=\"words\"" } else { "" };
                _ = write!(out, "<th scope=\"col\"{class}>{head}</th>");
            }
            out.push_str("</tr></thead>\n");
        }
        out.push_str("<tbody>\n");
        let mut reasons: Vec<&str> = Vec::new();
        for row in &self.rows {
            match row {
                Row::Group(title) => {
                    _ = writeln!(
                        out,
                        "<tr class=\"group\"><th scope=\"colgroup\" colspan=\"{}\">{title}</th></tr>",
                        self.head.len().max(1)
                    );
                }
                Row::Cells(cells) => {
                    out.push_str("<tr>");
                    for (place, cell) in cells.iter().enumerate() {
                        cell.write(&mut out, place == 0);
                        if let Some(reason) = cell.reason.filter(|reason| !reasons.contains(reason)) {
                            reasons.push(reason);
                        }
                    }
                    out.push_str("</tr>\n");
                }
            }
        }
        out.push_str("</tbody></table></div>\n");
        if !reasons.is_empty() {
            _ = writeln!(out, "<p class=\"reasons\">{} {}.</p>", text::NONE, reasons.join("; "));
        }
        out
    }
}
