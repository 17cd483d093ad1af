//! How everything was measured: definitions, settings, and the time it took.

use super::quantities::{ALIGN, ANISO, COMPROMISE, QUANTITIES, Source};
use super::section::{Page, Section};
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::{GapReport, ReportConfig};

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let report = page.report;
    let body = definitions() + &settings(report) + &seconds(report);
    Section { id: "measured", title: "How it was measured", rows: None, body }
}

/// Where a definition comes from, as markup.
fn source(source: Source) -> String {
    let link =
        |paper: &str, place: &str| format!("<a href=\"https://arxiv.org/abs/{paper}\">{paper}</a>, {place}");
    match source {
        Source::Align(place) => link(ALIGN, place),
        Source::Aniso(place) => link(ANISO, place),
        Source::Compromise => link(COMPROMISE, "in words"),
        Source::Own => "this program".into(),
    }
}

/// What every quantity is.
fn definitions() -> String {
    let mut table = Table::new(["quantity", "definition", "source"]).class("definitions");
    for quantity in QUANTITIES {
        table.row([
            Cell::html(quantity.name),
            Cell::html(quantity.definition),
            Cell::html(source(quantity.source)),
        ]);
    }
    let sources = format!(
        "<p>x is an image, y a text, z the text after a method; μ is a mean, Σ a covariance. Two papers define \
         most of what is measured here: <a href=\"https://arxiv.org/abs/{ALIGN}\">arXiv {ALIGN}</a>, the \
         theory of the modality gap and ReAlign, and <a href=\"https://arxiv.org/abs/{ANISO}\">arXiv \
         {ANISO}</a>, AnisoAlign. Where they print no formula, the reading taken here is stated.</p>\n"
    );
    format!("<h3>Definitions</h3>\n{sources}{}", table.draw())
}

/// The settings of the report.
fn settings(report: &GapReport) -> String {
    let ReportConfig {
        seed,
        paired,
        pair_by,
        only,
        methods,
        k,
        energy,
        rows,
        probe,
        ridge,
        sigma,
        cosine_pairs,
        draws,
        domain,
        caption,
        non_finite,
    } = &report.settings;
    let code = |words: &str| Cell::html(format!("<code>{}</code>", text::escape(words))).class("words");
    let mut table = Table::new(["setting", "value", "what it does"]);
    let mut row = |name: &str, value: Cell, words: &str| {
        table.reading(&format!("<code>{name}</code>"), value.class("words"), words);
    };
    row("seed", Cell::html(seed.to_string()), "makes the halves, all samples and all noise");
    row("paired", Cell::html(if *paired { "yes" } else { "no" }), "whether rows of the two sets are pairs");
    let pair_by =
        pair_by.as_ref().map_or_else(|| Cell::html("equal ids").class("words"), |field| code(field));
    row("pair_by", pair_by, "the field of an image’s record that names its text");
    let only = match only {
        Some((field, value)) => code(&format!("{field}={value}")),
        None => Cell::html("all").class("words"),
    };
    row("only", only, "the rows that take part, by a field of their records");
    let field = |name: &Option<String>| match name {
        Some(name) => code(name),
        None => Cell::html("not named").class("words"),
    };
    row("domain", field(domain), "the field of records that names the domain");
    row("caption", field(caption), "the field of a text’s record that holds the caption");
    row("sigma", Cell::number(*sigma), "the standard deviation of the noise of C3, for each coordinate");
    row("cosine_pairs", Cell::count(*cosine_pairs), "pairs of rows for each density of cosines");
    row("draws", Cell::count(*draws), "draws for each number of rows in the sample efficiency");
    let names: Vec<String> = methods.iter().map(|method| method.to_string().replace('-', "_")).collect();
    row("methods", code(&names.join(", ")), "in the order of the report");
    row("k", Cell::count(*k), "neighbours of a row");
    row(
        "energy",
        Cell::finite(*energy, text::share),
        "share of the variance of both sets that the frame holds",
    );
    row("rows", Cell::count(*rows), "rows of each set that may be read");
    row("probe", Cell::count(*probe), "held-out rows of each set for neighbours and cosines");
    row(
        "ridge",
        Cell::number(*ridge),
        "added to covariances before inversion, relative to their mean eigenvalue",
    );
    row(
        "non_finite",
        code(&non_finite.to_string()),
        "policy for rows with numbers that are not finite or without direction",
    );
    format!(
        "<h3>Settings</h3>\n{}<p>Layout {} of the report, written by {}.</p>\n",
        table.draw(),
        report.version,
        text::escape(&report.created_by)
    )
}

/// The time that each part took.
fn seconds(report: &GapReport) -> String {
    if report.seconds.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["part", "seconds"]);
    for (part, seconds) in &report.seconds {
        table.row([Cell::html(text::escape(part)), Cell::finite(*seconds, text::brief)]);
    }
    let total: f64 = report.seconds.iter().map(|(_, seconds)| seconds).sum();
    table.row([Cell::html("<strong>together</strong>"), Cell::finite(total, text::brief)]);
    format!("<h3>Time</h3>\n{}", table.draw())
}
