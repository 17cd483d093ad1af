//! The loop of both stages.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn::train::Interrupter;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, StandardNormal};

use super::blocks::wrap;
use super::checkpoint::{Checkpoint, State};
use super::config::AnisoAlignConfig;
use super::wrapped_normal;
use crate::embedding::{Progress, check_cancelled};
use crate::random::seeded_rng;
use crate::training::{GradientGuard, adamw, cosine_with_warmup};
use crate::{Error, Result};

/// Evaluations of a stage, evenly over its steps.
const EVALUATIONS: usize = 20;
/// The most rows that are held out from a stage.
const HELD_OUT: usize = 2048;

/// One stage.
pub(super) struct Stage<'a> {
    pub config: &'a AnisoAlignConfig,
    /// `anisoalign: score network`, as it is shown.
    pub name: &'static str,
    /// Tells the random numbers of the stages apart.
    pub number: u64,
    pub steps: usize,
    /// The rows that it learns from.
    pub rows: usize,
    pub progress: &'a dyn Progress,
}

/// Phases that were moved by noise, and what is to be learned from them.
pub(super) struct Noisy {
    /// `wrap(mu + sqrt(2) sigma eps)`, `[n, m]`.
    pub phase: Tensor<2>,
    /// `ln sigma`, `[n, 1]`.
    pub log_sigma: Tensor<2>,
    /// The score of the wrapped normal times `sqrt(2) sigma`, `[n, m]`.
    pub target: Tensor<2>,
}

/// Adds noise of a level drawn for each row.
pub(super) fn perturb(
    mean: Tensor<2>,
    config: &AnisoAlignConfig,
    rng: &mut Xoshiro256PlusPlus,
    device: &Device,
) -> Noisy {
    let [n, blocks] = mean.dims();
    let range = (config.sigma_max / config.sigma_min).ln();
    let (mut noise, mut target) = (Vec::with_capacity(n * blocks), Vec::with_capacity(n * blocks));
    let mut levels = Vec::with_capacity(n);
    for _ in 0..n {
        let log_sigma = config.sigma_min.ln() + range * rng.random::<f64>();
        let variance = 2.0 * (2.0 * log_sigma).exp();
        let deviation = variance.sqrt();
        levels.push(log_sigma as f32);
        for _ in 0..blocks {
            let normal: f64 = StandardNormal.sample(&mut *rng);
            let moved = deviation * normal;
            noise.push(moved as f32);
            target.push((deviation * wrapped_normal::score(moved, variance)) as f32);
        }
    }
    let tensor =
        |values, shape: [usize; 2]| Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
    Noisy {
        phase: wrap(mean + tensor(noise, [n, blocks])),
        log_sigma: tensor(levels, [n, 1]),
        target: tensor(target, [n, blocks]),
    }
}

impl Stage<'_> {
    /// Trains a module, from where the checkpoint is; `loss` is that of the rows of a batch, `[1]`. The module of the lowest
    /// loss on the rows that were held out is returned.
    pub fn train<M: Module>(
        &self,
        module: M,
        mut checkpoint: Option<&mut Checkpoint<'_>>,
        loss: impl Fn(&M, &[usize], &mut Xoshiro256PlusPlus) -> Tensor<1>,
    ) -> Result<M> {
        let Self { config, progress, steps, .. } = *self;
        let mut order: Vec<usize> = (0..self.rows).collect();
        let mut rng = seeded_rng(config.seed, &[0x0074_7261_696e, self.number]);
        for at in (1..order.len()).rev() {
            order.swap(at, rng.random_range(0..=at));
        }
        // Of few rows, all are learned from.
        let held_out = (self.rows / 10).min(HELD_OUT);
        let (held_out, learned) = order.split_at(held_out);
        let optimizer = adamw(0.0, 0.99)?;
        let mut state = State { step: 0, module, optimizer, best: None, waited: 0, smoothed: None };
        if let Some(checkpoint) = &checkpoint {
            if let Some(network) = checkpoint.finished(self.number, &state.module)? {
                return Ok(network);
            }
            state = checkpoint.restore(self.number, state)?;
        }
        let mut schedule = cosine_with_warmup(config.learning_rate, steps, 0.05)?;
        let guard = GradientGuard::new(Some(1.0), 0, Interrupter::new());
        let every = steps.div_ceil(EVALUATIONS).max(1);
        progress.begin(self.name, steps);
        progress.advance(state.step);
        (0..state.step).for_each(|_| drop(schedule.step()));
        for step in state.step..steps {
            if let Some(checkpoint) = &mut checkpoint
                && (checkpoint.is_due() || progress.is_cancelled())
            {
                checkpoint.save(self.number, &state)?;
            }
            check_cancelled(progress)?;
            let mut rng = seeded_rng(config.seed, &[0x7374_6570, self.number, step as u64]);
            let batch: Vec<usize> = (0..config.batch.min(learned.len()))
                .map(|_| learned[rng.random_range(0..learned.len())])
                .collect();
            let value = loss(&state.module, &batch, &mut rng);
            let now = self.finite(step, value.clone())?;
            let smoothed = state.smoothed.map_or(now, |before| 0.95 * before + 0.05 * now);
            let gradients = GradientsParams::from_grads(value.backward(), &state.module);
            let Some(gradients) = guard.check(&state.module, gradients) else {
                return Err(self.failed(step, "gradients are not finite".to_string()));
            };
            state.module = state.optimizer.step(schedule.step(), state.module, gradients);
            (state.step, state.smoothed) = (step + 1, Some(smoothed));
            progress.loss(smoothed);
            progress.advance(1);
            if !held_out.is_empty() && ((step + 1).is_multiple_of(every) || step + 1 == steps) {
                // The same noise each time, so that losses can be compared.
                let mut rng = seeded_rng(config.seed, &[0x6865_6c64, self.number]);
                let now = self.finite(step, loss(&state.module, held_out, &mut rng))?;
                match &state.best {
                    Some((lowest, _)) if now >= *lowest => state.waited += 1,
                    _ => (state.best, state.waited) = (Some((now, state.module.clone())), 0),
                }
                if state.waited >= config.patience {
                    log::info!("{}: ended after {} of {steps} steps", self.name, step + 1);
                    break;
                }
            }
        }
        let network = state.best.map_or(state.module, |(_, module)| module);
        if let Some(checkpoint) = checkpoint {
            checkpoint.finish(self.number, &network)?;
        }
        Ok(network)
    }

    fn finite(&self, step: usize, loss: Tensor<1>) -> Result<f64> {
        let loss = loss.into_scalar::<f64>();
        match loss.is_finite() {
            true => Ok(loss),
            false => Err(self.failed(step, format!("the loss is {loss}"))),
        }
    }

    fn failed(&self, step: usize, detail: String) -> Error {
        let detail = format!("{} ({} steps): {detail}", self.name, self.steps);
        Error::Training { step: step + 1, detail }
    }
}
