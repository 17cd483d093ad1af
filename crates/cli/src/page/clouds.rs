//! The two modalities as they are: spectra, and what they say of shape and size.

use super::axis::Axis;
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette::{IMAGE, REFERENCE, RESIDUAL, Stroke, TEXT};
use super::section::{Page, Section};
use super::spectra;
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::GapReport;
use burn_revision::report::sections::{ModalityGeometry, SpectrumReport};

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let report = page.report;
    let body = spectra(report) + &cumulative(report) + &shape(report) + &relation(report);
    Section { id: "clouds", title: "The two clouds", rows: Some(rows_of(report)), body }
}

/// A line: its name, spectrum and stroke.
type Named<'a> = (&'a str, &'a SpectrumReport, Stroke);

/// The spectra that there are.
fn named(report: &GapReport) -> Vec<Named<'_>> {
    let mut spectra = vec![
        ("text", &report.geometry.text.spectrum, TEXT),
        ("images", &report.geometry.image.spectrum, IMAGE),
    ];
    if let Some(residual) = &report.gap.residual {
        spectra.push(("residual of pairs (held out)", &residual.spectrum, RESIDUAL));
    }
    spectra
}

/// The fit half, and the held-out half where the residual is shown with the clouds.
fn rows_of(report: &GapReport) -> Rows {
    if report.gap.residual.is_some() { Rows::Mixed } else { Rows::Fit }
}

/// The sizes of the fit half, and of the residual where there is one.
fn sample(report: &GapReport) -> String {
    let pairs = report.gap.residual.as_ref().map_or(String::new(), |residual| {
        format!("; residual: {} of the held-out half", text::counted(residual.pairs, "pair"))
    });
    format!("{}{pairs}", figure::fit_half(report))
}

/// The fitted power law as the two ends of a line.
fn fitted(spectrum: &SpectrumReport) -> Option<[(f64, f64); 2]> {
    let law = spectrum.power_law?;
    let range = spectrum.eigenvalues.get(law.first.checked_sub(1)?..law.last)?;
    let mut offset = 0.0;
    for (place, value) in range.iter().enumerate() {
        offset += value.ln() + law.exponent * ((law.first + place) as f64).ln();
    }
    let offset = offset / range.len() as f64;
    let at = |index: usize| (index as f64, (offset - law.exponent * (index as f64).ln()).exp());
    Some([at(law.first), at(law.last)])
}

/// The spectra on logarithmic axes.
fn spectra(report: &GapReport) -> String {
    let named = named(report);
    let lines: Vec<Vec<(f64, f64)>> =
        named.iter().map(|(_, s, _)| spectra::thinned(&s.eigenvalues, s.rank)).collect();
    let label = "Spectra of text, images and the residual on logarithmic axes";
    let Some(panel) = spectra::panel(lines.iter().flatten(), 420, label) else {
        return "<p>No spectrum has an eigenvalue above rounding.</p>\n".into();
    };
    let mut marks: Vec<Mark> = named
        .iter()
        .zip(&lines)
        .map(|((_, _, stroke), points)| Mark::Line { points: points.clone(), stroke: *stroke, width: 2 })
        .collect();
    marks.extend(named.iter().filter_map(|(_, spectrum, _)| fitted(spectrum)).map(|ends| Mark::Line {
        points: ends.to_vec(),
        stroke: REFERENCE,
        width: 2,
    }));
    let mut entries: Vec<(Key, String)> =
        named.iter().map(|(name, _, stroke)| (Key::Line(*stroke), (*name).to_owned())).collect();
    entries.push((Key::Line(REFERENCE), "fitted power laws, over the range of the fit".into()));
    let body = figure::legend(entries) + &panel.draw(&marks);
    Figure {
        title: "Spectra",
        rows: rows_of(report),
        sample: &sample(report),
        reading: "A straight line is a power law, and a steep one a cloud that few directions rule. Where text \
                  and images run in parallel, one factor of scale makes the one spectrum of the other, which \
                  is what ReAlign assumes. Eigenvalues that rounding alone has made are left out.",
    }
    .around(&body)
}

/// The share of the trace that the leading eigenvalues hold.
fn cumulative(report: &GapReport) -> String {
    let mut marks = Vec::new();
    let mut indices = Vec::new();
    for (_, spectrum, stroke) in named(report) {
        let values = spectrum.eigenvalues.iter().take(spectrum.rank);
        let total: f64 = values.clone().sum();
        let mut sum = 0.0;
        let shares: Vec<f64> = values
            .map(|value| {
                sum += value;
                sum / total
            })
            .collect();
        if shares.len() > 1 {
            let points = spectra::thinned(&shares, shares.len());
            indices.extend(points.iter().map(|p| p.0));
            marks.push(Mark::Line { points, stroke, width: 2 });
        }
    }
    if marks.is_empty() {
        return String::new();
    }
    let panel = Panel {
        size: (1140, 330),
        left: 78,
        right: 20,
        x: (Axis::logarithmic(indices), "number of leading eigenvalues"),
        y: (Axis::between(0.0, 1.02), "share of the trace"),
        label: "Share of the variance that the leading eigenvalues hold",
    };
    let legend = figure::legend(
        named(report).iter().map(|(name, _, stroke)| (Key::Line(*stroke), (*name).to_owned())),
    );
    Figure {
        title: "Variance by number of directions",
        rows: rows_of(report),
        sample: &sample(report),
        reading: "How many directions hold how much of the variance. A curve that climbs early belongs to a \
                  thin, anisotropic cloud; a residual that climbs early could be corrected in few directions.",
    }
    .around(&(legend + &panel.draw(&marks)))
}

