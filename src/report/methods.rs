//! What each method makes of the held-out half.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::ReportConfig;
use super::gap::{covariance_gap, difference, norm, paired};
use super::input::{Input, Side};
use super::model::{CosineDensity, CosineSection, MethodPairs, MethodReport, ProjectedMethod, Projection};
use super::samples::{Samples, probe};
use crate::Result;
use crate::alignment::{Aligner, Method, align_table};
use crate::embedding::EmbeddingTable;
use crate::geometry::{
    Cloud, DensityGrid, KnnConfig, KnnMixing, Spectrum, SupportScore, js_divergence, linalg,
    neighbour_overlap, pair_products, similarity_correlation, union,
};

/// The points of the grid of densities.
const GRID: usize = 512;
/// Points of a set in the plane.
const PLANE: usize = 800;
/// Rows of images that are compared with all texts at once.
const BLOCK: usize = 512;

/// A method, measured but for the divergences, whose grid depends on all methods.
pub(super) struct Measured {
    pub method: Method,
    pub report: MethodReport,
    /// The aligned text of the held-out half.
    pub text: Cloud,
    /// The images of the held-out half as the method leaves them, where it moves them.
    pub image: Option<Cloud>,
    within: Vec<f64>,
    across: Vec<f64>,
    within_image: Option<Vec<f64>>,
}

/// The name of a method in a report.
pub(super) fn name(method: &Method) -> String {
    method.to_string().replace('-', "_")
}

impl Measured {
    /// Whether the method is not trivial, leaves images alone, and has means and spreads for statistics.
    pub fn has_vectors(&self) -> bool {
        let method = self.method;
        !(method.needs_covariance() || method.moves_images() || method == Method::Identity)
    }

    pub fn new(
        method: &Method,
        input: &Input,
        config: &ReportConfig,
        device: &Device,
        samples: &mut Samples,
    ) -> Result<Self> {
        let name = name(method);
        let (fit, held_out) = (&input.fit, &input.held_out);
        let method = method.with_ridge(config.ridge).with_energy(config.energy);
        let (aligner, _) =
            method.fit_tables(&fit.text.table, &fit.image.table, Default::default(), device)?;
        // Noise depends on the seed and the number of the row: the halves must not share it.
        let aligned = |side: &Side, seed| align(aligner.as_ref(), side, seed, device);
        let (fit_table, text_table) =
            (aligned(&fit.text, config.seed)?, aligned(&held_out.text, !config.seed)?);
        let moved = |side: &Side| move_images(aligner.as_ref(), side, device);
        let (fit_image_table, image_table) = (moved(&fit.image)?, moved(&held_out.image)?);
        samples.method(&name, [&text_table, &fit_table], [image_table.as_ref(), fit_image_table.as_ref()]);

        let unit = |table: &EmbeddingTable| Cloud::unit(table, &name);
        let (fit_text, text) = (unit(&fit_table)?, unit(&text_table)?);
        let fit_image = fit_image_table.as_ref().map(unit).transpose()?;
        let moved_image = image_table.as_ref().map(unit).transpose()?;
        let fit_image = fit_image.as_ref().unwrap_or(&fit.image.unit);
        let image = moved_image.as_ref().unwrap_or(&held_out.image.unit);

        let (text_probe, image_probe) =
            (probe(&text, &samples.text_probe), probe(image, &samples.image_probe));
        let knn = KnnConfig::new().with_k(config.k);
        let neighbours = knn.find(&union(&text_probe, &image_probe)?, device)?;
        let own = knn.find(&text_probe, device)?;
        samples.neighbours(&name, &neighbours, &own);

        let covariance = text.covariance();
        let spectrum = Spectrum::values_of(&covariance, text.dim(), text.len())?;
        let pairs = match &held_out.pairs {
            Some(pairs) => Some(measure_pairs(&text, image, pairs, samples)?),
            None => None,
        };
        let within = pair_products(&text_probe, &text_probe, &samples.within_text);
        let report = MethodReport {
            name,
            source: method.source().to_string(),
            moves_images: aligner.moves_images(),
            noise: aligner.noise(),
            fit_gap: norm(&difference(&fit_image.mean(), &fit_text.mean())),
            gap: norm(&difference(&image.mean(), &text.mean())),
            sampling_floor: sampling_floor(&text, image, held_out.pairs.as_deref()),
            trace: text.trace(),
            effective_rank: spectrum.effective_rank(),
            power_law: spectrum.power_law(),
            covariance_gap: covariance_gap(&image.covariance(), &covariance),
            eigenvalues: spectrum.eigenvalues().to_vec(),
            mixing: KnnMixing::of(&neighbours, text_probe.len())?,
            support: SupportScore::of(&neighbours, text_probe.len())?,
            omega: neighbour_overlap(&samples.text_neighbours, &own)?,
            phi: mean_product(&held_out.text.unit, &text),
            psi: similarity_correlation(&samples.before, &within),
            js_within: 0.0,
            js_across: 0.0,
            pairs,
        };
        let across = pair_products(&text_probe, &image_probe, &samples.across);
        let within_image =
            moved_image.as_ref().map(|_| pair_products(&image_probe, &image_probe, &samples.within_image));
        Ok(Self { method, report, text, image: moved_image, within, across, within_image })
    }
}

