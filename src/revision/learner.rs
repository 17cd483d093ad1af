use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{DType, Device, Int, Tensor};
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::renderer::MetricsRenderer;
use burn::train::{Interrupter, Learner, SupervisedTraining};
use serde::{Deserialize, Serialize};

use super::dataset::ConversationBatcher;
use super::evaluation::mean_nll;
use super::stage::{first_half_precision, has_lora};
use super::{Batch, ConversationDataset, ReVision, StageConfig, StageModel, Trainable};
use crate::fingerprint::Fingerprint;
use crate::language::LanguageModel;
use crate::training::{
    GradientGuard, MetricsLog, ProgressLine, SequentialLoader, StepBatcher, StepJournal, StepLoader,
    StepPlan, StopRequest, TokenMetric, adamw, checkpoint_files, checkpointers, cosine_with_warmup,
    latest_checkpoint, remove_checkpoints_after,
};
use crate::{Error, Result, atomic};

/// Runs one stage on burn-train: what is frozen, where the data come from, optimizer, schedule and checkpoints.
///
/// The run lives in a folder. A stage starts with a fresh optimizer in a folder of its own; with
/// [`resume`](Self::resume) it goes on from the newest complete checkpoint there, to the result that an unbroken run
/// would have given.
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
    label: String,
    resume: bool,
    interrupter: Interrupter,
    stop: StopRequest,
    renderer: Option<Box<dyn MetricsRenderer>>,
}

/// The end of a stage.
#[derive(Debug)]
pub struct StageOutcome<L: LanguageModel> {
    /// The trained model, ready for inference.
    pub model: ReVision<L>,
    /// The optimizer steps of the whole stage.
    pub steps: usize,
    /// The steps whose gradients were not finite and that changed nothing, since the start or the resumption.
    pub skipped_steps: usize,
    /// The first step of this run: 0, or where it resumed.
    pub first_step: usize,
    /// The mean negative log-likelihood of a labelled token of the validation set, where there is one.
    pub valid_loss: Option<f64>,
}

/// What a resumed run must have in common with the run that it continues.
#[derive(Serialize, Deserialize)]
struct RunFile {
    stage: StageConfig,
    samples: usize,
    /// Of samples, embeddings and noise.
    data: String,
    /// Of the language model, where its weights stay as they are and are in no checkpoint.
    language: Option<String>,
    num_visual_tokens: usize,
}

impl ReVisionLearner {
    /// A stage that is to run in `directory`.
    pub fn new(config: StageConfig, directory: impl AsRef<Path>) -> Self {
        Self {
            config,
            directory: directory.as_ref().to_path_buf(),
            label: "training".into(),
            resume: false,
            interrupter: Interrupter::new(),
            stop: StopRequest::new(),
            renderer: None,
        }
    }

    /// Goes on from the newest checkpoint in the folder; without one, starts anew.
    pub fn resume(mut self) -> Self {
        self.resume = true;
        self
    }

    /// The name in the progress line.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// A request that ends the run soon, after a checkpoint: [`Error::Interrupted`].
    pub fn with_stop(mut self, stop: StopRequest) -> Self {
        self.stop = stop;
        self
    }

