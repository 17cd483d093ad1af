//! What was compared, what to know first, and the methods at a glance.

use super::figure::{self, Figure, Key, Rows};
use super::measure::{Goal, Measure, chance_mixing};
use super::palette;
use super::section::{Page, Section};
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::GapReport;
use burn_revision::report::sections::SetReport;

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let report = page.report;
    let mut body = String::from(
        "<p>A contrastive encoder puts images and texts on one unit sphere, yet the two clouds stay apart. \
         This page says how far apart and in which shape they are, and what each method of alignment makes of \
         it. Every number is marked either <em>fit half</em>, measured on the rows that the methods learned \
         their statistics from, or <em>held out</em>, measured on rows that no method has seen. Trust the \
         second kind.</p>\n",
    );
    body.push_str(&notes(&report.notes));
    body.push_str(&findings(report));
    body.push_str(&data(report));
    body.push_str(&at_a_glance(page));
    Section { id: "summary", title: "Summary", rows: None, body }
}

/// The warnings of the report.
fn notes(notes: &[String]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", text::escape(note))).collect();
    format!("<div class=\"notes\">\n<h3>Read this first</h3>\n<ul>\n{items}</ul>\n</div>\n")
}

/// The few sentences that the numbers add up to.
fn findings(report: &GapReport) -> String {
    let mut items = Vec::new();
    if report.gap.norm.is_finite() {
        items.push(format!(
            "Before alignment the centroids of held-out images and texts are <strong>{}</strong> apart.",
            text::brief(report.gap.norm)
        ));
    }
    let aligned = report.methods.iter().filter(|m| !palette::is_identity(m) && m.gap.is_finite());
    if let Some(best) = aligned.min_by(|a, b| a.gap.total_cmp(&b.gap)) {
        let floor = if best.expected_gap.is_finite() {
            let floor = text::brief(best.expected_gap);
            if best.gap <= best.expected_gap * 1.5 {
                format!(
                    "; sampling of both halves alone would leave about {floor}, so it cannot be told here from a \
                     perfect match of the means, nor from other methods near that value"
                )
            } else {
                format!("; sampling alone would leave about {floor}")
            }
        } else {
            String::new()
        };
        items.push(format!(
            "The smallest held-out gap after alignment is <strong>{}</strong>, by <strong>{}</strong>{floor}.",
            text::brief(best.gap),
            text::escape(&best.name)
        ));
    }
    if let Some(residual) = &report.gap.residual
        && residual.geometry.energy_ratio.is_finite()
    {
        items.push(format!(
            "Of the mean squared distance of a pair, <strong>{}</strong> is residual that no common shift \
             removes.",
            text::percent(residual.geometry.energy_ratio)
        ));
    }
    // Not by the mixing rate: texts crowded in one place among images have a high one and reach no image.
    let support = report.methods.iter().filter(|m| m.support.score.is_finite());
    if let Some(most) =
        support.min_by(|a, b| (a.support.score - 1.0).abs().total_cmp(&(b.support.score - 1.0).abs()))
    {
        items.push(format!(
            "Among the {} nearest neighbours of a row the modalities are mixed best after <strong>{}</strong>: local \
             support {}, where a random mixture has 1 and separate clouds have 0.",
            report.settings.k,
            text::escape(&most.name),
            text::brief(most.support.score)
        ));
    }
    let items: String = items.into_iter().map(|item| format!("<li>{item}</li>\n")).collect();
    if items.is_empty() { items } else { format!("<ul class=\"findings\">\n{items}</ul>\n") }
}