fn align(aligner: &(dyn Aligner + Sync), side: &Side, seed: u64, device: &Device) -> Result<EmbeddingTable> {
    align_table(aligner, &side.table, Default::default(), seed, device).map(|(table, _)| table)
}

/// The images as the method leaves them; nothing where it does not move them.
fn move_images(
    aligner: &(dyn Aligner + Sync),
    side: &Side,
    device: &Device,
) -> Result<Option<EmbeddingTable>> {
    if !aligner.moves_images() {
        return Ok(None);
    }
    let dtype = if device.supports_dtype(DType::F64) { DType::F64 } else { DType::F32 };
    let data = TensorData::new(side.unit.values().to_vec(), [side.unit.len(), side.unit.dim()]);
    let moved = aligner.align_image(Tensor::from_data(data, (device, dtype)));
    EmbeddingTable::from_tensor(side.table.ids().to_vec(), moved).map(Some)
}

/// The gap that a method without any error would show on this half.
fn sampling_floor(text: &Cloud, image: &Cloud, pairs: Option<&[[u32; 2]]>) -> f64 {
    match pairs {
        Some(pairs) => {
            let (text, image) = paired(text, image, pairs);
            let residual = image.difference(&text).expect("pairs have two sides of one shape");
            (residual.trace() / pairs.len() as f64).sqrt()
        }
        None => (image.trace() / image.len() as f64 + text.trace() / text.len() as f64).sqrt(),
    }
}

/// The mean product of rows that stand in the same place.
fn mean_product(a: &Cloud, b: &Cloud) -> f64 {
    a.values().iter().zip(b.values()).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
}

fn measure_pairs(text: &Cloud, image: &Cloud, pairs: &[[u32; 2]], samples: &Samples) -> Result<MethodPairs> {
    let (own, images) = paired(text, image, pairs);
    let moment = images.difference(&own)?.second_moment();
    let spectrum = Spectrum::values_of(&moment, text.dim(), pairs.len())?;
    // The probe is the beginning of a half.
    let (texts, probed) = (samples.text_probe.len() as u32, samples.image_probe.len() as u32);
    let probed: Vec<[u32; 2]> =
        pairs.iter().filter(|[text, image]| *text < texts && *image < probed).copied().collect();
    let ranks = ranks(text, image, &probed, texts as usize);
    let share =
        |most: usize| ranks.iter().filter(|&&rank| rank < most).count() as f64 / ranks.len().max(1) as f64;
    Ok(MethodPairs {
        cosine: mean_product(&own, &images),
        anisotropy: spectrum.anisotropy(),
        recall_at_1: share(1),
        recall_at_10: share(10),
    })
}

/// How many of the first `texts` texts are no further from an image than its own.
fn ranks(text: &Cloud, image: &Cloud, pairs: &[[u32; 2]], texts: usize) -> Vec<usize> {
    let dim = text.dim();
    let all = &text.values()[..texts * dim];
    let mut ranks = Vec::with_capacity(pairs.len());
    for block in pairs.chunks(BLOCK) {
        let images = image.select(&block.iter().map(|pair| pair[1] as usize).collect::<Vec<_>>());
        let cosines = linalg::matmul_transposed_b(images.values(), [block.len(), dim], all, [texts, dim]);
        for (cosines, [own, _]) in cosines.chunks_exact(texts).zip(block) {
            let own_cosine = cosines[*own as usize];
            ranks.push(cosines.iter().filter(|&&cosine| cosine >= own_cosine).count() - 1);
        }
    }
    ranks
}

