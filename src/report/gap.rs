//! The two clouds, the frame and the gap in it.

use super::config::ReportConfig;
use super::input::Input;
use super::pairs::{mean_gap, mean_product, paired};
use super::sections::{
    Condition, EnergyRank, FrameReport, GapSection, Geometry, ModalityGeometry, Overlap, ResidualSection,
    SpectrumReport,
};
use crate::geometry::{
    Cloud, FixedFrame, FrameRank, GapDecomposition, PhantomDrift, ResidualGeometry, Spectrum, difference,
    norm,
};
use crate::{Error, Result};

/// Shares of the energy that a spectrum is described by.
const SHARES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// The frames of both halves; that of the held-out half is `None` where it does not vary.
pub(super) struct Frames {
    pub fit: FixedFrame,
    pub held_out: Option<FixedFrame>,
}

/// The clouds and the frame of the fit half, and how well the frame of the held-out half agrees.
pub(super) fn geometry(input: &Input, config: &ReportConfig) -> Result<(Geometry, Frames)> {
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
    let held_out = held_out_frame(input, frame.rank())?;
    let angles = match &held_out {
        Some(held_out) => frame.principal_angles(held_out)?,
        None => Vec::new(),
    };

    let modality = |cloud: &Cloud, spectrum: &Spectrum| ModalityGeometry {
        rows: cloud.len(),
        mean_norm: norm(&cloud.mean()),
        trace: cloud.trace(),
        spectrum: describe(spectrum, frame.rank()),
    };
    let geometry = Geometry {
        text: modality(text, &text_spectrum),
        image: modality(image, &image_spectrum),
        mean_gap: mean_gap(text, image),
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
    Ok((geometry, Frames { fit: frame, held_out }))
}

/// `U` of the held-out half in as many dimensions, or as many as it has; `None` where it does not vary.
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
fn describe(spectrum: &Spectrum, frame_rank: usize) -> SpectrumReport {
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
    let length = norm(gamma);
    let gamma_angle = zeta.eigenvector(0).filter(|_| zeta.rank() > 0 && length > 1e-12).map(|first| {
        let along: f64 = gamma.iter().zip(first).map(|(gamma, first)| gamma * first).sum();
        (along.abs() / length).min(1.0).acos().to_degrees()
    });
    Ok(ResidualSection {
        pairs: pairs.len(),
        beta: norm(parts.beta()),
        gamma: norm(parts.gamma()),
        paired_cosine: mean_product(&text, &image),
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

/// `||Sigma_x - Sigma_y||_F / ||Sigma_x||_F`; 0 where the images do not vary.
pub(super) fn covariance_gap(image: &[f64], text: &[f64]) -> f64 {
    let whole = norm(image);
    if whole > 0.0 { norm(&difference(image, text)) / whole } else { 0.0 }
}
