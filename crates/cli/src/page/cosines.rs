//! Densities of cosines within and across the clouds.

use super::axis::{Axis, drawable};
use super::chart::{Mark, Panel};
use super::figure::{self, Figure, Key, Rows};
use super::palette;
use super::section::{Page, Section};
use super::text;
use burn_revision::report::sections::{CosineDensity, CosineSection, MethodReport};

/// The ends of the grid where all densities are below this share of the highest are cut off.
const NEGLIGIBLE: f64 = 0.002;

/// The section.
pub(super) fn section(page: &Page) -> Section {
    let cosines = &page.report.cosines;
    let body = if cosines.grid.len() < 2 || !curves(cosines).flatten().any(|v| drawable(*v)) {
        "<p>The report has no densities of cosines.</p>\n".into()
    } else {
        let within = Panels {
            title: "Cosines within each cloud",
            label: "Densities of cosines within the images and within the aligned text of each method",
            reading: "How alike two images are to each other (grey area, the prior to imitate) and how alike \
                      two texts are after each method. Good: the line lies on the edge of the grey area and \
                      the Jensen-Shannon divergence (JS) is near 0 bits; 1 bit is no overlap at all. † compared with the \
                      images as the method moves them, which are not drawn.",
            density: |m| &m.within,
            divergence: |m| m.js_within,
        };
        let across = Panels {
            title: "Cosines across the clouds",
            label: "Densities of cosines between images and the aligned text of each method",
            reading: "How alike an image and an unrelated text are, against the same grey area. Before \
                      alignment the gap pushes these cosines to the left; a text that could stand in for an \
                      image would meet images just as another image does.",
            density: |m| &m.across,
            divergence: |m| m.js_across,
        };
        within.draw(page) + &across.draw(page)
    };
    Section { id: "cosines", title: "Cosine densities", rows: Some(Rows::HeldOut), body }
}

/// All densities.
fn curves(cosines: &CosineSection) -> impl Iterator<Item = &Vec<f64>> {
    std::iter::once(&cosines.image).chain(cosines.methods.iter().flat_map(|m| [&m.within, &m.across]))
}

/// The part of the grid where any density is worth showing.
fn visible(cosines: &CosineSection) -> (f64, f64) {
    let most = curves(cosines).flatten().copied().filter(|v| drawable(*v)).fold(0.0, f64::max);
    let shown = |place: usize| {
        curves(cosines).any(|curve| curve.get(place).is_some_and(|v| drawable(*v) && *v > most * NEGLIGIBLE))
    };
    let grid = || cosines.grid.iter().copied().enumerate().filter(|(place, v)| drawable(*v) && shown(*place));
    let low = grid().map(|(_, v)| v).fold(f64::INFINITY, f64::min);
    let high = grid().map(|(_, v)| v).fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

/// One of the two charts.
struct Panels {
    title: &'static str,
    label: &'static str,
    reading: &'static str,
    density: fn(&CosineDensity) -> &Vec<f64>,
    divergence: fn(&MethodReport) -> f64,
}

impl Panels {
    /// The chart with its legend.
    fn draw(&self, page: &Page) -> String {
        let report = page.report;
        let cosines = &report.cosines;
        let (low, high) = visible(cosines);
        let points = |density: &[f64]| -> Vec<(f64, f64)> {
            let all = cosines.grid.iter().copied().zip(density.iter().copied());
            all.filter(|(x, _)| (low..=high).contains(x)).collect()
        };
        let prior = points(&cosines.image);
        let mut entries =
            vec![(Key::Area(palette::solid(0xC9, 0xC9, 0xC9)), "within the images (prior)".into())];
        let mut marks = vec![
            Mark::Area { points: prior.clone(), color: palette::IMAGE.color, opacity: 0.25 },
            Mark::Line { points: prior.clone(), stroke: palette::IMAGE, width: 1 },
        ];
        let mut heights: Vec<f64> = prior.iter().map(|p| p.1).collect();
        for method in &cosines.methods {
            let curve = points((self.density)(method));
            heights.extend(curve.iter().map(|p| p.1));
            let stroke = page.palette.method(&method.method);
            let divergence = report.methods.iter().find(|m| m.name == method.method).map(self.divergence);
            let divergence = divergence.map_or(String::new(), |js| format!(": JS {} bits", text::brief(js)));
            let mark = if method.prior.is_some() { " †" } else { "" };
            entries.push((Key::Line(stroke), format!("{}{mark}{divergence}", method.method)));
            marks.push(Mark::Line { points: curve, stroke, width: 2 });
        }
        let panel = Panel {
            size: (1140, 380),
            left: 62,
            right: 20,
            x: (Axis::between(low, high), "cosine"),
            y: (Axis::from_zero(heights), "density"),
            label: self.label,
        };
        let body = figure::legend(entries) + &panel.draw(&marks);
        let sample = format!(
            "{}; {} drawn for each density, kernel of width {}",
            figure::probe(report),
            text::counted(cosines.pairs, "pair"),
            text::brief(cosines.bandwidth)
        );
        Figure { title: self.title, rows: Rows::HeldOut, sample: &sample, reading: self.reading }
            .around(&body)
    }
}