/// The densities of all methods on one grid, and the methods with their divergences.
pub(super) fn cosines(
    input: &Input,
    measured: Vec<Measured>,
    samples: &Samples,
) -> (CosineSection, Vec<Measured>) {
    let image_probe = probe(&input.held_out.image.unit, &samples.image_probe);
    let prior = pair_products(&image_probe, &image_probe, &samples.within_image);
    let others: Vec<&[f64]> = measured
        .iter()
        .flat_map(|one| [Some(&one.within), Some(&one.across), one.within_image.as_ref()])
        .flatten()
        .map(Vec::as_slice)
        .collect();
    let grid = DensityGrid::new(&prior, &others, GRID);
    let image = grid.density(&prior);
    let mut methods = Vec::with_capacity(measured.len());
    let mut finished = Vec::with_capacity(measured.len());
    for mut one in measured {
        let own_prior = one.within_image.as_ref().map(|sample| grid.density(sample));
        let prior = own_prior.as_deref().unwrap_or(&image);
        let (within, across) = (grid.density(&one.within), grid.density(&one.across));
        one.report.js_within = js_divergence(&within, prior);
        one.report.js_across = js_divergence(&across, prior);
        methods.push(CosineDensity { method: one.report.name.clone(), within, across });
        finished.push(one);
    }
    let section = CosineSection {
        pairs: prior.len(),
        bandwidth: grid.bandwidth(),
        grid: grid.points().to_vec(),
        image,
        methods,
    };
    (section, finished)
}

/// The plane of the gap and of the first principal component across it.
pub(super) fn projection(input: &Input, measured: &[Measured]) -> Result<Projection> {
    let (text, image) = (&input.fit.text.unit, &input.fit.image.unit);
    let all = union(text, image)?;
    let origin = all.mean();
    let covariance = all.covariance();
    let spectrum = Spectrum::of(&covariance, all.dim(), all.len())?;
    let mut first = difference(&image.mean(), &text.mean());
    if !scale_to_unit(&mut first) {
        first = spectrum.eigenvector(0).expect("eigenvectors were asked for").to_vec();
    }
    // The covariance across the first axis: (I - a a^T) C (I - a a^T).
    let dim = all.dim();
    let moved = linalg::matmul(&covariance, [dim, dim], &first, [dim, 1]);
    let along: f64 = moved.iter().zip(&first).map(|(m, a)| m * a).sum();
    let mut across = covariance;
    for (i, row) in across.chunks_exact_mut(dim).enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value += first[i] * first[j] * along - moved[i] * first[j] - first[i] * moved[j];
        }
    }
    let second = Spectrum::of(&across, dim, all.len())?;
    let trace = all.trace();
    let share = |variance: f64| if trace > 0.0 { (variance / trace).clamp(0.0, 1.0) } else { 0.0 };
    let explained = [share(along), share(second.eigenvalues()[0])];
    let second = second.eigenvector(0).expect("eigenvectors were asked for").to_vec();
    let place = |row: &[f64]| {
        [&first, &second].map(|axis| {
            let values = row.iter().zip(&origin).zip(axis.iter());
            values.map(|((value, origin), axis)| (value - origin) * axis).sum::<f64>() as f32
        })
    };
    let places = |cloud: &Cloud| cloud.rows().take(PLANE).map(place).collect::<Vec<_>>();
    Ok(Projection {
        explained,
        image: places(&input.held_out.image.unit),
        methods: measured
            .iter()
            .map(|one| ProjectedMethod {
                method: one.report.name.clone(),
                text: places(&one.text),
                image: one.image.as_ref().map(places),
            })
            .collect(),
    })
}

/// Whether there was a direction to keep.
fn scale_to_unit(vector: &mut [f64]) -> bool {
    let length = norm(vector);
    if length < 1e-12 {
        return false;
    }
    vector.iter_mut().for_each(|value| *value /= length);
    true
}
