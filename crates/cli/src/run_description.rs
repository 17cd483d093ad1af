use std::path::{Path, PathBuf};

use burn::tensor::FloatDType;
use serde::Deserialize;

use burn_revision::embedding::StoreOptions;
use burn_revision::revision::{
    BadSamples, IdMatch, LoraConfig, ProjectorKind, StageConfig, Template, Trainable,
};
use burn_revision::{Error, Result};

/// The section of `train --help` on the file.
pub const HELP: &str = r#"Example, stage 1 on aligned captions:

  output = "runs/stage1"                  # checkpoints, metrics.jsonl and, in the end, model/
  language_model = "SmolLM2.gguf"         # a GGUF file or a folder of Hugging Face
  # precision = "f32"                     # of its weights; bf16, f16: for a language model that stays frozen

  [projector]
  kind = "mlp2x_gelu"
  num_visual_tokens = 16
  # weights = "mm_projector.bin"          # start from a projector of LLaVA, transformers or llama.cpp (mmproj)

  [data]
  conversations = "captions.jsonl"        # .json, .jsonl or a folder of them, a conversation as one of
                                          #   id, image, conversations of from and value (LLaVA)
                                          #   messages of role and content, images (chat APIs)
                                          #   id, caption (its embedding has this id)
  embeddings = "captions.npy"             # an `image` of the conversations is an id of these
  stats = "realign.safetensors"           # of `fit`: the embeddings are texts, aligned as they are read
  # encoder = "clip-vit-base-patch32"     # that made the embeddings, where `embed` has not written it beside them
  # aligned_with = "realign.safetensors"  # instead of `stats`: `align` or `apply` aligned them already
  template = "plain"                      # plain, completion, llama, chatml, chat (the model's own)
  # key, id_column                        # of files with several matrices, columns or ids
  # valid = "valid.jsonl"                 # measured at every checkpoint
  # valid_embeddings = "pictures.npy"     # by default those above
  # max_length = 2048                     # text tokens at the most
  # noise = 0.0                           # standard deviation a coordinate, drawn anew at every step
  # id_match = "exact"                    # or "stem": an image a/1.jpg is the id 1, without folders and extension
  # bad_samples = "error"                 # or "drop": leave out and report what cannot be used

  [stage]
  preset = "pretrain"                     # the paper's settings of stage 1; "finetune": of stage 2
  batch_size = 64
  # trainable = "projector"               # projector-and-language, projector-and-lora, language
  # learning_rate, micro_batch_size, epochs, max_steps, warmup_ratio, weight_decay, max_grad_norm,
  # checkpoint_steps, keep_checkpoints, seed
  # devices = 1                           # cards that share the micro-batches of each step
  # lora = { rank = 16, alpha = 32.0 }
  # gradient_checkpointing = false        # true: less memory, more time

Stage 2 begins with `from = "runs/stage1/model"` in place of `language_model` and `[projector]`. The model keeps the
encoder of its embeddings, and the statistics of its texts; embeddings without `stats` or `aligned_with` are then pictures, moved where the method moves
pictures too (gr-clip, unicorn, c3-zero-mean), as `valid_embeddings` are.

Ctrl-C writes a checkpoint first; the same command with --resume continues from there, to the result of an uninterrupted
run."#;

/// The description of a run. Paths are relative to where the program is started.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDescription {
    pub output: PathBuf,
    pub language_model: Option<PathBuf>,
    pub from: Option<PathBuf>,
    pub precision: Option<Precision>,
    pub projector: Option<ProjectorSection>,
    pub data: DataSection,
    #[serde(default)]
    pub stage: StageSection,
}

#[derive(Clone, Copy, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    F32,
    F16,
    Bf16,
}

