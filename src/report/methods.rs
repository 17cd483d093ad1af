//! What each method makes of the held-out half.

use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::config::method_name;
use super::draws::{Context, probe};
use super::gap::covariance_gap;
use super::input::Side;
use super::pairs::{mean_gap, mean_product, measure_pairs, sampling_floor};
use super::plane::Plane;
use super::sections::{MethodReport, ProjectedMethod};
use crate::Result;
use crate::alignment::{Aligner, Embeddings, Method, align_table};
use crate::embedding::EmbeddingTable;
use crate::geometry::{
    Cloud, KnnConfig, KnnMixing, Neighbours, Spectrum, SupportScore, pair_products, similarity_correlation,
};

/// A method of the settings, or an aligner that the caller has fitted, under a name.
#[derive(Clone, Copy)]
pub(super) enum Candidate<'a> {
    Method(Method),
    Aligner(&'a str, &'a dyn Aligner),
}

impl Candidate<'_> {
    /// The name in the report.
    pub fn name(&self) -> String {
        match self {
            Self::Method(method) => method_name(method),
            Self::Aligner(name, _) => (*name).to_string(),
        }
    }
}

impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => method.fmt(f),
            Self::Aligner(name, _) => f.write_str(name),
        }
    }
}

/// A method and what it was measured to do; the divergences of its report follow when all methods are measured.
pub(super) struct Measured {
    pub report: MethodReport,
    /// Some of the rows in the plane.
    pub projected: ProjectedMethod,
    /// The sampled cosines.
    pub cosines: Cosines,
    /// The aligned text of the held-out half, where [`Measured::refittable`].
    pub text: Option<Cloud>,
    /// `tr Sigma` of the aligned text of the fit half.
    pub fit_trace: f64,
    method: Option<Method>,
}

/// Cosines of sampled pairs after alignment.
pub(super) struct Cosines {
    pub within: Vec<f64>,
    pub across: Vec<f64>,
    /// Within the images, where the method moves them.
    pub within_image: Option<Vec<f64>>,
}

/// The rows as a method leaves them, and their neighbours; images where it moves them.
pub(super) struct AlignedRows {
    pub text: EmbeddingTable,
    pub fit_text: EmbeddingTable,
    pub image: Option<EmbeddingTable>,
    pub fit_image: Option<EmbeddingTable>,
    /// Of all rows of the probes, texts before images.
    pub neighbours: Neighbours,
    /// Of the texts of the probe among themselves.
    pub text_neighbours: Neighbours,
}

