//! Fitting: statistics, then stage I on images, then stage II on texts.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::{Value, json};

use super::AnisoAlign;
use super::blocks::{polar_rows, wrap};
use super::checkpoint::{Checkpoint, FitCheckpoint};
use super::config::AnisoAlignConfig;
use super::frame::{Frame, coordinates};
use super::networks::{Refiner, ScoreNetwork};
use super::prior::PeriodicPrior;
use super::radial::RadialTables;
use super::training::{Stage, perturb};
use crate::alignment::{fitting, record};
use crate::embedding::Progress;
use crate::fingerprint::Fingerprint;
use crate::geometry::Moments;
use crate::{Error, Result};

impl AnisoAlignConfig {
    /// Fits all but the centroid step, from the moments of all rows with their covariances, and unit rows `[n, d]` of a sample
    /// of both sets. Both stages go on from the checkpoint, and save to it.
    pub(in crate::alignment) fn fit_networks(
        &self,
        (text, texts): (&Moments, &[f32]),
        (image, images): (&Moments, &[f32]),
        device: &Device,
        progress: &dyn Progress,
        checkpoint: Option<&FitCheckpoint>,
    ) -> Result<AnisoAlign> {
        self.check()?;
        fitting::check_varying(text, image)?;
        let dim = text.dim();
        for (rows, what) in [(texts, "text rows in the sample"), (images, "image rows in the sample")] {
            if rows.len() < 2 * dim {
                let what = what.to_string();
                return Err(Error::TooFewRows { what, needed: 2, actual: rows.len() / dim });
            }
        }
        // Before the work, not after the half of it.
        let job = || self.job((text, texts), (image, images), device);
        let mut checkpoint = checkpoint.map(|file| Checkpoint::open(file, job())).transpose()?;
        let frame = Frame::fit(self, text, image, images, device, progress)?;
        let (rank, blocks) = (frame.rank, frame.rank / 2);
        let columns = frame.columns();
        let wide: Vec<f64> = columns.iter().map(|&value| f64::from(value)).collect();
        let (text_mean, image_mean) = (fitting::rounded(text.mean()), fitting::rounded(image.mean()));

        let image_coordinates = coordinates(images, dim, &wide, rank);
        let (image_radius, image_phase) = polar_rows(&image_coordinates, rank, self.eps);
        let mut text_coordinates = coordinates(texts, dim, &wide, rank);
        let step: Vec<f32> = image_mean.iter().zip(&text_mean).map(|(x, y)| x - y).collect();
        let step = coordinates(&step, dim, &wide, rank);
        for row in text_coordinates.chunks_exact_mut(rank) {
            row.iter_mut().zip(&step).for_each(|(value, step)| *value += step);
        }
        let (text_radius, _) = polar_rows(&text_coordinates, rank, self.eps);
        let log_radius = standardized(&image_radius, blocks);

        let spreads = [text, image].map(|moments| {
            let variances = frame.complement_variances(&fitting::covariance(moments)?);
            Ok::<_, Error>(variances.into_iter().map(f64::sqrt).collect::<Vec<f64>>())
        });
        let [text_spread, image_spread] = spreads;
        // D_V; nothing is left to scale where the frame is the whole space.
        let ratio = text_spread?.into_iter().zip(image_spread?).map(|(y, x)| (x / (y + self.eps)) as f32);
        let spread: Vec<f32> = match rank == dim {
            true => vec![0.0; dim],
            false => ratio.collect(),
        };
        let (text_v, image_v) = (frame.complement(text.mean()), frame.complement(image.mean()));
        let centres = image_v.iter().zip(text_v).zip(&spread);
        let offset = centres.map(|((x, y), spread)| (x - f64::from(*spread) * y) as f32).collect();

        let prior =
            PeriodicPrior::fit(&image_radius, &image_phase, blocks, self.neighbours, self.eps, device);
        let score = self.learn_score(
            &prior,
            (&image_phase, &image_radius, &log_radius),
            device,
            progress,
            checkpoint.as_mut(),
        )?;
        let bounds = [self.phase_bound, self.radius_bound, self.complement_bound, self.eps];
        let training = device.clone().autodiff();
        let complement = self.complement_bound > 0.0;
        let refiner = Refiner::init(blocks, dim, self.refiner_width, complement, self.seed, &training);
        let mut fitted = AnisoAlign {
            text_mean: record::constant(text_mean, [dim], device),
            image_mean: record::constant(image_mean.clone(), [dim], device),
            frame: record::constant(columns, [dim, rank], device),
            spread: record::constant(spread, [dim], device),
            offset: record::constant(offset, [dim], device),
            log_radius: record::constant(log_radius, [2, blocks], device),
            radial: RadialTables::fit(&text_radius, &image_radius, blocks, self.quantiles).init(device),
            prior,
            score,
            refiner: refiner.constant(device),
            bounds: record::constant(bounds.iter().map(|&bound| bound as f32).collect(), [4], device),
            centroid: record::constant(image_mean, [dim], device),
        };
        if self.refines() {
            fitted.refiner =
                self.learn_refiner(&fitted, refiner, texts, device, progress, checkpoint.as_mut())?;
        }
        Ok(fitted)
    }