impl From<Precision> for FloatDType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::Bf16 => Self::BF16,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorSection {
    pub kind: Option<ProjectorKind>,
    pub num_visual_tokens: usize,
    pub weights: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    pub conversations: PathBuf,
    pub embeddings: Option<PathBuf>,
    pub stats: Option<PathBuf>,
    pub aligned_with: Option<PathBuf>,
    pub encoder: Option<PathBuf>,
    pub key: Option<String>,
    pub id_column: Option<String>,
    pub valid: Option<PathBuf>,
    pub valid_embeddings: Option<PathBuf>,
    pub template: Option<Template>,
    pub max_length: Option<usize>,
    #[serde(default)]
    pub noise: f64,
    #[serde(default)]
    pub id_match: IdMatch,
    #[serde(default)]
    pub bad_samples: BadSamples,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    #[default]
    Pretrain,
    Finetune,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSection {
    #[serde(default)]
    pub preset: Preset,
    pub trainable: Option<Trainable>,
    pub lora: Option<LoraSection>,
    pub learning_rate: Option<f64>,
    pub batch_size: Option<usize>,
    pub micro_batch_size: Option<usize>,
    pub devices: Option<usize>,
    pub epochs: Option<usize>,
    pub max_steps: Option<usize>,
    pub warmup_ratio: Option<f64>,
    pub weight_decay: Option<f32>,
    pub max_grad_norm: Option<f64>,
    pub max_skipped_steps: Option<usize>,
    pub checkpoint_steps: Option<usize>,
    pub keep_checkpoints: Option<usize>,
    pub seed: Option<u64>,
    pub gradient_checkpointing: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSection {
    pub rank: Option<usize>,
    pub alpha: Option<f64>,
    pub targets: Option<Vec<String>>,
}

impl RunDescription {
    /// Reads a description.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
        let run: Self = toml::from_str(&text).map_err(|error| Error::format(path, error.to_string()))?;
        let wrong = |detail: &str| Err(Error::format(path, detail));
        if run.from.is_some() && run.precision.is_some() {
            return wrong("`from` brings its own `precision`");
        }
        if run.projector.as_ref().is_some_and(|own| own.weights.is_some() && own.kind.is_some()) {
            return wrong("[projector]: the `weights` say what `kind` it is");
        }
        if run.data.stats.is_some() && run.data.aligned_with.is_some() {
            return wrong(
                "[data]: embeddings are aligned with `stats` as they are read, or were `aligned_with` them",
            );
        }
        if run.data.embeddings.is_none() && (run.data.stats.is_some() || run.data.aligned_with.is_some()) {
            return wrong("[data]: `stats` and `aligned_with` are about `embeddings`, and there are none");
        }
        match (&run.language_model, &run.from, &run.projector) {
            (Some(_), None, Some(_)) | (None, Some(_), None) => Ok(run),
            (None, None, _) => wrong("expected `language_model` and [projector], or `from`; found neither"),
            (Some(_), None, None) => wrong("`language_model` needs a [projector] with num_visual_tokens"),
            _ => wrong("`from` is a whole model: `language_model` and [projector] do not go with it"),
        }
    }
}

impl DataSection {
    /// How stores of embeddings are opened.
    pub fn store_options(&self) -> StoreOptions {
        StoreOptions { key: self.key.clone(), id_column: self.id_column.clone(), ..StoreOptions::default() }
    }
}

impl StageSection {
    /// The preset with the settings of the file.
    pub fn config(&self) -> StageConfig {
        let mut stage = match self.preset {
            Preset::Pretrain => StageConfig::pretrain(),
            Preset::Finetune => StageConfig::finetune(),
        };
        fn set<T: Clone>(slot: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *slot = value.clone();
            }
        }
        set(&mut stage.trainable, &self.trainable);
        set(&mut stage.learning_rate, &self.learning_rate);
        set(&mut stage.batch_size, &self.batch_size);
        set(&mut stage.micro_batch_size, &self.micro_batch_size);
        set(&mut stage.devices, &self.devices);
        set(&mut stage.epochs, &self.epochs);
        set(&mut stage.warmup_ratio, &self.warmup_ratio);
        set(&mut stage.weight_decay, &self.weight_decay);
        set(&mut stage.max_skipped_steps, &self.max_skipped_steps);
        set(&mut stage.checkpoint_steps, &self.checkpoint_steps);
        set(&mut stage.keep_checkpoints, &self.keep_checkpoints);
        set(&mut stage.seed, &self.seed);
        set(&mut stage.gradient_checkpointing, &self.gradient_checkpointing);
        stage.max_steps = self.max_steps.or(stage.max_steps);
        stage.max_grad_norm = self.max_grad_norm.or(stage.max_grad_norm);
        let lora = self.lora.as_ref();
        let mut adapters = LoraConfig::new();
        if let Some(lora) = lora {
            set(&mut adapters.rank, &lora.rank);
            set(&mut adapters.alpha, &lora.alpha);
            set(&mut adapters.targets, &lora.targets);
        }
        stage.lora = adapters;
        stage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RunDescription> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        RunDescription::read(&path)
    }

    #[test]
    fn the_example_of_the_help_is_a_description() {
        let start = HELP.find("  output").unwrap();
        let end = HELP.find("\nStage 2").unwrap();
        let run = read(&HELP[start..end]).unwrap();
        assert_eq!(run.stage.config().batch_size, 64);
        // A commented line has the default value.
        let is_key =
            |line: &str| line.split_once('=').is_some_and(|(key, _)| !key.trim().contains([' ', ',']));
        let uncommented: Vec<&str> = HELP[start..end]
            .lines()
            .map(|line| line.strip_prefix("  # ").filter(|line| is_key(line)).unwrap_or(line))
            .filter(|line| !line.starts_with("weights =") && !line.starts_with("aligned_with ="))
            .collect();
        let uncommented = uncommented.join("\n").replace("valid", "# valid");
        let uncommented = read(&uncommented).unwrap();
        assert_eq!(uncommented.stage.config().to_string(), run.stage.config().to_string());
        assert_eq!(uncommented.data.bad_samples, run.data.bad_samples);
        assert_eq!(uncommented.data.id_match, run.data.id_match);
    }

    #[test]
    fn misspelt_keys_and_half_models_are_named() {
        let data = "[data]\nconversations = 'c'\n";
        for (text, expected) in [
            (format!("output = 'o'\nlanguage_modell = 'm'\n{data}"), "language_modell"),
            (format!("output = 'o'\n{data}"), "found neither"),
            (format!("output = 'o'\nlanguage_model = 'm'\n{data}"), "[projector]"),
            (format!("output = 'o'\nlanguage_model = 'm'\nfrom = 'f'\n{data}"), "do not go with it"),
            (format!("output = 'o'\nfrom = 'f'\n{data}[stage]\nbatch_size = 'many'\n"), "batch_size"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("run.toml"), "{error}");
        }
    }
}
