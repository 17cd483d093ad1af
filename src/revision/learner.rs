use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::LearningRateMetric;
use burn::train::renderer::MetricsRenderer;
use burn::train::{Interrupter, Learner, SupervisedTraining};

use super::dataset::{NoSamples, StageBatcher};
use super::ending::Ending;
use super::evaluation::mean_nll;
use super::parameters::{first_half_precision, fork_for_training};
use super::run_folder::{RunFolder, RunRecord};
use super::stage::has_lora;
use super::stage_model::{StageModel, StepBatch};
use super::{ConversationDataset, ReVision, StageConfig, Trainable};
use crate::device::several_devices;
use crate::language::LanguageModel;
use crate::training::{
    GradientGuard, LastValidation, LossMetric, MetricsLog, ProgressLine, SequentialLoader, StepBatcher,
    StepLoader, StepPlan, StopRequest, TokenMetric, adamw, checkpointers, cosine_with_warmup,
};
use crate::{Error, Result};

/// Runs one stage on burn-train: freezing, data, optimizer, schedule and checkpoints.
///
/// Checkpoints and logs of the run are in a folder. A stage starts with a new optimizer in a folder of its own; with
/// [`resume`](Self::resume) it continues from the newest complete checkpoint there, to the result of an uninterrupted
/// run.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use burn::tensor::Device;
/// use burn_revision::embedding::{EmbeddingTable, NonFinite};
/// use burn_revision::language::{LlamaConfig, Tokenizer};
/// use burn_revision::revision::*;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let tokenizer = Tokenizer::train(&["a red apple", "a green pear"], 280)?;
/// let language = LlamaConfig::new(tokenizer.vocab_size(), 32, 64, 1, 2).init(&device)?;
/// let model = ReVisionConfig::new(2).with_num_visual_tokens(2).init(language, &device)?;
///
/// let table = EmbeddingTable::new(vec!["apple".into(), "pear".into()], vec![1.0, 0.0, 0.0, 1.0], 2)?;
/// let source = Arc::new(VisualSource::new(table, 0.0, NonFinite::Error)?);
/// let conversations =
///     [Conversation::caption("1", "apple", "a red apple"), Conversation::caption("2", "pear", "a green pear")];
/// let data = ConversationDataset::new(&conversations, Template::Plain, &tokenizer, 64, Some(source))?;
///
/// let folder = tempfile::tempdir().unwrap();
/// let stage = StageConfig::pretrain().with_batch_size(2).with_max_steps(Some(3));
/// let outcome = ReVisionLearner::new(stage, folder.path()).fit(model, data, None)?;
/// assert_eq!((outcome.steps, outcome.skipped_steps), (3, 0));
/// # Ok(())
/// # }
/// ```
pub struct ReVisionLearner {
    config: StageConfig,
    directory: PathBuf,
    devices: Option<Vec<Device>>,
    label: String,
    resume: bool,
    interrupter: Interrupter,
    stop: StopRequest,
    renderer: Option<Box<dyn MetricsRenderer>>,
}

/// The result of a stage.
#[derive(Debug)]
pub struct StageOutcome<L: LanguageModel> {
    /// The trained model, ready for inference.
    pub model: ReVision<L>,
    /// The optimizer steps of the whole stage.
    pub steps: usize,
    /// The steps that were skipped because their gradients were not finite, since the start or the resumption.
    pub skipped_steps: usize,
    /// The first step of this run: 0, or where it resumed.
    pub first_step: usize,
    /// The mean negative log-likelihood of a labelled token of the validation set, where there is one.
    pub valid_loss: Option<f64>,
}

impl ReVisionLearner {
    /// Runs the stage `config` in `directory`.
    pub fn new(config: StageConfig, directory: impl AsRef<Path>) -> Self {
        Self {
            config,
            directory: directory.as_ref().to_path_buf(),
            devices: None,
            label: "training".into(),
            resume: false,
            interrupter: Interrupter::new(),
            stop: StopRequest::new(),
            renderer: None,
        }
    }

    /// Continues from the newest checkpoint in the folder; without one, starts at the first step.
    pub fn resume(mut self) -> Self {
        self.resume = true;
        self
    }

    /// Trains on these devices instead of the first [`StageConfig::devices`] of the model's backend. They share the
    /// micro-batches of each step; the first adds up the gradients, updates the weights and has the model in the end. A device
    /// that is named twice has two shares.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_revision::revision::{ReVisionLearner, StageConfig};
    /// // On several cards: `(0..4).map(Device::cuda).collect()`.
    /// let devices = vec![Device::default(), Device::default()];
    /// let learner = ReVisionLearner::new(StageConfig::pretrain(), "runs/stage1").with_devices(devices);
    /// ```
    pub fn with_devices(mut self, devices: Vec<Device>) -> Self {
        self.devices = Some(devices);
        self
    }

    /// The name in the progress line.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// A request that ends the run after the current step and a checkpoint, with [`Error::Interrupted`].
    pub fn with_stop(mut self, stop: StopRequest) -> Self {
        self.stop = stop;
        self
    }