    /// A handle that can stop the run at once.
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
    /// What [`ConversationDataset::check`] refuses; [`Error::Config`] for settings that cannot
    /// work, or a folder that holds another run; [`Error::Format`] for a damaged checkpoint; [`Error::Interrupted`] where
    /// it was asked to stop and a checkpoint holds what it did; [`Error::Training`] where it broke off otherwise.
    pub fn fit<L: LanguageModel>(
        self,
        model: ReVision<L>,
        train: ConversationDataset,
        valid: Option<ConversationDataset>,
    ) -> Result<StageOutcome<L>> {
        let stage = &self.config;
        stage.validate()?;
        for data in std::iter::once(&train).chain(&valid) {
            data.check(&model)?;
        }
        if stage.trainable == Trainable::Projector && !train.has_pictures() {
            return Err(Error::config(
                "trainable",
                "the projector learns nothing from samples without a picture",
            ));
        }
        let plan = StepPlan::new(train.len(), stage.batch_size, stage.epochs, stage.max_steps, stage.seed)?;
        let scheduler = cosine_with_warmup(stage.learning_rate, plan.steps(), stage.warmup_ratio)?;
        let optimizer = adamw(stage.weight_decay, 0.999)?;
        let num_visual_tokens = model.num_visual_tokens();
        let (checkpoint, first_step) = self.prepare_folder(&train, &model)?;

        let device = model.devices().first().cloned().unwrap_or_default().inner().autodiff();
        let guard =
            GradientGuard::new(stage.max_grad_norm, stage.max_skipped_steps, self.interrupter.clone());
        let model = match stage.trainable {
            Trainable::ProjectorAndLora if !has_lora(&model) => stage.lora.attach(model)?,
            _ => model,
        };
        let model = stage.trainable.apply(model.train())?.fork(&device);
        if let Some(dtype) = first_half_precision(&model, stage.trainable.group()) {
            let detail =
                format!("weights to be trained are {dtype:?}, where AdamW loses its updates: F32 is needed");
            return Err(Error::config("precision", detail));
        }
        let model = StageModel::new(model, stage.trainable, guard.clone());
        let [model_files, optimizer_files, scheduler_files] = checkpointers(&self.checkpoints())?;
        if checkpoint > 0 {
            self.check_records(checkpoint, &model)?;
        }

        let batcher = |dataset: &Arc<ConversationDataset>| -> Arc<dyn StepBatcher<Batch>> {
            Arc::new(ConversationBatcher {
                dataset: dataset.clone(),
                micro_batch_size: stage.micro_batch_size,
                num_visual_tokens,
                seed: stage.seed,
            })
        };
        let loader =
            StepLoader::new(batcher(&Arc::new(train)), plan.clone(), stage.checkpoint_steps, &device)
                .starting_at(first_step, checkpoint)
                .with_stop(self.stop.clone(), self.interrupter.clone())
                .with_journal(StepJournal::open(&self.checkpoints())?);
        let (last_checkpoint, position) = (loader.last_checkpoint(), loader.observer());
        let valid = valid.map(Arc::new);
        let valid_loader = match &valid {
            Some(valid) => SequentialLoader::new(batcher(valid), stage.micro_batch_size, &device),
            None => SequentialLoader::new(Arc::new(NoBatches), 1, &device),
        };
        let log = MetricsLog::open(&self.directory.join(METRICS), first_step, self.interrupter.clone())?;
        let renderer = self
            .renderer
            .unwrap_or_else(|| Box::new(ProgressLine::new(self.label.clone(), first_step, plan.steps())));
        let mut training = SupervisedTraining::new(&self.directory, Arc::new(loader), Arc::new(valid_loader))
            .metrics((LossMetric::new(), TokenMetric::new()))
            .metric_train_numeric(LearningRateMetric::new())
            .with_metric_logger(log)
            .with_application_logger(None)
            .with_interrupter(self.interrupter.clone())
            .with_custom_checkpointers(model_files, optimizer_files, scheduler_files)
            .with_checkpointing_strategy(KeepLastNCheckpoints::new(stage.keep_checkpoints))
            .renderer(renderer)
            .num_epochs(last_checkpoint);
        if checkpoint > 0 {
            training = training.checkpoint(checkpoint);
        }
        let result = training.launch(Learner::new(model, optimizer, scheduler));

        let stopped = |detail: String| Error::Training { step: position.next_step(), detail };
        if let Some(error) = &result.error {
            return Err(stopped(error.to_string()));
        }
        if guard.is_exhausted() {
            let limit = stage.max_skipped_steps;
            let detail =
                format!("{} steps had gradients that are not finite; {limit} are allowed", guard.skipped());
            return Err(stopped(detail));
        }
        // A stop in the last segment leaves nothing that could be interrupted.
        if self.stop.is_requested() && position.next_step() < plan.steps() {
            return Err(Error::Interrupted);
        }
        if let Some(interruption) = result.interrupted {
            if self.stop.is_requested() {
                return Err(Error::Interrupted);
            }
            return Err(stopped(interruption.reason.unwrap_or_else(|| "stopped on request".into())));
        }
        let model = result.model.into_inner();
        let device = device.inner();
        Ok(StageOutcome {
            valid_loss: valid
                .map(|valid| mean_nll(&model, &valid, stage.micro_batch_size, &device))
                .transpose()?,
            model,
            steps: plan.steps(),
            skipped_steps: guard.skipped(),
            first_step,
        })
    }

    fn checkpoints(&self) -> PathBuf {
        self.directory.join(CHECKPOINTS)
    }

