use burn::config::Config;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn::train::Interrupter;
use serde::{Deserialize, Serialize};

use super::{ContrastiveHeads, FeaturePairs};
use crate::encoder::{GapTracker, RecallAtK, recall_at_k};
use crate::training::{GradientGuard, ProgressLine, StepPlan, StopRequest, adamw, cosine_with_warmup};
use crate::{Error, Result};

/// Settings of the training of [`ContrastiveHeads`]: symmetric InfoNCE with AdamW, a learning rate that rises linearly and falls
/// along a cosine to zero, gradients clipped to a norm of 1.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::Device;
/// use burn_revision::encoder::{ContrastTraining, ContrastWatch, ContrastiveHeadsConfig, FeaturePairs, HeadConfig};
///
/// # fn train(pairs: FeaturePairs) -> burn_revision::Result<()> {
/// let device = Device::default();
/// let (train, valid) = pairs.split(0.1, 0)?;
/// let [image, text] = train.columns();
/// let heads = ContrastiveHeadsConfig::new(HeadConfig::new(train.image_dim(), 256), HeadConfig::new(train.text_dim(), 256))
///     .init(&image, &text, &device)?;
/// let trained = ContrastTraining::new().fit(heads, &train, &valid, ContrastWatch::default(), &device)?;
/// println!("{:?}", trained.epochs.last());
/// # Ok(())
/// # }
/// ```
#[derive(Config, Debug)]
pub struct ContrastTraining {
    /// How often every pair is seen.
    #[config(default = 20)]
    pub epochs: usize,
    /// The pairs that compete in a batch.
    #[config(default = 256)]
    pub batch_size: usize,
    /// The highest learning rate.
    #[config(default = 1e-3)]
    pub learning_rate: f64,
    /// The decay of weight matrices.
    #[config(default = 0.05)]
    pub weight_decay: f32,
    /// The share of the steps over which the learning rate rises.
    #[config(default = 0.1)]
    pub warmup_ratio: f64,
    /// End when the mean recall of validation has not risen for so many epochs, and go back to the best epoch. Without it, all
    /// epochs are done and the last weights are kept.
    pub patience: Option<usize>,
    /// The seed of the order of the pairs and of dropout.
    #[config(default = 0)]
    pub seed: u64,
}

/// What looks on while heads are trained.
#[derive(Default)]
pub struct ContrastWatch {
    /// Progress with loss and remaining time.
    pub line: Option<ProgressLine>,
    /// Measures the gap of the validation pairs at its cadence: made by
    /// [`GapTrackerConfig::without_probe`](crate::encoder::GapTrackerConfig::without_probe).
    pub tracker: Option<GapTracker>,
    /// Ends the training with [`Error::Interrupted`].
    pub stop: StopRequest,
}

/// An epoch of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its number, from 1.
    pub epoch: usize,
    /// Optimizer steps so far.
    pub steps: usize,
    /// The mean loss of its batches.
    pub loss: f64,
    /// The scale of the logits at its end.
    pub logit_scale: f64,
    /// Retrieval among the validation pairs at 1, 5 and 10: texts for pictures.
    pub image_to_text: [f64; 3],
    /// The same: pictures for texts.
    pub text_to_image: [f64; 3],
    /// The gap of the validation pairs: the distance of their centroids; 0 without validation.
    pub gap: f64,
}

impl EpochRecord {
    /// The mean of all recalls, by which epochs are compared.
    pub fn mean_recall(&self) -> f64 {
        self.image_to_text.iter().chain(&self.text_to_image).sum::<f64>() / 6.0
    }
}

/// Trained heads, and how they came about.
#[derive(Debug)]
pub struct Contrasted {
    /// The heads.
    pub heads: ContrastiveHeads,
    /// All epochs.
    pub epochs: Vec<EpochRecord>,
    /// The epoch whose weights these are, from 1.
    pub best: usize,
    /// Steps that were left out since their gradients were not finite.
    pub skipped: usize,
    /// The tracker with its measurements.
    pub tracker: Option<GapTracker>,
}

/// Steps without finite gradients that end a training.
const MAX_SKIPPED: usize = 10;