    /// A handle that stops the run without a checkpoint.
    pub fn with_interrupter(mut self, interrupter: Interrupter) -> Self {
        self.interrupter = interrupter;
        self
    }

    /// Shows progress with `renderer` instead of a [`ProgressLine`].
    pub fn with_renderer(mut self, renderer: Box<dyn MetricsRenderer>) -> Self {
        self.renderer = Some(renderer);
        self
    }

    /// Trains `model` on `train`, and measures the loss on `valid` at every checkpoint.
    ///
    /// # Errors
    ///
    /// What [`ConversationDataset::check`] refuses; [`Error::Config`] for settings that cannot work, or a folder with
    /// another run; [`Error::Format`] for a damaged checkpoint; [`Error::Interrupted`] after a request to stop, where a
    /// checkpoint has all that was done; [`Error::Training`] where the run ended early for another reason.
    pub fn fit<L: LanguageModel>(
        mut self,
        model: ReVision<L>,
        train: ConversationDataset,
        valid: Option<ConversationDataset>,
    ) -> Result<StageOutcome<L>> {
        let stage = self.config.clone();
        check_inputs(&stage, &model, &train, valid.as_ref())?;
        let plan = StepPlan::new(train.len(), stage.batch_size, stage.epochs, stage.max_steps, stage.seed)?;
        let scheduler = cosine_with_warmup(stage.learning_rate, plan.steps(), stage.warmup_ratio)?;
        let optimizer = adamw(stage.weight_decay, 0.999)?;
        let devices = self.training_devices(&model, train.len())?;
        let run = RunRecord::new(&stage, &train, &model);
        let folder = RunFolder::prepare(&self.directory, &run, self.resume)?;

        let guard =
            GradientGuard::new(stage.max_grad_norm, stage.max_skipped_steps, self.interrupter.clone());
        let loaders = Loaders {
            stage: &stage,
            num_visual_tokens: model.num_visual_tokens(),
            device: devices[0].clone(),
            other_devices: devices[1..].to_vec(),
        };
        let model = prepare_model(&stage, model, &devices, guard.clone())?;
        let checkpointers = checkpointers(&folder.checkpoints())?;
        folder.check_records(&model)?;

        let valid = valid.map(Arc::new);
        let train = loaders
            .train(Arc::new(train), plan.clone())
            .starting_at(folder.first_step, folder.checkpoint)
            .with_stop(self.stop.clone(), self.interrupter.clone())
            .with_journal(folder.journal()?);
        let ending = Ending {
            position: train.observer(),
            plan,
            first_step: folder.first_step,
            guard,
            stop: self.stop.clone(),
        };
        let (training, last_validation) = self.training(&folder, train, loaders.valid(valid.clone()))?;
        let [model_files, optimizer_files, scheduler_files] = checkpointers;
        let result = training
            .with_custom_checkpointers(model_files, optimizer_files, scheduler_files)
            .launch(Learner::new(model, optimizer, scheduler));

        ending.check(&result)?;
        let model = result.model.into_inner();
        // A run without a step left has measured nothing.
        let measured = last_validation.after(ending.plan.steps());
        let valid_loss = valid.map(|valid| match measured {
            Some(loss) => Ok(loss),
            None => mean_nll(&model, &valid, stage.micro_batch_size, &devices[0].clone().inner()),
        });
        Ok(StageOutcome {
            valid_loss: valid_loss.transpose()?,
            model,
            steps: ending.plan.steps(),
            skipped_steps: ending.guard.skipped(),
            first_step: folder.first_step,
        })
    }

    /// The devices that share the steps of training `model` on so many samples, with autodiff.
    fn training_devices<L: LanguageModel>(&self, model: &ReVision<L>, samples: usize) -> Result<Vec<Device>> {
        let stage = &self.config;
        let own = model.devices().first().cloned().unwrap_or_default();
        let devices = match &self.devices {
            Some(named) if named.is_empty() => {
                return Err(Error::config("devices", "must be at least 1, found 0"));
            }
            Some(named) => named.clone(),
            None => several_devices(&own, stage.devices)?,
        };
        let shares = stage.batch_size.min(samples).div_ceil(stage.micro_batch_size);
        if shares < devices.len() {
            let detail = format!(
                "{} devices share the micro-batches of a step, which are {shares}: batch_size {} of {samples} samples, \
                 micro_batch_size {}",
                devices.len(),
                stage.batch_size,
                stage.micro_batch_size
            );
            return Err(Error::config("devices", detail));
        }
        Ok(devices.into_iter().map(|device| training_device(stage, device)).collect())
    }