    /// The checkpoint to go on from and the steps in front of it, after a look at what the folder holds.
    fn prepare_folder<L: LanguageModel>(
        &self,
        train: &ConversationDataset,
        model: &ReVision<L>,
    ) -> Result<(usize, usize)> {
        std::fs::create_dir_all(&self.directory).map_err(|source| Error::io(&self.directory, source))?;
        let path = self.directory.join("run.json");
        let run = RunFile {
            stage: self.config.clone(),
            samples: train.len(),
            data: train.fingerprint(),
            language: matches!(self.config.trainable, Trainable::Projector | Trainable::ProjectorAndLora)
                .then(|| language_fingerprint(&model.language)),
            num_visual_tokens: model.num_visual_tokens(),
        };
        let json = serde_json::to_value(&run).expect("settings are plain data");
        let checkpoint = latest_checkpoint(&self.checkpoints()).unwrap_or(0);
        if checkpoint > 0 && !self.resume {
            let detail =
                format!("{} holds {checkpoint} checkpoints already: resume, or use another", path.display());
            return Err(Error::config("directory", detail));
        }
        if checkpoint > 0 {
            let text = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
            let old: RunFile =
                serde_json::from_slice(&text).map_err(|source| Error::format(&path, source.to_string()))?;
            let old = serde_json::to_value(&old).expect("settings are plain data");
            if let Some(difference) = first_difference(&old, &json) {
                return Err(Error::format(&path, format!("this is another run: {difference}")));
            }
        }
        remove_checkpoints_after(&self.checkpoints(), checkpoint)?;
        let json = serde_json::to_vec_pretty(&json).expect("settings are plain data");
        atomic::write(&path, |file| file.write_all(&json))?;
        match checkpoint {
            0 => Ok((0, 0)),
            _ => Ok((checkpoint, StepJournal::open(&self.checkpoints())?.steps(checkpoint)?)),
        }
    }

    /// burn-train panics over a checkpoint that it cannot load; this says which file is wrong, and what is.
    fn check_records<L: LanguageModel>(&self, segment: usize, model: &StageModel<L>) -> Result<()> {
        let [model_file, optimizer_file, scheduler_file] = checkpoint_files(&self.checkpoints(), segment);
        let damaged = |path: &Path, error: RecordError| Error::format(path, error.to_string());
        ModuleRecord::load(&model_file)
            .and_then(|record| model.clone().try_load_record(record))
            .map_err(|error| damaged(&model_file, error))?;
        OptimizerRecord::load(&optimizer_file).map_err(|error| damaged(&optimizer_file, error))?;
        LrSchedulerRecord::load(&scheduler_file).map_err(|error| damaged(&scheduler_file, error))?;
        Ok(())
    }
}

const CHECKPOINTS: &str = "checkpoint";
const METRICS: &str = "metrics.jsonl";

/// A number that tells most language models apart: of the embeddings of a few tokens, which no device rounds.
fn language_fingerprint<L: LanguageModel>(model: &L) -> String {
    let tokens = model.vocab_size().min(8) as i64;
    let device = model.devices().first().cloned().unwrap_or_default();
    let tokens = Tensor::<1, Int>::arange(0..tokens, &device).reshape([1, tokens as usize]);
    let embeddings = model.embed(tokens).cast(DType::F32).into_data();
    let mut hash = Fingerprint::new();
    embeddings.iter::<f32>().for_each(|value| hash.add(&value.to_le_bytes()));
    hash.finish()
}

/// The first setting in which two runs differ, with both values.
fn first_difference(old: &serde_json::Value, new: &serde_json::Value) -> Option<String> {
    use serde_json::Value::Object;
    match (old, new) {
        (Object(old), Object(new)) => new.iter().find_map(|(key, value)| {
            let before = old.get(key)?;
            match first_difference(before, value) {
                Some(inner) if matches!(value, Object(_)) => Some(inner),
                Some(_) => Some(format!("{key} was {before} and is now {value}")),
                None => None,
            }
        }),
        _ => (old != new).then(String::new),
    }
}

/// Validation without data: burn-train wants a loader.
struct NoBatches;

impl StepBatcher<Batch> for NoBatches {
    fn num_items(&self) -> usize {
        0
    }

    fn batch(&self, _step: &crate::training::Step, _device: &Device) -> Result<Batch> {
        unreachable!("there are no steps without samples")
    }
}
