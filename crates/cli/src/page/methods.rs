//! All measures of all methods, and their spectra.

use super::chart::Mark;
use super::figure::{self, Figure, Key, Rows};
use super::measure::{Goal, Measure};
use super::palette;
use super::section::{Page, Section};
use super::spectra;
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::GapReport;

/// Why a method has no measure of pairs.
const NO_PAIRS: &str = "the held-out rows are not paired";

/// Why a method has no power law.
const NO_FIT: &str = "too few eigenvalues above rounding for a fit";

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let body = if page.report.methods.is_empty() {
        "<p>The report names no methods.</p>\n".into()
    } else {
        table(page) + &aligned_spectra(page)
    };
    Section { id: "methods", title: "All measures of all methods", rows: Some(Rows::HeldOut), body }
}

/// Measures under one title.
type Group = (&'static str, Vec<Measure>);

/// All measures.
fn groups(report: &GapReport) -> Vec<Group> {
    let image = &report.geometry.image;
    let near = Goal::Near;
    let pairs = |label, goal, get| Measure::new(label, goal, get).or(NO_PAIRS);
    vec![
        (
            "Gap of the centroids",
            vec![
                Measure::new("gap on the fit half (in-sample)", Goal::None, |m| Some(m.fit_gap)),
                Measure::new("gap", Goal::None, |m| Some(m.gap)),
                Measure::new("sampling floor of the gap", Goal::None, |m| Some(m.sampling_floor)),
                Measure::new("expected of sampling, both halves", Goal::None, |m| Some(m.expected_gap)),
                Measure::new("gap ÷ expected", Goal::None, |m| Some(m.gap / m.expected_gap)),
            ],
        ),
        (
            "Shape of the aligned text",
            vec![
                Measure::new("distance of the covariances, G<sub>Σ</sub>", Goal::Least, |m| {
                    Some(m.covariance_gap)
                }),
                Measure::new("trace", near(image.trace), |m| Some(m.trace)).of_images_left_alone(),
                Measure::new("effective rank", near(image.spectrum.effective_rank), |m| {
                    Some(m.effective_rank)
                })
                .of_images_left_alone(),
                Measure::new(
                    "power-law exponent α",
                    near(image.spectrum.power_law.map_or(f64::NAN, |law| law.exponent)),
                    |m| m.power_law.map(|law| law.exponent),
                )
                .of_images_left_alone()
                .or(NO_FIT),
                Measure::new("first eigenvalue of that fit", Goal::None, |m| {
                    m.power_law.map(|law| law.first as f64)
                })
                .shown(whole)
                .or(NO_FIT),
                Measure::new("last eigenvalue of that fit", Goal::None, |m| {
                    m.power_law.map(|law| law.last as f64)
                })
                .shown(whole)
                .or(NO_FIT),
                Measure::new("R² of that fit", Goal::None, |m| m.power_law.map(|law| law.r_squared))
                    .or(NO_FIT),
            ],
        ),
        (
            "Mixing among neighbours (probe)",
            vec![
                Measure::new("mixing, all rows", Goal::None, |m| Some(m.mixing.pooled)).shown(Cell::percent),
                Measure::new("mixing, images around text", Goal::None, |m| Some(m.mixing.text_to_image))
                    .shown(Cell::percent),
                Measure::new("mixing, text around images", Goal::None, |m| Some(m.mixing.image_to_text))
                    .shown(Cell::percent),
                Measure::new("local support, all rows", near(1.0), |m| Some(m.support.score)),
                Measure::new("penetration (asked of the text)", near(1.0), |m| Some(m.support.penetration)),
                Measure::new("coverage (asked of the images)", near(1.0), |m| Some(m.support.coverage)),
                Measure::new("normaliser of the support, bits", Goal::None, |m| Some(m.support.normalizer)),
            ],
        ),
        (
            "What the text keeps of itself",
            vec![
                Measure::new("share of neighbours kept, Ω<sub>k</sub>", Goal::Most, |m| Some(m.omega))
                    .against_itself(),
                Measure::new("mean cosine to itself before, Φ", Goal::Most, |m| Some(m.phi)).against_itself(),
                Measure::new("correlation of cosines, Ψ", Goal::Most, |m| Some(m.psi)).against_itself(),
            ],
        ),
        (
            "Cosines against those within the images (probe)",
            vec![
                Measure::new("JS divergence, within the text, bits", Goal::Least, |m| Some(m.js_within)),
                Measure::new("JS divergence, text to images, bits", Goal::Least, |m| Some(m.js_across)),
            ],
        ),
        (
            "Pairs",
            vec![
                pairs("mean cosine of pairs", Goal::Most, |m| m.pairs.as_ref().map(|p| p.cosine)),
                pairs("distribution gap, G<sub>D</sub>", Goal::Least, |m| {
                    m.pairs.as_ref().and_then(|p| p.distribution_gap)
                }),
                pairs("anisotropy of x − z, A<sub>r</sub>(T)", Goal::Least, |m| {
                    m.pairs.as_ref().map(|p| p.anisotropy)
                }),
                pairs("recall at 1, image to text", Goal::Most, |m| m.pairs.as_ref().map(|p| p.recall_at_1))
                    .shown(Cell::percent),
                pairs("recall at 10, image to text", Goal::Most, |m| {
                    m.pairs.as_ref().map(|p| p.recall_at_10)
                })
                .shown(Cell::percent),
            ],
        ),
    ]
}

/// A count that came as a number.
fn whole(value: f64) -> Cell {
    Cell::count(value as usize)
}

/// What is good, in words.
fn goal(measure: &Measure) -> Cell {
    match measure.goal {
        Goal::Least => Cell::words("low").class("goal"),
        Goal::Most => Cell::words("high").class("goal"),
        Goal::Near(target) if target.is_finite() => (measure.show)(target).after("near ").class("goal"),
        Goal::None | Goal::Near(_) => Cell::default(),
    }
}

/// The table: a column for each method.
fn table(page: &Page) -> String {
    let report = page.report;
    let methods = &report.methods;
    let heads = methods.iter().map(|method| {
        let moves = if method.moves_images { " †" } else { "" };
        let swatch = figure::swatch(Key::Line(page.palette.method(&method.name)));
        format!("{swatch}<br/>{}{moves}", text::escape(&method.name))
    });
    let mut table =
        Table::new(["measure".into(), "good is".into()].into_iter().chain(heads)).class("methods");
    let row = |label: &str, good: Cell, cells: Vec<Cell>| {
        [Cell::html(label), good].into_iter().chain(cells).collect::<Vec<_>>()
    };
    for (title, measures) in groups(report) {
        table.group(title);
        for measure in measures {
            table.row(row(measure.label, goal(&measure), measure.cells(methods)));
        }
    }
    table.group("The method");
    let noise = methods.iter().map(|m| Cell::number(m.noise)).collect();
    table.row(row("standard deviation of its noise, each coordinate", Cell::default(), noise));
    let moves = methods.iter().map(|m| Cell::html(if m.moves_images { "yes †" } else { "no" })).collect();
    table.row(row("moves the images as well", Cell::default(), moves));
    let source = methods.iter().map(|m| Cell::words(&m.source)).collect();
    table.row(row("published in", Cell::default(), source));
    let sample = format!("{}. {}", figure::held_out(report), figure::probe(report));
    let reading = "The best of each row is underlined green; grey numbers are trivial, because the identity \
                   compares text with itself. Targets for trace, effective rank and exponent are those of the \
                   images of the fit half. Gaps near what is expected of sampling cannot be ranked, and a \
                   mixing rate has no best. † compared with the images as the method moves them.";
    Figure { title: "Measures by method", rows: Rows::HeldOut, sample: &sample, reading }
        .around(&table.draw())
}

/// The spectra of the aligned text against that of the images.
fn aligned_spectra(page: &Page) -> String {
    let report = page.report;
    let image = &report.geometry.image.spectrum;
    let mut curves =
        vec![("images (fit half)", palette::IMAGE, spectra::thinned(&image.eigenvalues, image.rank))];
    for method in &report.methods {
        let values = &method.eigenvalues;
        let first = values.first().copied().unwrap_or(0.0);
        // Eigenvalues so far below the first are rounding.
        let rank = values.iter().take_while(|v| **v > first * 1e-12).count();
        curves.push((&method.name, page.palette.method(&method.name), spectra::thinned(values, rank)));
    }
    let label = "Spectra of the aligned text of each method and of the images";
    let points = curves.iter().flat_map(|(_, _, points)| points);
    let Some(panel) = spectra::panel(points, 400, label) else { return String::new() };
    let legend =
        figure::legend(curves.iter().map(|(name, stroke, _)| (Key::Line(*stroke), (*name).to_owned())));
    let marks: Vec<Mark> = curves
        .iter()
        .enumerate()
        .map(|(place, (_, stroke, points))| {
            let width = if place == 0 { 4 } else { 2 };
            Mark::Line { points: points.clone(), stroke: *stroke, width }
        })
        .collect();
    let images = text::counted(report.data.image.fit, "row");
    let sample = format!("{}. Thick line: images of the fit half, {images}", figure::held_out(report));
    Figure {
        title: "Spectra after alignment",
        rows: Rows::Mixed,
        sample: &sample,
        reading: "Good: the line of a method lies on the thick line of the images over the leading directions. \
                  A flat shelf on the right is noise that the method has added. The ends of the lines depend \
                  on how many rows there were, so do not compare those.",
    }
    .around(&(legend + &panel.draw(&marks)))
}