    /// burn-train's training over the loaders, with metrics, log, progress, and checkpoints after each segment; and where its
    /// last validation will be found.
    fn training<L: LanguageModel>(
        &mut self,
        folder: &RunFolder,
        train: StepLoader<StepBatch>,
        valid: SequentialLoader<StepBatch>,
    ) -> Result<(SupervisedTraining<StageModel<L>>, LastValidation)> {
        let log = MetricsLog::open(&folder.metrics(), folder.first_step, self.interrupter.clone())?;
        let last_validation = log.last_validation();
        let renderer = self.renderer.take().unwrap_or_else(|| {
            Box::new(ProgressLine::new(self.label.clone(), folder.first_step, train.steps()))
        });
        let last_checkpoint = train.last_checkpoint();
        let training = SupervisedTraining::new(folder.directory(), Arc::new(train), Arc::new(valid))
            .metrics((LossMetric::new(), TokenMetric::new()))
            .metric_train_numeric(LearningRateMetric::new())
            .with_metric_logger(log)
            .with_application_logger(None)
            .with_interrupter(self.interrupter.clone())
            .with_checkpointing_strategy(KeepLastNCheckpoints::new(self.config.keep_checkpoints))
            .renderer(renderer)
            .num_epochs(last_checkpoint);
        let training = match folder.checkpoint {
            0 => training,
            checkpoint => training.checkpoint(checkpoint),
        };
        Ok((training, last_validation))
    }
}

/// Refuses settings and data with which nothing could be trained.
fn check_inputs<L: LanguageModel>(
    stage: &StageConfig,
    model: &ReVision<L>,
    train: &ConversationDataset,
    valid: Option<&ConversationDataset>,
) -> Result<()> {
    stage.validate()?;
    for data in std::iter::once(train).chain(valid) {
        data.check(model)?;
    }
    if stage.trainable == Trainable::Projector && !train.has_pictures() {
        let detail = "the projector learns nothing from samples without a picture";
        return Err(Error::config("trainable", detail));
    }
    Ok(())
}

/// The device of a model, with autodiff. Gradient checkpointing that the caller asked for there stays.
fn training_device(stage: &StageConfig, device: Device) -> Device {
    let device = device.autodiff();
    if stage.gradient_checkpointing { device.gradient_checkpointing() } else { device }
}

/// The model in training on the first of `devices`: adapters attached where the stage asks for them, the rest frozen.
fn prepare_model<L: LanguageModel>(
    stage: &StageConfig,
    model: ReVision<L>,
    devices: &[Device],
    guard: GradientGuard,
) -> Result<StageModel<L>> {
    let model = match stage.trainable {
        Trainable::ProjectorAndLora if !has_lora(&model) => stage.lora.attach(model)?,
        _ => model,
    };
    let model = fork_for_training(stage.trainable.apply(model.train())?, &devices[0]);
    if let Some(dtype) = first_half_precision(&model, stage.trainable.group()) {
        let detail =
            format!("weights to be trained are {dtype:?}, where AdamW loses its updates: F32 is needed");
        return Err(Error::config("precision", detail));
    }
    Ok(StageModel::new(model, stage.trainable, guard).with_other_devices(&devices[1..]))
}

/// What the loaders of a stage have in common.
struct Loaders<'a> {
    stage: &'a StageConfig,
    num_visual_tokens: usize,
    device: Device,
    other_devices: Vec<Device>,
}

impl Loaders<'_> {
    fn batcher(
        &self,
        dataset: Arc<ConversationDataset>,
        is_validation: bool,
    ) -> Arc<dyn StepBatcher<StepBatch>> {
        // Validation is computed by the first device.
        let other_devices = if is_validation { Vec::new() } else { self.other_devices.clone() };
        Arc::new(StageBatcher {
            validation: is_validation.then(|| dataset.by_length()),
            dataset,
            other_devices,
            micro_batch_size: self.stage.micro_batch_size,
            num_visual_tokens: self.num_visual_tokens,
            seed: self.stage.seed,
        })
    }

    fn train(&self, dataset: Arc<ConversationDataset>, plan: StepPlan) -> StepLoader<StepBatch> {
        StepLoader::new(self.batcher(dataset, false), plan, self.stage.checkpoint_steps, &self.device)
    }

    fn valid(&self, dataset: Option<Arc<ConversationDataset>>) -> SequentialLoader<StepBatch> {
        match dataset {
            Some(dataset) => {
                SequentialLoader::new(self.batcher(dataset, true), self.stage.micro_batch_size, &self.device)
            }
            None => SequentialLoader::new(Arc::new(NoSamples), 1, &self.device),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::GradientCheckpointingStrategy::{Balanced, Disabled};

    use super::*;

    #[test]
    fn gradient_checkpointing_is_that_of_the_stage_or_of_the_device() {
        let plain = StageConfig::pretrain();
        let setting = plain.clone().with_gradient_checkpointing(true);
        let device = Device::default;
        for (stage, device, expected) in [
            (&plain, device(), Disabled),
            (&plain, device().autodiff(), Disabled),
            (&plain, device().autodiff().gradient_checkpointing(), Balanced),
            (&setting, device(), Balanced),
            (&setting, device().autodiff().gradient_checkpointing(), Balanced),
        ] {
            let device = training_device(stage, device);
            assert_eq!(device.gradient_checkpointing_strategy(), Some(expected));
        }
    }
}
