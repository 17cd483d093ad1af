//! How many rows statistics need.

use burn::tensor::Device;
use rand::seq::index;

use super::draws::Context;
use super::input::Input;
use super::methods::Measured;
use super::sections::{EfficiencyCurve, EfficiencyPoint};
use crate::Result;
use crate::alignment::{ClosedForm, Embeddings, Method};
use crate::embedding::{BLOCK_ROWS, EmbeddingTable, RawRows, Terms, parallel};
use crate::geometry::{Moments, difference, norm};
use crate::random::seeded_rng;

/// Numbers of rows, as in arXiv 2602.07026, App. E.1; the last point of a curve is all rows of the smaller set.
const ROWS: [usize; 8] = [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000];

/// The gap on all held-out rows, by rows of each modality in the statistics, for the methods whose statistics are vectors.
pub(super) fn sample_efficiency(
    context: &Context<'_>,
    measured: &[Measured],
) -> Result<Vec<EfficiencyCurve>> {
    let Context { input, config, device, .. } = context;
    let (texts, images) = (input.fit.text.unit.len(), input.fit.image.unit.len());
    let all = texts.min(images);
    let rows: Vec<usize> = ROWS.into_iter().filter(|&rows| rows < all).chain([all]).collect();
    let image_trace = input.fit.image.unit.trace();
    let mut curves = Vec::new();
    for (measured, method) in measured.iter().filter_map(|one| Some((one, one.refittable()?))) {
        let mut points = Vec::with_capacity(rows.len());
        for &rows in &rows {
            // All rows of both sets can be drawn in one way only.
            let draws = if rows == texts.max(images) { 1 } else { config.draws };
            let gaps = (0..draws as u64)
                .map(|draw| held_out_gap(method, input, rows, config.seed, draw, device))
                .collect::<Result<Vec<f64>>>()?;
            let floor = measured.report.sampling_floor;
            let predicted = ((image_trace + measured.fit_trace) / rows as f64 + floor * floor).sqrt();
            points.push(EfficiencyPoint { rows, gaps, predicted });
        }
        curves.push(EfficiencyCurve { method: measured.report.name.clone(), points });
    }
    Ok(curves)
}

/// The gap on the held-out half after a fit on some rows of each modality.
fn held_out_gap(
    method: &Method,
    input: &Input,
    rows: usize,
    seed: u64,
    draw: u64,
    device: &Device,
) -> Result<f64> {
    let drawn = |table: &EmbeddingTable, set: u64| {
        let mut rng = seeded_rng(seed, &[rows as u64, draw, set]);
        table.select(&index::sample(&mut rng, table.len(), rows).into_vec())
    };
    let (text, image) = (drawn(&input.fit.text.table, 0)?, drawn(&input.fit.image.table, 1)?);
    let aligner = method.fit(Embeddings::from(&text).with_device(device), &image)?;
    let form = aligner.closed_form().expect("a method whose statistics are vectors has a closed form");
    let seed = seeded_draw(seed, draw);
    let mean = aligned_mean(&form, &input.held_out.text.table, seed)?;
    Ok(norm(&difference(&input.held_out.image.unit.mean(), &mean)))
}

/// A seed for the noise of a draw.
fn seeded_draw(seed: u64, draw: u64) -> u64 {
    use rand::Rng;
    seeded_rng(seed, &[draw]).next_u64()
}

/// The mean of the aligned unit rows of a table.
pub(super) fn aligned_mean(form: &ClosedForm, text: &EmbeddingTable, seed: u64) -> Result<Vec<f64>> {
    let rows = RawRows::single(text.rows(), text.dim())?;
    if form.noise() > 0.0 {
        let mut aligned = vec![0.0; text.rows().len()];
        form.align_into(rows, Default::default(), seed, &mut aligned)?;
        let mut moments = Moments::new(text.dim());
        moments.update_unit_rows(&aligned, Default::default(), "aligned text")?;
        return Ok(moments.mean().to_vec());
    }
    let blocks = rows.blocks(BLOCK_ROWS).enumerate();
    let blocks = parallel::map(blocks, |(block, rows)| {
        form.moments(rows, Terms { policy: Default::default(), what: "text", first: block * BLOCK_ROWS })
    });
    let mut moments = Moments::new(text.dim());
    for block in blocks {
        moments.merge(&block?.0)?;
    }
    Ok(moments.mean().to_vec())
}
