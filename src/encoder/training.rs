//! Training a dual encoder with burn-train.

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::renderer::MetricsRenderer;
use burn::train::{Learner, SupervisedTraining};

use super::dual_encoder::DualEncoder;
use super::pairs::PairDataset;
use super::tracked::{Tracked, Tracking};
use super::tracker::GapTracker;
use crate::training::{
    LossMetric, ProgressLine, SequentialLoader, StepLoader, StepPlan, adamw, cosine_with_warmup,
};
use crate::{Error, Result};

/// Settings of a training run: AdamW, with a learning rate that rises linearly and falls along a cosine to zero.
///
/// The defaults are the recipe of arXiv 2602.07026, App. H.1 (AdamW, cosine, a tenth of the steps to warm up)
/// with the learning rate and the weight decay of a model that is small.
///
/// ```no_run
/// use burn::tensor::Device;
/// use burn_revision::encoder::{DualEncoder, DualEncoderTraining, PairDataset};
///
/// # fn train(encoder: DualEncoder, train: &PairDataset, valid: &PairDataset) -> burn_revision::Result<()> {
/// let encoder =
///     DualEncoderTraining::new(20, 128).fit(encoder, train, valid, "runs/encoder", None, &Device::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Config, Debug)]
pub struct DualEncoderTraining {
    /// How often every pair is seen.
    pub epochs: usize,
    /// The pairs that compete in a batch.
    pub batch_size: usize,
    /// The highest learning rate. Default: 3e-3.
    #[config(default = 3e-3)]
    pub learning_rate: f64,
    /// The decay of weight matrices and kernels; biases, gains and the logit scale do not decay. Default: 0.05.
    #[config(default = 0.05)]
    pub weight_decay: f32,
    /// The share of the steps over which the learning rate rises. Default: 0.1.
    #[config(default = 0.1)]
    pub warmup_ratio: f64,
    /// The seed of the order of the pairs and of dropout. Default: 0.
    #[config(default = 0)]
    pub seed: u64,
}

impl DualEncoderTraining {
    /// Trains `encoder` on `device` and returns it in validation mode.
    ///
    /// burn-train writes its metric logs to `directory`; without a `renderer` progress is a [`ProgressLine`]. The
    /// loss on `valid`, which may be empty, is reported after each epoch and decides nothing. Given the weights
    /// of `encoder`, the result is a function of the data and the settings.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used, there is no pair to train on, the training stops on an error or is interrupted,
    /// or the loss is not finite in the end.
    pub fn fit(
        &self,
        encoder: DualEncoder,
        train: &PairDataset,
        valid: &PairDataset,
        directory: impl AsRef<Path>,
        renderer: Option<Box<dyn MetricsRenderer>>,
        device: &Device,
    ) -> Result<DualEncoder> {
        let (encoder, _) = self.run(encoder, (train, valid), directory.as_ref(), renderer, device, None)?;
        Ok(encoder)
    }

    /// As [`DualEncoderTraining::fit`], with a tracker that looks at the encoder before the first step and then at its
    /// cadence. The trained weights are the same. A measurement that fails ends the tracking, not the training: see
    /// [`GapTracker::failure`].
    ///
    /// # Errors
    ///
    /// As for [`DualEncoderTraining::fit`].
    #[allow(clippy::too_many_arguments, reason = "those of `fit`, and the tracker")]
    pub fn fit_tracked(
        &self,
        encoder: DualEncoder,
        train: &PairDataset,
        valid: &PairDataset,
        directory: impl AsRef<Path>,
        renderer: Option<Box<dyn MetricsRenderer>>,
        device: &Device,
        tracker: GapTracker,
    ) -> Result<(DualEncoder, GapTracker)> {
        if let Some(probe) = tracker.probe() {
            encoder.check(probe)?;
        }
        let directory = directory.as_ref();
        let (encoder, tracker) =
            self.run(encoder, (train, valid), directory, renderer, device, Some(tracker))?;
        Ok((encoder, tracker.expect("a tracker that was given comes back")))
    }

