//! Densities of cosines on one grid for all methods, and the divergences that follow.

use super::draws::{Context, probe};
use super::methods::Measured;
use super::sections::{CosineDensity, CosineSection};
use crate::geometry::{DensityGrid, js_divergence, pair_products};

/// The points of the grid.
const GRID: usize = 512;

/// The densities of all methods; fills in the divergences of their reports.
pub(super) fn cosines(context: &Context<'_>, measured: &mut [Measured]) -> CosineSection {
    let image_probe = probe(&context.input.held_out.image.unit, context.draws.images);
    let prior = pair_products(&image_probe, &image_probe, &context.draws.within_image);
    let others: Vec<&[f64]> = measured
        .iter()
        .flat_map(|one| {
            [Some(&one.cosines.within), Some(&one.cosines.across), one.cosines.within_image.as_ref()]
        })
        .flatten()
        .map(Vec::as_slice)
        .collect();
    let grid = DensityGrid::new(&prior, &others, GRID);
    let image = grid.density(&prior);
    let mut methods = Vec::with_capacity(measured.len());
    for one in measured {
        let own_prior = one.cosines.within_image.as_ref().map(|sample| grid.density(sample));
        let prior = own_prior.as_deref().unwrap_or(&image);
        let (within, across) = (grid.density(&one.cosines.within), grid.density(&one.cosines.across));
        one.report.js_within = js_divergence(&within, prior);
        one.report.js_across = js_divergence(&across, prior);
        methods.push(CosineDensity { method: one.report.name.clone(), within, across, prior: own_prior });
    }
    CosineSection {
        pairs: prior.len(),
        bandwidth: grid.bandwidth(),
        grid: grid.points().to_vec(),
        image,
        methods,
    }
}