/// What a table says of one cloud.
struct Column<'a> {
    head: &'static str,
    rows: usize,
    mean_norm: Cell,
    trace: f64,
    spectrum: &'a SpectrumReport,
}

/// The numbers of both modalities and of the residual.
fn shape(report: &GapReport) -> String {
    let modality =
        |head, geometry: &'_ ModalityGeometry| (head, geometry.rows, geometry.mean_norm, geometry.trace);
    let of = |(head, rows, norm, trace), spectrum| Column {
        head,
        rows,
        mean_norm: Cell::number(norm),
        trace,
        spectrum,
    };
    let (text, image) = (&report.geometry.text, &report.geometry.image);
    let mut columns =
        vec![of(modality("text", text), &text.spectrum), of(modality("images", image), &image.spectrum)];
    if let Some(residual) = &report.gap.residual {
        columns.push(Column {
            head: "residual of pairs <small>(held out)</small>",
            rows: residual.pairs,
            mean_norm: Cell::none("the residual is centred"),
            trace: residual.geometry.residual_energy,
            spectrum: &residual.spectrum,
        });
    }
    let mut table = Table::new(std::iter::once("quantity").chain(columns.iter().map(|c| c.head)));
    let mut row = |label: String, cell: &dyn Fn(&Column) -> Cell| {
        table.row(std::iter::once(Cell::html(label)).chain(columns.iter().map(cell)));
    };
    row("rows or pairs".into(), &|c| Cell::count(c.rows));
    row("norm of the mean, ‖μ‖".into(), &|c| c.mean_norm.clone());
    row("trace, tr Σ".into(), &|c| Cell::number(c.trace));
    row("rank above rounding".into(), &|c| Cell::count(c.spectrum.rank));
    row("effective rank".into(), &|c| Cell::number(c.spectrum.effective_rank));
    row("participation ratio".into(), &|c| Cell::number(c.spectrum.participation_ratio));
    row("power-law exponent α".into(), &|c| spectra::power_law(c.spectrum.power_law));
    row("condition number, all: λ<sub>1</sub> / λ<sub>n</sub> over the rank above rounding".into(), &|c| {
        spectra::condition(c.spectrum.condition.retained, c.spectrum.condition.retained_rank)
    });
    row("condition number, leading: λ<sub>1</sub> / λ<sub>r</sub> over the first r".into(), &|c| {
        spectra::condition(c.spectrum.condition.leading, c.spectrum.condition.leading_rank)
    });
    for share in shares(&columns) {
        row(format!("eigenvalues that hold {} of the trace", text::share(share)), &|c| {
            let rank = c.spectrum.energy.iter().find(|e| e.share == share);
            rank.map_or_else(|| Cell::none("not counted for this share"), |e| Cell::count(e.rank))
        });
    }
    Figure {
        title: "Size and shape",
        rows: rows_of(report),
        sample: &sample(report),
        reading: "For unit rows the trace is 1 − ‖μ‖², so the norm of the mean and the trace tell the same \
                  story. The effective rank and the participation ratio both count the directions that matter; \
                  the second gives the largest ones more weight.",
    }
    .around(&table.draw())
}

/// All finite shares that any spectrum was counted for, ascending.
fn shares(columns: &[Column]) -> Vec<f64> {
    let mut shares: Vec<f64> = columns
        .iter()
        .flat_map(|c| c.spectrum.energy.iter().map(|e| e.share))
        .filter(|s| s.is_finite())
        .collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    shares
}

/// How the two clouds compare.
fn relation(report: &GapReport) -> String {
    let geometry = &report.geometry;
    let mut table = Table::new(["quantity", "value", "good is"]);
    let mut row = |label: &str, value: Cell, reading: &str| table.reading(label, value, reading);
    row("distance of the means, G<sub>μ</sub>", Cell::number(geometry.mean_gap), "0");
    row("distance of the covariances, G<sub>Σ</sub>, relative", Cell::number(geometry.covariance_gap), "0");
    row(
        "correlation of the log spectra, C<sub>λ</sub>",
        Cell::optional(geometry.spectral_correlation, "fewer than three eigenvalues in common"),
        "1",
    );
    let overlap = &geometry.overlap;
    row(
        &format!("overlap of the leading {} directions, O<sub>q</sub>", text::count(overlap.q)),
        Cell::number(overlap.value),
        &format!("1; random subspaces have {}", text::brief(overlap.random)),
    );
    Figure {
        title: "How the clouds compare",
        rows: Rows::Fit,
        sample: &figure::fit_half(report),
        reading: "The usual picture: spectra of nearly the same form (C<sub>λ</sub> near 1), leading \
                  directions that agree far better than chance but not fully (O<sub>q</sub>), and means that \
                  lie well apart (G<sub>μ</sub>). Only the last of these is repaired by a shift.",
    }
    .around(&table.draw())
}