impl ContrastTraining {
    /// Trains heads. Given their weights, the result is a function of the pairs and the settings.
    ///
    /// `valid` may be empty; it decides nothing but, with `patience`, when to end.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings that cannot be; [`Error::Mismatch`] for features of other widths than the heads take;
    /// [`Error::Training`] where gradients or weights are not finite; [`Error::Interrupted`] where a stop was requested.
    pub fn fit(
        &self,
        heads: ContrastiveHeads,
        train: &FeaturePairs,
        valid: &FeaturePairs,
        watch: ContrastWatch,
        device: &Device,
    ) -> Result<Contrasted> {
        self.check(&heads, train, valid)?;
        let plain = device.clone().inner();
        let device = plain.clone().autodiff();
        device.seed(self.seed);
        let plan = StepPlan::new(train.len(), self.batch_size, self.epochs, None, self.seed)?;
        let mut optimizer = adamw(self.weight_decay, 0.98)?;
        let mut schedule = cosine_with_warmup(self.learning_rate, plan.steps(), self.warmup_ratio)?;
        let guard = GradientGuard::new(Some(1.0), MAX_SKIPPED, Interrupter::new());
        let ContrastWatch { mut line, mut tracker, stop } = watch;

        let mut heads = heads.train().fork(&device);
        if let Some(tracker) = &mut tracker {
            observe(tracker, 0, &heads.valid(), valid, &plain);
        }
        let (mut epochs, mut best): (Vec<EpochRecord>, Option<(usize, f64, ContrastiveHeads)>) =
            (Vec::new(), None);
        let (mut sum, mut count) = (0.0, 0);
        for step in plan.range(0..plan.steps()) {
            if stop.is_requested() {
                return Err(Error::Interrupted);
            }
            let (image, text, groups) = train.batch(&step.items, &device);
            let loss = heads.forward(image, text, &groups);
            let value: f64 = loss.clone().into_scalar();
            let grads = GradientsParams::from_grads(loss.backward(), &heads);
            let rate = schedule.step();
            if let Some(grads) = guard.check(&heads, grads) {
                heads = optimizer.step(rate, heads, grads).with_scale_clamped();
                (sum, count) = (sum + value, count + 1);
            }
            let stopped = |detail: &str| Error::Training { step: step.index, detail: detail.to_string() };
            if guard.is_exhausted() {
                return Err(stopped("gradients were not finite too often; a lower learning rate may help"));
            }
            if let Some(line) = &mut line {
                line.step(value);
            }
            let done = step.index + 1;
            if let Some(tracker) = tracker.as_mut().filter(|tracker| tracker.is_due(done)) {
                observe(tracker, done, &heads.valid(), valid, &plain);
            }
            if done % plan.steps_per_epoch() != 0 {
                continue;
            }
            let loss = sum / f64::from(count.max(1));
            (sum, count) = (0.0, 0);
            let now = heads.valid();
            let record = record(&now, valid, step.epoch + 1, done, loss, &plain);
            if !record.logit_scale.is_finite() || !loss.is_finite() {
                return Err(stopped("the weights are not finite; a lower learning rate may help"));
            }
            let recall = record.mean_recall();
            epochs.push(record);
            let Some(patience) = self.patience else { continue };
            if best.as_ref().is_none_or(|(_, before, _)| recall > *before) {
                best = Some((step.epoch + 1, recall, now));
            }
            let best = best.as_ref().expect("there is a first epoch").0;
            if step.epoch + 1 - best >= patience {
                break;
            }
        }
        if let Some(line) = &mut line {
            line.finish();
        }
        let (best, heads) = match best {
            Some((epoch, _, heads)) => (epoch, heads),
            None => (epochs.len(), heads.valid()),
        };
        Ok(Contrasted { heads, epochs, best, skipped: guard.skipped(), tracker })
    }

    fn check(&self, heads: &ContrastiveHeads, train: &FeaturePairs, valid: &FeaturePairs) -> Result<()> {
        let key = |name: &str| format!("contrast, {name}");
        if self.epochs == 0 {
            return Err(Error::config(key("epochs"), "needs at least 1, found 0"));
        }
        if self.batch_size < 2 {
            let detail = format!("pairs compete in a batch: needs at least 2, found {}", self.batch_size);
            return Err(Error::config(key("batch_size"), detail));
        }
        if self.patience == Some(0) || self.patience.is_some() && valid.is_empty() {
            let detail = "needs validation pairs, and at least one epoch";
            return Err(Error::config(key("patience"), detail));
        }
        for (what, expected, found) in [
            ("width of the features of pictures", heads.image.input_dim(), train.image_dim()),
            ("width of the features of texts", heads.text.input_dim(), train.text_dim()),
        ] {
            if expected != found {
                return Err(Error::mismatch(what, expected, found));
            }
        }
        Ok(())
    }
}

/// The unit rows of all pairs, `[n, output_dim]` each.
fn rows(heads: &ContrastiveHeads, pairs: &FeaturePairs, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let all: Vec<usize> = (0..pairs.len()).collect();
    let parts = all.chunks(1024).map(|part| {
        let (image, text, _) = pairs.batch(part, device);
        (heads.embed_images(image), heads.embed_texts(text))
    });
    let (images, texts): (Vec<_>, Vec<_>) = parts.unzip();
    (Tensor::cat(images, 0), Tensor::cat(texts, 0))
}

/// Measures the gap of the validation pairs. A measurement that fails does not end the training: the tracker keeps the error.
fn observe(
    tracker: &mut GapTracker,
    step: usize,
    heads: &ContrastiveHeads,
    valid: &FeaturePairs,
    device: &Device,
) {
    if valid.is_empty() {
        return;
    }
    let (image, text) = rows(heads, valid, device);
    let scale: f64 = heads.logit_scale().into_scalar();
    if let Err(error) = tracker.observe_embeddings(step, image, text, scale).map(|_| ()) {
        tracker.fail(step, &error);
    }
}

fn record(
    heads: &ContrastiveHeads,
    valid: &FeaturePairs,
    epoch: usize,
    steps: usize,
    loss: f64,
    device: &Device,
) -> EpochRecord {
    let logit_scale: f64 = heads.logit_scale().into_scalar();
    let mut record = EpochRecord {
        epoch,
        steps,
        loss,
        logit_scale,
        image_to_text: [0.0; 3],
        text_to_image: [0.0; 3],
        gap: 0.0,
    };
    if valid.is_empty() {
        return record;
    }
    let (image, text) = rows(heads, valid, device);
    let gap = (image.clone().mean_dim(0) - text.clone().mean_dim(0)).powi_scalar(2).sum().sqrt();
    record.gap = gap.into_scalar();
    let recalls: Vec<RecallAtK> = recall_at_k(image, text, valid.groups(), &[1, 5, 10]);
    record.image_to_text = std::array::from_fn(|at| recalls[at].image_to_text);
    record.text_to_image = std::array::from_fn(|at| recalls[at].text_to_image);
    record
}
