//! What each method makes of the held-out half.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::ReportConfig;
use super::gap::{covariance_gap, paired};
use super::input::{Input, Side};
use super::model::{CosineDensity, CosineSection, MethodPairs, MethodReport};
use super::plane::Plane;
use super::samples::{Samples, probe};
use crate::Result;
use crate::alignment::{Aligner, Embeddings, Method, align_table};
use crate::embedding::EmbeddingTable;
use crate::geometry::{
    Cloud, DensityGrid, KnnConfig, KnnMixing, Spectrum, SupportScore, difference, js_divergence, linalg,
    norm, pair_products, similarity_correlation,
};

/// The points of the grid of densities.
const GRID: usize = 512;
/// Rows of images that are compared with all texts at once.
const BLOCK: usize = 512;

/// A method, measured but for the divergences, whose grid depends on all methods.
pub(super) struct Measured {
    pub method: Method,
    pub report: MethodReport,
    /// The aligned text of the held-out half, of methods that slices may be aligned by.
    pub text: Option<Cloud>,
    /// Where some of the aligned text lies in the plane, and of the images, where the method moves them.
    pub text_places: Vec<[f32; 2]>,
    pub image_places: Option<Vec<[f32; 2]>>,
    /// `tr Sigma` of the aligned text of the fit half.
    pub fit_trace: f64,
    within: Vec<f64>,
    across: Vec<f64>,
    within_image: Option<Vec<f64>>,
}

/// Whether a method is not trivial, leaves images alone, and has means and spreads for statistics.
fn has_vectors(method: &Method) -> bool {
    !(method.needs_covariance() || method.moves_images() || *method == Method::Identity)
}

/// The name of a method in a report.
pub(super) fn name(method: &Method) -> String {
    method.to_string().replace('-', "_")
}

impl Measured {
    /// Whether the method is not trivial, leaves images alone, and has means and spreads for statistics.
    pub fn has_vectors(&self) -> bool {
        has_vectors(&self.method)
    }

    pub fn new(
        method: &Method,
        input: &Input,
        config: &ReportConfig,
        (plane, device): (&Plane, &Device),
        samples: &mut Samples,
    ) -> Result<Self> {
        let name = name(method);
        let (fit, held_out) = (&input.fit, &input.held_out);
        let method = method.with_ridge(config.ridge).with_energy(config.energy).with_sigma(config.sigma);
        let text = Embeddings::from(&fit.text.table).with_device(device);
        let aligner = method.fit(text, &fit.image.table)?;
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
        let neighbours = knn.find(&Cloud::union(&text_probe, &image_probe)?, device)?;
        let own = knn.find(&text_probe, device)?;
        samples.neighbours(&name, &neighbours, &own);

        let covariance = text.covariance();
        let spectrum = Spectrum::values_of(&covariance, text.dim(), text.len())?;
        let pairs = match &held_out.pairs {
            Some(pairs) => Some(measure_pairs(&text, image, pairs, samples)?),
            None => None,
        };
        let within = pair_products(&text_probe, &text_probe, &samples.within_text);
        let floor = sampling_floor(&text, image, held_out.pairs.as_deref());
        let fit_floor = sampling_floor(&fit_text, fit_image, fit.pairs.as_deref());
        let report = MethodReport {
            name,
            source: method.source().to_string(),
            moves_images: aligner.moves_images(),
            noise: aligner.noise(),
            fit_gap: norm(&difference(&fit_image.mean(), &fit_text.mean())),
            gap: norm(&difference(&image.mean(), &text.mean())),
            sampling_floor: floor,
            expected_gap: floor.hypot(fit_floor),
            trace: text.trace(),
            effective_rank: spectrum.effective_rank(),
            power_law: spectrum.power_law(),
            covariance_gap: covariance_gap(&image.covariance(), &covariance),
            eigenvalues: spectrum.eigenvalues().to_vec(),
            mixing: KnnMixing::of(&neighbours, text_probe.len())?,
            support: SupportScore::of(&neighbours, text_probe.len())?,
            omega: samples.text_neighbours.overlap(&own)?,
            phi: mean_product(&held_out.text.unit, &text),
            psi: similarity_correlation(&samples.before, &within),
            js_within: 0.0,
            js_across: 0.0,
            pairs,
        };
        let across = pair_products(&text_probe, &image_probe, &samples.across);
        let within_image =
            moved_image.as_ref().map(|_| pair_products(&image_probe, &image_probe, &samples.within_image));
        Ok(Self {
            method,
            report,
            text_places: plane.places(&text),
            image_places: moved_image.as_ref().map(|image| plane.places(image)),
            text: has_vectors(&method).then_some(text),
            fit_trace: fit_text.trace(),
            within,
            across,
            within_image,
        })
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

/// The gap that sampling would leave between equal means: the norms of what each text adds to it together with its
/// images, because those are not drawn independently; without pairs each row is drawn by itself.
fn sampling_floor(text: &Cloud, image: &Cloud, pairs: Option<&[[u32; 2]]>) -> f64 {
    let Some(pairs) = pairs else {
        return (image.trace() / image.len() as f64 + text.trace() / text.len() as f64).sqrt();
    };
    let (text, image) = (text.centered(), image.centered());
    let share = 1.0 / text.len() as f64;
    let mut parts: Vec<f64> = text.values().iter().map(|value| -value * share).collect();
    let (dim, share) = (text.dim(), 1.0 / image.len() as f64);
    for &[text, of_image] in pairs {
        let part = &mut parts[text as usize * dim..][..dim];
        part.iter_mut().zip(image.row(of_image as usize)).for_each(|(part, value)| *part += value * share);
    }
    norm(&parts)
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
        methods.push(CosineDensity { method: one.report.name.clone(), within, across, prior: own_prior });
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
