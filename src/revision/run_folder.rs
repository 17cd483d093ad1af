//! The folder of a run: what it contains, and from where a run in it starts.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{DType, Int, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parameters::fingerprint_outside;
use super::stage_model::StageModel;
use super::{ConversationDataset, ReVision, StageConfig, Trainable};
use crate::fingerprint::Fingerprint;
use crate::language::LanguageModel;
use crate::training::{StepJournal, checkpoint_files, latest_checkpoint, remove_checkpoints_after};
use crate::{Error, Result, atomic};

/// The record of a run, `run.json`, that a resumption is compared with: what both must have in common.
#[derive(Serialize, Deserialize)]
pub(super) struct RunRecord {
    stage: StageConfig,
    samples: usize,
    /// A fingerprint of samples, embeddings and noise.
    data: String,
    /// A fingerprint of the language model, where its weights are frozen and so in no checkpoint.
    language: Option<String>,
    /// A fingerprint of all weights that are frozen; absent in the records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<String>,
    num_visual_tokens: usize,
}

impl RunRecord {
    /// The record of training `model` on `train`.
    pub fn new<L: LanguageModel>(
        stage: &StageConfig,
        train: &ConversationDataset,
        model: &ReVision<L>,
    ) -> Self {
        let is_frozen = matches!(stage.trainable, Trainable::Projector | Trainable::ProjectorAndLora);
        Self {
            // Where a run is computed makes it no other run.
            stage: stage.clone().with_devices(1),
            samples: train.len(),
            data: train.fingerprint(),
            language: is_frozen.then(|| language_fingerprint(&model.language)),
            weights: is_frozen.then(|| fingerprint_outside(model, stage.trainable.group())),
            num_visual_tokens: model.num_visual_tokens(),
        }
    }

    /// The record in the file `path`.
    fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        let wrong = |source: serde_json::Error| Error::format(path, source.to_string());
        let mut record: Value = serde_json::from_slice(&json).map_err(wrong)?;
        // Settings that came later had their default then.
        if let (Some(Value::Object(stage)), Value::Object(defaults)) = (
            record.get_mut("stage"),
            serde_json::to_value(StageConfig::new()).expect("settings are plain data"),
        ) {
            defaults.into_iter().for_each(|(key, default)| {
                stage.entry(key).or_insert(default);
            });
        }
        serde_json::from_value(record).map_err(wrong)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.to_json()).expect("settings are plain data");
        atomic::write(path, |file| file.write_all(&json))
    }

    fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("settings are plain data")
    }
}

/// The folder of a run:
///
/// | file | content |
/// |---|---|
/// | `run.json` | the [`RunRecord`] |
/// | `checkpoint/` | burn-train's checkpoints, and `steps.json`: after how many steps each was written |
/// | `metrics.jsonl` | the metrics of each step |
pub(super) struct RunFolder {
    directory: PathBuf,
    /// The checkpoint to resume from, 0 for none.
    pub checkpoint: usize,
    /// The number of optimizer steps before that checkpoint.
    pub first_step: usize,
}

impl RunFolder {
    /// Prepares `directory`, which is created, for `run`: finds the checkpoint to resume from and removes the records of
    /// unfinished ones.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where there are checkpoints and the run does not resume, [`Error::Format`] where they are those
    /// of another run, [`Error::Io`] where a file cannot be read or written.
    pub fn prepare(directory: &Path, run: &RunRecord, resume: bool) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(|source| Error::io(directory, source))?;
        let mut folder = Self { directory: directory.to_path_buf(), checkpoint: 0, first_step: 0 };
        let record = directory.join("run.json");
        let checkpoint = latest_checkpoint(&folder.checkpoints()).unwrap_or(0);
        if checkpoint > 0 {
            if !resume {
                let detail = format!(
                    "{} holds {checkpoint} checkpoints already: resume, or use another",
                    record.display()
                );
                return Err(Error::config("directory", detail));
            }
            let earlier = RunRecord::read(&record)?;
            if let Some(difference) = first_difference(&earlier.to_json(), &run.to_json()) {
                return Err(Error::format(&record, format!("this is another run: {difference}")));
            }
        }
        remove_checkpoints_after(&folder.checkpoints(), checkpoint)?;
        run.write(&record)?;
        if checkpoint > 0 {
            (folder.checkpoint, folder.first_step) = (checkpoint, folder.journal()?.steps(checkpoint)?);
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.directory.join("checkpoint")
    }

    /// The file of the metrics.
    pub fn metrics(&self) -> PathBuf {
        self.directory.join("metrics.jsonl")
    }

    /// After how many steps each checkpoint was written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where the file exists and cannot be read.
    pub fn journal(&self) -> Result<StepJournal> {
        StepJournal::open(&self.checkpoints())
    }

    /// Checks the records of the checkpoint to resume from: burn-train panics where it cannot load one.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] with the file, where one is damaged or belongs to another model.
    pub fn check_records<L: LanguageModel>(&self, model: &StageModel<L>) -> Result<()> {
        if self.checkpoint == 0 {
            return Ok(());
        }
        let [model_file, optimizer_file, scheduler_file] =
            checkpoint_files(&self.checkpoints(), self.checkpoint);
        let damaged = |path: &Path, error: RecordError| Error::format(path, error.to_string());
        ModuleRecord::load(&model_file)
            .and_then(|record| model.clone().try_load_record(record))
            .map_err(|error| damaged(&model_file, error))?;
        OptimizerRecord::load(&optimizer_file).map_err(|error| damaged(&optimizer_file, error))?;
        LrSchedulerRecord::load(&scheduler_file).map_err(|error| damaged(&scheduler_file, error))?;
        Ok(())
    }
}

/// A number that tells most language models apart: a hash of the embeddings of a few tokens, which no device rounds.
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
fn first_difference(old: &Value, new: &Value) -> Option<String> {
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