impl Measured {
    /// Fits a method on the fit half, where it does not come fitted, and measures it on the held-out half.
    pub fn new(
        candidate: &Candidate<'_>,
        context: &Context<'_>,
        plane: &Plane,
    ) -> Result<(Self, AlignedRows)> {
        let Context { config, device, input, draws, .. } = context;
        let name = candidate.name();
        let (fit, held_out) = (&input.fit, &input.held_out);
        let fitted;
        let (aligner, method): (&dyn Aligner, _) = match candidate {
            Candidate::Method(method) => {
                let method =
                    method.with_ridge(config.ridge).with_energy(config.energy).with_sigma(config.sigma);
                let method = method.with_seed(config.seed);
                let text = Embeddings::from(&fit.text.table).with_device(device);
                fitted = method.fit(text, &fit.image.table)?;
                (fitted.as_ref(), Some(method))
            }
            Candidate::Aligner(_, aligner) => (*aligner, None),
        };
        // Noise depends on the seed and the number of the row: the halves must not share it.
        let fit_table = align(aligner, &fit.text, config.seed, device)?;
        let text_table = align(aligner, &held_out.text, !config.seed, device)?;
        let fit_image_table = move_images(aligner, &fit.image, device)?;
        let image_table = move_images(aligner, &held_out.image, device)?;

        let unit = |table: &EmbeddingTable| Cloud::unit(table, &name);
        let (fit_text, text) = (unit(&fit_table)?, unit(&text_table)?);
        let fit_image = fit_image_table.as_ref().map(unit).transpose()?;
        let moved_image = image_table.as_ref().map(unit).transpose()?;
        let fit_image = fit_image.as_ref().unwrap_or(&fit.image.unit);
        let image = moved_image.as_ref().unwrap_or(&held_out.image.unit);

        let (text_probe, image_probe) = (probe(&text, draws.texts), probe(image, draws.images));
        let knn = KnnConfig::new().with_k(config.k);
        let neighbours = knn.find(&Cloud::union(&text_probe, &image_probe)?, device)?;
        let text_neighbours = knn.find(&text_probe, device)?;
        let cosines = Cosines {
            within: pair_products(&text_probe, &text_probe, &draws.within_text),
            across: pair_products(&text_probe, &image_probe, &draws.across),
            within_image: moved_image
                .as_ref()
                .map(|_| pair_products(&image_probe, &image_probe, &draws.within_image)),
        };

        let covariance = text.covariance();
        let spectrum = Spectrum::values_of(&covariance, text.dim(), text.len())?;
        let pairs = held_out.pairs.as_deref();
        let floor = sampling_floor(&text, image, pairs);
        let fit_floor = sampling_floor(&fit_text, fit_image, fit.pairs.as_deref());
        let report = MethodReport {
            source: method.map_or("fitted by the caller", |method| method.source()).to_string(),
            moves_images: aligner.moves_images(),
            noise: aligner.noise(),
            fit_gap: mean_gap(&fit_text, fit_image),
            gap: mean_gap(&text, image),
            sampling_floor: floor,
            expected_gap: floor.hypot(fit_floor),
            trace: text.trace(),
            effective_rank: spectrum.effective_rank(),
            power_law: spectrum.power_law(),
            covariance_gap: covariance_gap(&image.covariance(), &covariance),
            eigenvalues: spectrum.eigenvalues().to_vec(),
            mixing: KnnMixing::of(&neighbours, text_probe.len())?,
            support: SupportScore::of(&neighbours, text_probe.len())?,
            omega: context.neighbours_before.overlap(&text_neighbours)?,
            phi: mean_product(&held_out.text.unit, &text),
            psi: similarity_correlation(&context.cosines_before, &cosines.within),
            js_within: 0.0,
            js_across: 0.0,
            pairs: pairs
                .map(|pairs| measure_pairs(&text, image, pairs, [draws.texts, draws.images]))
                .transpose()?,
            name,
        };
        let projected = ProjectedMethod {
            method: report.name.clone(),
            text: plane.places(&text),
            image: moved_image.as_ref().map(|image| plane.places(image)),
        };
        let rows = AlignedRows {
            text: text_table,
            fit_text: fit_table,
            image: image_table,
            fit_image: fit_image_table,
            neighbours,
            text_neighbours,
        };
        let fit_trace = fit_text.trace();
        let mut measured = Self { report, projected, cosines, text: None, fit_trace, method };
        measured.text = measured.refittable().is_some().then_some(text);
        Ok((measured, rows))
    }

    /// The method, where it can be fitted again on fewer rows in closed form: means and spreads are all its statistics, it
    /// leaves images alone, and it is not the identity.
    pub fn refittable(&self) -> Option<&Method> {
        self.method.as_ref().filter(|method| match method {
            Method::MeanShift | Method::C3 { .. } | Method::ReAlign { .. } => !method.moves_images(),
            _ => false,
        })
    }
}

fn align(aligner: &dyn Aligner, side: &Side, seed: u64, device: &Device) -> Result<EmbeddingTable> {
    align_table(aligner, &side.table, Default::default(), seed, device).map(|(table, _)| table)
}

/// The images as the method leaves them; `None` where it does not move them.
fn move_images(aligner: &dyn Aligner, side: &Side, device: &Device) -> Result<Option<EmbeddingTable>> {
    if !aligner.moves_images() {
        return Ok(None);
    }
    let dtype = if device.supports_dtype(DType::F64) { DType::F64 } else { DType::F32 };
    let data = TensorData::new(side.unit.values().to_vec(), [side.unit.len(), side.unit.dim()]);
    let moved = aligner.align_image(Tensor::from_data(data, (device, dtype)));
    EmbeddingTable::from_tensor(side.table.ids().to_vec(), moved).map(Some)
}