    fn run(
        &self,
        encoder: DualEncoder,
        (train, valid): (&PairDataset, &PairDataset),
        directory: &Path,
        renderer: Option<Box<dyn MetricsRenderer>>,
        device: &Device,
        tracker: Option<GapTracker>,
    ) -> Result<(DualEncoder, Option<GapTracker>)> {
        self.validate()?;
        encoder.check(train)?;
        encoder.check(valid)?;
        let device = device.clone().autodiff();
        device.seed(self.seed);
        let plan = StepPlan::new(train.len(), self.batch_size, self.epochs, None, self.seed)?;
        let optimizer = adamw(self.weight_decay, 0.98)?;
        let scheduler = cosine_with_warmup(self.learning_rate, plan.steps(), self.warmup_ratio)?;
        let renderer =
            renderer.unwrap_or_else(|| Box::new(ProgressLine::new("dual encoder", 0, plan.steps())));
        let loader = StepLoader::new(Arc::new(train.clone()), plan.clone(), plan.steps_per_epoch(), &device);
        let position = loader.observer();
        let valid = SequentialLoader::new(Arc::new(valid.clone()), self.batch_size, &device);

        let training = SupervisedTraining::new(directory, Arc::new(loader), Arc::new(valid))
            .metrics((LossMetric::new(),))
            .num_epochs(self.epochs)
            .with_application_logger(None)
            .renderer(renderer);
        let tracking = Arc::new(Mutex::new(Tracking::new(tracker)));
        let tracked = Tracked::new(encoder.train().fork(&device), tracking.clone());
        let learner = Learner::new(tracked, optimizer, scheduler);
        let result = training.launch(learner);
        let stopped = |detail: String| Error::Training { step: position.next_step(), detail };
        if let Some(error) = result.error {
            return Err(stopped(error.to_string()));
        }
        if let Some(interruption) = result.interrupted {
            return Err(stopped(interruption.reason.unwrap_or_else(|| "it was interrupted".to_string())));
        }
        let sample = train.batches(self.batch_size, &device.inner()).next();
        let encoder = result.model.into_inner();
        if !sample.is_none_or(|batch| encoder.forward(batch).is_finite().all().into_scalar::<bool>()) {
            return Err(stopped("the loss is not finite; a lower learning rate may help".to_string()));
        }
        let tracking = std::mem::take(&mut *tracking.lock().expect("no measurement panicked"));
        Ok((encoder, tracking.finish()))
    }

