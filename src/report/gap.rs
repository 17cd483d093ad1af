//! The two clouds, the frame and the gap in it.

use super::ReportConfig;
use super::input::Input;
use super::model::{
    Condition, EnergyRank, FrameReport, GapSection, Geometry, ModalityGeometry, Overlap, ResidualSection,
    SpectrumReport,
};
use super::samples::Samples;
use crate::alignment::Method;
use crate::geometry::{
    Cloud, FixedFrame, FrameRank, GapDecomposition, PhantomDrift, ResidualGeometry, Spectrum, difference,
    norm,
};
use crate::{Error, Result};

/// Shares of the energy that a spectrum is described by.
const SHARES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// The clouds and the frame of the fit half.
pub(super) fn geometry(
    input: &Input,
    config: &ReportConfig,
    samples: &mut Samples,
) -> Result<(Geometry, FixedFrame)> {
    let (text, image) = (&input.fit.text.unit, &input.fit.image.unit);
    let (text_covariance, image_covariance) = (text.covariance(), image.covariance());
    let dim = input.data.dim;
    let text_spectrum = Spectrum::of(&text_covariance, dim, text.len())?;
    let image_spectrum = Spectrum::of(&image_covariance, dim, image.len())?;
    if text_spectrum.rank().max(image_spectrum.rank()) == 0 {
        let what = "text and image rows".to_string();
        return Err(Error::NoSpread { what });
    }
    let sum: Vec<f64> = text_covariance.iter().zip(&image_covariance).map(|(a, b)| a + b).collect();
    let frame =
        FixedFrame::of_covariance(&sum, dim, text.len().max(image.len()), FrameRank::Energy(config.energy))?;
    let other = held_out_frame(input, frame.rank())?;
    let angles = match &other {
        Some(other) => frame.principal_angles(other)?,
        None => Vec::new(),
    };
    samples.frames(&frame, other.as_ref());

    let modality = |cloud: &Cloud, spectrum: &Spectrum| ModalityGeometry {
        rows: cloud.len(),
        mean_norm: norm(&cloud.mean()),
        trace: cloud.trace(),
        spectrum: describe(spectrum, frame.rank()),
    };
    let geometry = Geometry {
        text: modality(text, &text_spectrum),
        image: modality(image, &image_spectrum),
        mean_gap: norm(&difference(&image.mean(), &text.mean())),
        covariance_gap: covariance_gap(&image_covariance, &text_covariance),
        spectral_correlation: image_spectrum.correlation(&text_spectrum),
        overlap: overlap(&image_spectrum, &text_spectrum)?,
        frame: FrameReport {
            rank: frame.rank(),
            energy: frame.energy(),
            sin_theta: angles.last().map(|angle| angle.sin()),
            angles,
        },
    };
    Ok((geometry, frame))
}

/// `U` of the held-out half in as many dimensions, or as many as it has; nothing where it does not vary.
fn held_out_frame(input: &Input, rank: usize) -> Result<Option<FixedFrame>> {
    let (text, image) = (&input.held_out.text.unit, &input.held_out.image.unit);
    let sum: Vec<f64> =
        text.covariance().iter().zip(image.covariance()).map(|(text, image)| text + image).collect();
    let spectrum = Spectrum::of(&sum, input.data.dim, text.len().max(image.len()))?;
    match spectrum.rank() {
        0 => Ok(None),
        found => FixedFrame::of_spectrum(&spectrum, FrameRank::Rank(rank.min(found))).map(Some),
    }
}

/// `O_q` at a tenth of the dimensions, as the 128 of 1280 of arXiv 2605.07825, or as many as both spectra have.
fn overlap(a: &Spectrum, b: &Spectrum) -> Result<Overlap> {
    let dim = a.dim();
    let q = dim.div_ceil(10).min(a.rank()).min(b.rank());
    if q == 0 {
        return Ok(Overlap { q, value: 0.0, random: 0.0 });
    }
    let (a, b) =
        (FixedFrame::of_spectrum(a, FrameRank::Rank(q))?, FixedFrame::of_spectrum(b, FrameRank::Rank(q))?);
    Ok(Overlap { q, value: a.overlap(&b), random: q as f64 / dim as f64 })
}

/// What a spectrum says.
pub(super) fn describe(spectrum: &Spectrum, frame_rank: usize) -> SpectrumReport {
    SpectrumReport {
        eigenvalues: spectrum.eigenvalues().to_vec(),
        rank: spectrum.rank(),
        power_law: spectrum.power_law(),
        effective_rank: spectrum.effective_rank(),
        participation_ratio: spectrum.participation_ratio(),
        condition: condition(spectrum, frame_rank),
        energy: SHARES.iter().map(|&share| EnergyRank { share, rank: spectrum.energy_rank(share) }).collect(),
    }
}

/// Both condition numbers of a spectrum.
fn condition(spectrum: &Spectrum, frame_rank: usize) -> Condition {
    Condition {
        retained: spectrum.condition_number(spectrum.rank()),
        retained_rank: spectrum.rank(),
        leading: spectrum.condition_number(frame_rank),
        leading_rank: frame_rank.min(spectrum.rank()),
    }
}

