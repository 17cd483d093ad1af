//! The residual of pairs: where the distance of a pair comes from.

use super::axis::Axis;
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette::PARTS;
use super::spectra;
use super::table::{Cell, Table};
use super::text;
use burn_revision::report::GapReport;
use burn_revision::report::sections::ResidualSection;

/// The figures, or why there are none.
pub(super) fn figures(report: &GapReport) -> String {
    match &report.gap.residual {
        Some(residual) => parts(residual) + &numbers(report, residual),
        None => "<p>The residual of pairs is left out: the held-out rows are not paired.</p>\n".into(),
    }
}

/// The mean squared distance of a pair as one bar of four parts.
fn parts(residual: &ResidualSection) -> String {
    let names = ["β: mean, in U", "γ: mean, in V", "δ: residual, in U", "ζ: residual, in V"];
    let ResidualSection { beta, gamma, delta_trace, zeta_trace, .. } = residual;
    let energies = [beta * beta, gamma * gamma, *delta_trace, *zeta_trace];
    let total: f64 = energies.iter().sum();
    let mut body = figure::legend(names.iter().zip(PARTS).zip(energies).map(|((name, stroke), energy)| {
        let words = format!("{name}: {} ({})", text::brief(energy), text::percent(energy / total));
        (Key::Area(stroke), words)
    }));
    if total.is_finite() && total > 0.0 {
        let mut from = 0.0;
        let bars: Vec<Mark> = energies
            .iter()
            .zip(PARTS)
            .map(|(energy, stroke)| {
                let to = from + energy;
                let bar = Mark::Bar { from: (from, 0.0), to: (to, 1.0), color: stroke.color, opacity: 1.0 };
                from = to;
                bar
            })
            .collect();
        let panel = Panel {
            size: (1140, 104),
            left: 20,
            right: 20,
            x: (Axis::between(0.0, total), "mean squared distance of a pair"),
            y: (Axis::bare(-0.15, 1.15), ""),
            label: "The mean squared distance of a pair, in four parts",
        };
        body.push_str(&panel.draw(&bars));
    }
    Figure {
        title: "Where the distance of a pair comes from",
        rows: Rows::HeldOut,
        sample: &sample(residual),
        reading: "The mean squared distance of an image and its text is exactly the sum of four parts; means are \
                  over pairs here, so a text counts once for each of its images. A shift \
                  removes only the dark ones (β, γ). What is left (δ, ζ) differs from pair to pair, and no \
                  common shift takes it away.",
    }
    .around(&body)
}

/// The pairs that were measured.
fn sample(residual: &ResidualSection) -> String {
    format!("Held-out half: {}", text::counted(residual.pairs, "pair"))
}

/// All numbers of the residual.
fn numbers(report: &GapReport, residual: &ResidualSection) -> String {
    let geometry = &residual.geometry;
    let mut table = Table::new(["quantity", "value", "how to read it"]);
    let mut row = |label: &str, value: Cell, reading: &str| table.reading(label, value, reading);
    row("mean cosine of pairs", Cell::number(residual.paired_cosine), "1 would be a pair at one point");
    row(
        "energy of the gap, ‖μ<sub>x</sub> − μ<sub>y</sub>‖²",
        Cell::number(geometry.gap_energy),
        "what a shift removes",
    );
    row("energy of the residual, tr Σ<sub>r</sub>", Cell::number(geometry.residual_energy), "what it leaves");
    row(
        "ratio of energies, R<sub>energy</sub>",
        Cell::percent(geometry.energy_ratio),
        "the share of the squared distance that is residual",
    );
    row(
        "ratio of distances, R<sub>dist</sub>",
        Cell::percent(geometry.distance_ratio),
        "the mean distance after a perfect shift, relative to before",
    );
    row("anisotropy, A<sub>r</sub>", Cell::number(geometry.anisotropy), "1 if all directions were alike");
    let dimensions = format!("at most {}, the dimensions of the space", text::count(report.data.dim));
    row("effective dimension, d<sub>eff</sub>", Cell::number(geometry.effective_dim), &dimensions);
    row("energy within U, tr Cov(δ)", Cell::number(residual.delta_trace), "");
    row("energy within V, tr Cov(ζ)", Cell::number(residual.zeta_trace), "");
    for (name, kappa) in [("U: κ(Cov δ)", &residual.kappa_u), ("V: κ(Cov ζ)", &residual.kappa_v)] {
        row(
            &format!("condition number within {name}, all"),
            spectra::condition(kappa.retained, kappa.retained_rank),
            "over all eigenvalues above rounding; 1 for a round cloud",
        );
        row(
            &format!("condition number within {name}, leading"),
            spectra::condition(kappa.leading, kappa.leading_rank),
            "over the leading eigenvalues only",
        );
    }
    row(
        "angle of γ to the first principal direction of ζ, degrees",
        Cell::optional(residual.gamma_angle, "γ or ζ is zero"),
        "near 90: the constant bias is not what varies most",
    );
    let coupling = &residual.coupling;
    row(
        "coupling of V to U, ‖L‖<sub>2</sub>",
        Cell::number(coupling.norm),
        &format!("near 0: ζ does not follow δ; ridge {}", text::brief(coupling.ridge)),
    );
    row(
        "share of ζ that δ explains, R²",
        Cell::percent(coupling.r_squared),
        &format!("in-sample; unrelated parts would give {}", text::percent(coupling.r_squared_of_chance)),
    );
    Figure {
        title: "The residual of pairs in numbers",
        rows: Rows::HeldOut,
        sample: &sample(residual),
        reading: "The residual is measured in the frame of the fit half. A residual far from round \
                  (A<sub>r</sub> well above 1, d<sub>eff</sub> well below the dimensions) cannot be imitated \
                  by isotropic noise.",
    }
    .around(&table.draw())
}