    fn validate(&self) -> Result<()> {
        let key = |name: &str| format!("dual encoder training, {name}");
        if self.epochs == 0 {
            return Err(Error::config(key("epochs"), "needs at least 1, found 0"));
        }
        if self.batch_size < 2 {
            let detail = format!("pairs compete in a batch: needs at least 2, found {}", self.batch_size);
            return Err(Error::config(key("batch_size"), detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{
        DualEncoderConfig, GapTrackerConfig, ImageTowerConfig, LogitScaleConfig, Pair, TextTowerConfig,
    };
    use approx::assert_abs_diff_eq;

    /// Sixteen pictures of one colour each, named by two words.
    fn pairs() -> PairDataset {
        let pair = |number: u32| Pair {
            pixels: (0..3 * 8 * 8)
                .map(
                    |place| {
                        if place / 64 == 0 { (number % 4) as f32 - 1.5 } else { (number / 4) as f32 - 1.5 }
                    },
                )
                .collect(),
            tokens: vec![number % 4, 4 + number / 4],
        };
        PairDataset::new((0..16).map(pair).collect(), [3, 8, 8]).unwrap()
    }

    fn encoder(scale: LogitScaleConfig) -> DualEncoder {
        let image = ImageTowerConfig::new(vec![16, 16], vec![2, 2], 8).with_image_size(8);
        let text = TextTowerConfig::new(8, 4, 16, 1, 2, 8);
        DualEncoderConfig::new(image, text).with_logit_scale(scale).init(&Device::default())
    }

    fn fit(training: &DualEncoderTraining, encoder: &DualEncoder) -> DualEncoder {
        let folder = tempfile::tempdir().unwrap();
        let renderer: Box<dyn MetricsRenderer> = Box::new(ProgressLine::quiet());
        training
            .fit(encoder.clone(), &pairs(), &pairs(), folder.path(), Some(renderer), &Device::default())
            .unwrap()
    }

    fn loss(encoder: &DualEncoder) -> f32 {
        let batch = pairs().batches(16, &Device::default()).next().unwrap();
        encoder.forward(batch).into_scalar()
    }

    #[test]
    fn training_lowers_the_loss_and_repeats_itself() {
        let encoder = encoder(LogitScaleConfig::Fixed(10.0));
        let before = loss(&encoder);
        let training = DualEncoderTraining::new(8, 8).with_learning_rate(1e-2).with_seed(5);
        let trained = fit(&training, &encoder);
        assert!(loss(&trained) < 0.7 * before, "{before} to {}", loss(&trained));

        let rows = |encoder: &DualEncoder| encoder.embed_pairs(&pairs(), 16).0.into_data();
        assert_eq!(rows(&trained), rows(&fit(&training, &encoder)));
        assert_ne!(rows(&trained), rows(&fit(&training.clone().with_seed(6), &encoder)));
    }

    #[test]
    fn a_fixed_scale_stays_and_a_learned_one_moves_below_its_maximum() {
        let training = DualEncoderTraining::new(6, 8).with_learning_rate(3e-2);
        let scale = |config| fit(&training, &encoder(config)).logit_scale().into_scalar::<f32>();
        assert_abs_diff_eq!(scale(LogitScaleConfig::Fixed(10.0)), 10.0, epsilon = 1e-5);
        let learned = scale(LogitScaleConfig::Learned { init: 10.0, max: 11.0 });
        assert!(learned != 10.0 && learned <= 11.0 + 1e-4, "{learned}");
    }

    #[test]
    fn a_tracked_training_ends_with_the_same_weights() {
        let encoder = encoder(LogitScaleConfig::Fixed(10.0));
        let training = DualEncoderTraining::new(3, 8).with_seed(2);
        let folder = tempfile::tempdir().unwrap();
        let tracker = GapTrackerConfig::new().with_every(2).with_freeze_at(2).with_batch_size(8);
        let (tracked, tracker) = training
            .fit_tracked(
                encoder.clone(),
                &pairs(),
                &pairs(),
                folder.path(),
                Some(Box::new(ProgressLine::quiet())),
                &Device::default(),
                tracker.init(pairs()).unwrap(),
            )
            .unwrap();
        let rows = |encoder: &DualEncoder| encoder.embed_pairs(&pairs(), 16).0.into_data();
        assert_eq!(rows(&tracked), rows(&fit(&training, &encoder)));
        let steps: Vec<usize> = tracker.records().iter().map(|record| record.step).collect();
        assert_eq!(steps, [0, 2, 4, 6]);
        assert!(tracker.records()[2].drift.is_some() && tracker.frame().is_some());
        assert!(tracker.records()[0].gap != tracker.records()[3].gap);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let fit = |training: DualEncoderTraining, train: &PairDataset| {
            let encoder = encoder(LogitScaleConfig::Fixed(10.0));
            training
                .fit(encoder, train, &pairs(), folder.path(), None, &Device::default())
                .unwrap_err()
                .to_string()
        };
        assert!(fit(DualEncoderTraining::new(0, 8), &pairs()).contains("epochs"));
        assert!(fit(DualEncoderTraining::new(1, 1), &pairs()).contains("found 1"));
        assert!(fit(DualEncoderTraining::new(1, 8).with_warmup_ratio(1.0), &pairs()).contains("warmup"));
        assert!(
            fit(DualEncoderTraining::new(1, 8).with_learning_rate(2.0), &pairs()).contains("learning_rate")
        );
        let none = PairDataset::new(vec![], [3, 8, 8]).unwrap();
        assert!(fit(DualEncoderTraining::new(1, 8), &none).contains("at least 1 rows"));
    }

    #[test]
    fn pairs_that_the_towers_cannot_take_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |change: fn(&mut Pair)| {
            let mut changed = pairs().pairs().to_vec();
            change(&mut changed[5]);
            PairDataset::new(changed, [3, 8, 8])
                .and_then(|pairs| {
                    let encoder = encoder(LogitScaleConfig::Fixed(10.0));
                    DualEncoderTraining::new(1, 8).fit(
                        encoder,
                        &pairs,
                        &pairs,
                        folder.path(),
                        None,
                        &Device::default(),
                    )
                })
                .unwrap_err()
                .to_string()
        };
        for (change, value) in [
            ((|pair| pair.tokens = vec![0; 9]) as fn(&mut Pair), "9"),
            (|pair| pair.tokens[0] = 77, "77"),
            (|pair| pair.pixels[3] = f32::NAN, "NaN"),
        ] {
            let error = refused(change);
            assert!(error.contains("pair 5") && error.contains(value), "{error}");
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_an_error() {
        let mut spoiled = pairs().pairs().to_vec();
        // Finite, and infinite after a convolution.
        spoiled[3].pixels.fill(f32::MAX);
        let spoiled = PairDataset::new(spoiled, [3, 8, 8]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let renderer: Box<dyn MetricsRenderer> = Box::new(ProgressLine::quiet());
        let error = DualEncoderTraining::new(3, 8)
            .fit(
                encoder(LogitScaleConfig::Fixed(10.0)),
                &spoiled,
                &pairs(),
                folder.path(),
                Some(renderer),
                &Device::default(),
            )
            .unwrap_err();
        assert!(matches!(error, Error::Training { step: 6, .. }), "{error}");
    }
}