/// The gap of the held-out half in the frame of the fit half.
pub(super) fn section(input: &Input, frame: &FixedFrame, ridge: f64) -> Result<GapSection> {
    let (text, image) = (&input.held_out.text.unit, &input.held_out.image.unit);
    let mean = difference(&image.mean(), &text.mean());
    let (beta, gamma) = frame.split(&mean);
    let residual = match &input.held_out.pairs {
        Some(pairs) => Some(residual((text, image), pairs, frame, (&gamma, ridge))?),
        None => None,
    };
    let (fit_text, fit_image) = (&input.fit.text.unit, &input.fit.image.unit);
    let (text_trace, image_trace) = (fit_text.trace(), fit_image.trace());
    let phantom_drift = match text_trace > 0.0 {
        true => PhantomDrift::measure(fit_text, &fit_image.mean(), (image_trace / text_trace).sqrt())?,
        false => None,
    };
    Ok(GapSection { norm: norm(&mean), beta: norm(&beta), gamma: norm(&gamma), residual, phantom_drift })
}

/// The texts and the images of pairs, row by row.
pub(super) fn paired(text: &Cloud, image: &Cloud, pairs: &[[u32; 2]]) -> (Cloud, Cloud) {
    let rows = |side: usize| pairs.iter().map(|pair| pair[side] as usize).collect::<Vec<_>>();
    (text.select(&rows(0)), image.select(&rows(1)))
}

fn residual(
    (text, image): (&Cloud, &Cloud),
    pairs: &[[u32; 2]],
    frame: &FixedFrame,
    (gamma, ridge): (&[f64], f64),
) -> Result<ResidualSection> {
    let (text, image) = paired(text, image, pairs);
    let (geometry, spectrum) = ResidualGeometry::measure(&image, &text)?;
    let parts = GapDecomposition::new(frame, &image, &text)?;
    let (delta, zeta) = (parts.delta_spectrum()?, parts.zeta_spectrum()?);
    let cosines: f64 = text.values().iter().zip(image.values()).map(|(text, image)| text * image).sum();
    let length = norm(gamma);
    let gamma_angle = zeta.eigenvector(0).filter(|_| zeta.rank() > 0 && length > 1e-12).map(|first| {
        let along: f64 = gamma.iter().zip(first).map(|(gamma, first)| gamma * first).sum();
        (along.abs() / length).min(1.0).acos().to_degrees()
    });
    Ok(ResidualSection {
        pairs: pairs.len(),
        beta: norm(parts.beta()),
        gamma: norm(parts.gamma()),
        paired_cosine: cosines / pairs.len() as f64,
        geometry,
        spectrum: describe(&spectrum, frame.rank()),
        delta_trace: delta.eigenvalues().iter().sum(),
        zeta_trace: zeta.eigenvalues().iter().sum(),
        kappa_u: condition(&delta, frame.rank()),
        kappa_v: condition(&zeta, frame.rank()),
        gamma_angle,
        coupling: parts.coupling(ridge)?,
    })
}

/// What a reader should know before believing a number.
pub(super) fn notes(
    input: &Input,
    config: &ReportConfig,
    geometry: &Geometry,
    section: &GapSection,
) -> Vec<String> {
    let mut notes = Vec::new();
    let (data, dim) = (&input.data, input.data.dim);
    for (set, name, modality) in
        [(&data.text, "text", &geometry.text), (&data.image, "image", &geometry.image)]
    {
        if set.read < set.stored {
            notes.push(format!("{} of {} {name} rows were read.", set.read, set.stored));
        }
        if set.left_out > 0 {
            notes.push(format!("{} {name} rows without direction were left out.", set.left_out));
        }
        let unpaired = set.read - set.left_out - set.fit - set.held_out;
        if unpaired > 0 {
            notes.push(format!("{unpaired} {name} rows that were read have no partner, and were left out."));
        }
        if set.probe < set.held_out {
            let (probe, held_out) = (set.probe, set.held_out);
            notes.push(format!(
                "Neighbours and cosines of {name} are measured on {probe} of {held_out} held-out rows."
            ));
        }
        let rank = modality.spectrum.rank;
        if rank < dim {
            notes.push(format!(
                "The covariance of {name} has rank {rank} of {dim}, from {} rows: its condition number is that of the \
                 {rank} dimensions that vary, and methods that invert it depend on the ridge.",
                modality.rows
            ));
        } else if modality.rows < 10 * dim {
            notes.push(format!(
                "The covariance of {name} is made of {} rows in {dim} dimensions: its small eigenvalues are too small.",
                modality.rows
            ));
        }
    }
    if !config.paired {
        notes.push("The sets are not paired: what needs pairs is left out.".to_string());
    }
    if let Some(pairs) = &input.held_out.pairs {
        let mut images = vec![0_usize; data.text.held_out];
        pairs.iter().for_each(|pair| images[pair[0] as usize] += 1);
        let most = images.iter().max().copied().unwrap_or(0);
        if most > 10 {
            notes.push(format!(
                "One held-out text has {most} images: means of images lean towards it, and are known less well than their \
                 number suggests."
            ));
        }
    }
    if config.methods.contains(&Method::Unicorn) {
        notes.push(
            "Unicorn leaves images shorter than unit length at inference; here all rows are measured at unit length, where \
             it is the same map as gr_clip."
                .to_string(),
        );
    }
    if section.phantom_drift.is_none() {
        notes
            .push("No phantom drift: the text does not vary, or the mean of the images is zero.".to_string());
    }
    notes
}

/// `||Sigma_x - Sigma_y||_F / ||Sigma_x||_F`; 0 where the images do not vary.
pub(super) fn covariance_gap(image: &[f64], text: &[f64]) -> f64 {
    let whole = norm(image);
    if whole > 0.0 { norm(&difference(image, text)) / whole } else { 0.0 }
}