    /// What the networks depend on: the settings, the rows and where it is computed.
    fn job(
        &self,
        (text, texts): (&Moments, &[f32]),
        (image, images): (&Moments, &[f32]),
        device: &Device,
    ) -> BTreeMap<String, Value> {
        let Ok(Value::Object(settings)) = serde_json::to_value(self) else {
            unreachable!("settings are plain data")
        };
        let of = |moments: &Moments, rows: &[f32]| {
            let mut fingerprint = Fingerprint::new();
            fingerprint.add(bytemuck::cast_slice(moments.mean()));
            fingerprint.add(bytemuck::cast_slice(&moments.packed_scatter().unwrap_or_default()));
            fingerprint.add(bytemuck::cast_slice(rows));
            json!(fingerprint.finish())
        };
        let mut job: BTreeMap<String, Value> = settings.into_iter().collect();
        job.insert("device".to_string(), json!(format!("{device:?}")));
        job.insert("text rows".to_string(), of(text, texts));
        job.insert("image rows".to_string(), of(image, images));
        job
    }

    /// Stage I (Eq. 6): the score of the images' phases, moved along the drift and then by noise.
    fn learn_score(
        &self,
        prior: &PeriodicPrior,
        (phase, radius, log_radius): (&[f64], &[f64], &[f32]),
        device: &Device,
        progress: &dyn Progress,
        checkpoint: Option<&mut Checkpoint<'_>>,
    ) -> Result<ScoreNetwork> {
        let blocks = log_radius.len() / 2;
        let (mean, deviation) = log_radius.split_at(blocks);
        let row = |values: &[f64], row: usize| -> Vec<f32> {
            values[row * blocks..(row + 1) * blocks].iter().map(|&value| value as f32).collect()
        };
        let logs = |at: usize| -> Vec<f32> {
            let statistics = mean.iter().zip(deviation);
            row(radius, at).iter().zip(statistics).map(|(r, (mean, sd))| (r.ln() - mean) / sd).collect()
        };
        let stage = Stage {
            config: self,
            name: "anisoalign: score network",
            number: 1,
            // Without a stage II nobody would ask it.
            steps: if self.refines() { self.score_steps } else { 0 },
            rows: phase.len() / blocks,
            progress,
        };
        let tensor = |values: Vec<f32>, n: usize| {
            Tensor::<2>::from_data(TensorData::new(values, [n, blocks]), (device, DType::F32))
        };
        let network = ScoreNetwork::init(blocks, self.score_width, self.seed, &device.clone().autodiff());
        let learned = stage.train(network, checkpoint, |network, batch, rng| {
            let phases = tensor(batch.iter().flat_map(|&at| row(phase, at)).collect(), batch.len());
            let logs = tensor(batch.iter().flat_map(|&at| logs(at)).collect(), batch.len());
            let noisy = perturb(prior.drifted(phases, self.drift), self, rng, device);
            let found = network.forward(noisy.phase.autodiff(), logs.autodiff(), noisy.log_sigma.autodiff());
            (found - noisy.target).square().mean()
        })?;
        Ok(learned.constant(device))
    }

    /// Stage II (Eqs. 7 to 9): the refinement of texts, by the frozen score network and their own phase differences.
    fn learn_refiner(
        &self,
        fitted: &AnisoAlign,
        refiner: Refiner,
        texts: &[f32],
        device: &Device,
        progress: &dyn Progress,
        checkpoint: Option<&mut Checkpoint<'_>>,
    ) -> Result<Refiner> {
        let dim = fitted.image_mean.dims()[0];
        let blocks = fitted.radial.blocks();
        let stage = Stage {
            config: self,
            name: "anisoalign: refinement",
            number: 2,
            steps: self.refiner_steps,
            rows: texts.len() / dim,
            progress,
        };
        let learned = stage.train(refiner, checkpoint, |refiner, batch, rng| {
            let n = batch.len();
            let rows = batch.iter().flat_map(|&row| &texts[row * dim..(row + 1) * dim]).copied().collect();
            let rows = Tensor::<2>::from_data(TensorData::new(rows, [n, dim]), (device, DType::F32));
            let initial = fitted.initial(rows);
            let correction = refiner.forward(fitted.features(&initial).autodiff());
            let turned = correction.clone().narrow(1, 0, blocks).tanh() * self.phase_bound;
            let grown = correction.narrow(1, blocks, blocks).tanh() * self.radius_bound;
            let phase = wrap(initial.phase.clone() + turned.clone());
            let (_, deviation) = fitted.log_radius_statistics(DType::F32);
            let logs = fitted.standard_log_radius(initial.radius.clone()) + grown / deviation;
            let noisy = perturb(fitted.prior.drifted(phase, self.drift), self, rng, device);
            let found = fitted.score.apply(noisy.phase, logs, noisy.log_sigma);
            let mut loss = (found - noisy.target).square().mean() * self.score_weight;
            if self.phase_weight > 0.0 {
                let kept = fitted.prior.phase_loss(turned, initial.radius, self.eps);
                loss = loss + kept.mean() * self.phase_weight;
            }
            loss
        })?;
        Ok(learned.constant(device))
    }
}

/// Mean and standard deviation of the logarithms of the radii of each block, `[2, m]`.
fn standardized(radius: &[f64], blocks: usize) -> Vec<f32> {
    let n = (radius.len() / blocks) as f64;
    let column = |block: usize| radius.iter().skip(block).step_by(blocks).map(|radius| radius.ln());
    let means: Vec<f64> = (0..blocks).map(|block| column(block).sum::<f64>() / n).collect();
    let deviations = means.iter().enumerate().map(|(block, mean)| {
        let variance = column(block).map(|log| (log - mean).powi(2)).sum::<f64>() / n;
        // Radii that are all alike have no deviation to divide by.
        if variance > 1e-12 { variance.sqrt() } else { 1.0 }
    });
    means.iter().copied().chain(deviations).map(|value| value as f32).collect()
}