/// Where the rows came from and what became of them.
fn data(report: &GapReport) -> String {
    let mut table =
        Table::new(["set", "place", "stored", "read", "left out", "fit half", "held out", "probe"]);
    let mut row = |name, set: &SetReport| {
        table.row([
            Cell::html(name),
            Cell::html(format!("<code>{}</code>", text::escape(&set.place))).class("words"),
            Cell::count(set.stored),
            Cell::count(set.read),
            Cell::count(set.left_out),
            Cell::count(set.fit),
            Cell::count(set.held_out),
            Cell::count(set.probe),
        ]);
    };
    row(format!("{} text", figure::swatch(Key::Dot(palette::TEXT))), &report.data.text);
    row(format!("{} images", figure::swatch(Key::Dot(palette::IMAGE))), &report.data.image);
    let pairs = match (&report.data.pairs, report.settings.paired) {
        (Some(pairs), _) => format!(
            "Images and texts are paired: {} in the fit half, {} in the held-out half; one text may have \
             several images.",
            text::counted(pairs.fit, "pair"),
            text::counted(pairs.held_out, "pair")
        ),
        (None, true) => "The sets were said to be paired, but the report counts no pairs.".into(),
        (None, false) => "The sets are not paired, so all that needs pairs is left out.".into(),
    };
    let reading = format!(
        "Rows of {} dimensions. The probe is the sample of the held-out half that neighbours and cosines are \
         measured on. {pairs}",
        text::count(report.data.dim)
    );
    let figure = Figure { title: "What was read", rows: Rows::Mixed, sample: "", reading: &reading };
    figure.around(&table.draw())
}

/// The measures of the table in the summary.
fn measures() -> Vec<Measure> {
    vec![
        Measure::new("gap", Goal::None, |m| Some(m.gap)),
        Measure::new("expected", Goal::None, |m| Some(m.expected_gap)),
        Measure::new("mixing", Goal::None, |m| Some(m.mixing.pooled)).shown(Cell::percent),
        Measure::new("support", Goal::Near(1.0), |m| Some(m.support.score)),
        Measure::new("Φ", Goal::Most, |m| Some(m.phi)).against_itself(),
        Measure::new("Ω", Goal::Most, |m| Some(m.omega)).against_itself(),
        Measure::new("JS within, bits", Goal::Least, |m| Some(m.js_within)),
        Measure::new("JS across, bits", Goal::Least, |m| Some(m.js_across)),
    ]
}

/// The methods with their main measures.
fn at_a_glance(page: &Page) -> String {
    let report = page.report;
    if report.methods.is_empty() {
        return "<p>The report names no methods.</p>\n".into();
    }
    let measures = measures();
    let mut table = Table::new(std::iter::once("method").chain(measures.iter().map(|m| m.label)));
    let columns: Vec<Vec<Cell>> = measures.iter().map(|m| m.cells(&report.methods)).collect();
    for (place, method) in report.methods.iter().enumerate() {
        let swatch = figure::swatch(Key::Line(page.palette.method(&method.name)));
        let moves = if method.moves_images { " †" } else { "" };
        let head = Cell::html(format!("{swatch} {}{moves}", text::escape(&method.name))).class("words");
        table.row(std::iter::once(head).chain(columns.iter().filter_map(|c| c.get(place).cloned())));
    }
    let sample = format!("{}. {}", figure::held_out(report), figure::probe(report));
    let dagger = if report.methods.iter().any(|m| m.moves_images) {
        " † moves the images as well; it is compared with the moved images."
    } else {
        ""
    };
    let reading = format!(
        "Good: gap and JS low, mixing near {} (a random mixture), support near 1, Φ and Ω high. A method that \
         closes the gap but loses Φ and Ω has thrown away what the texts said. The best of a column is \
         underlined green, but not of gaps, which cannot be ranked near what is expected of sampling, nor of \
         mixing, which texts crowded in one place have too; the identity does not compete where it compares \
         text with itself (grey).{dagger} \
         All measures are in the <a href=\"#methods\">full table</a>, their definitions under <a \
         href=\"#measured\">how it was measured</a>.",
        text::percent(chance_mixing(report))
    );
    let figure =
        Figure { title: "The methods at a glance", rows: Rows::HeldOut, sample: &sample, reading: &reading };
    figure.around(&table.draw())
}
