use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use super::stage::has_lora;
use super::{LoraConfig, Projector, ProjectorKind, ReVision, ReVisionConfig, Template, Trainable};
use crate::embedding::FloatType;
use crate::language::{LlamaDecoder, Pretrained, Tokenizer};
use crate::{Error, Result, atomic};

/// A trained [`ReVision`] in a folder, without what the published language model already says.
///
/// | file | content |
/// |---|---|
/// | `revision.json` | this description |
/// | `projector.safetensors` | the projector under LLaVA's keys |
/// | `language.bpk` | what training changed in the language model: adapters or all weights; absent after stage 1 |
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedReVision {
    /// The sizes of the model.
    pub revision: ReVisionConfig,
    /// The language model that was trained upon: a GGUF file or a folder of Hugging Face.
    pub language_model: PathBuf,
    /// The float type of its weights.
    pub precision: FloatDType,
    /// How conversations became tokens.
    pub template: Template,
    /// What is in `language.bpk`.
    #[serde(default)]
    pub tuned: Tuned,
}

/// What training changed in a language model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tuned {
    /// Nothing.
    #[default]
    Nothing,
    /// Low-rank adapters were added.
    Lora(LoraConfig),
    /// All weights.
    Everything,
}

impl Tuned {
    /// What a stage changes.
    pub fn by(trainable: Trainable, lora: &LoraConfig) -> Self {
        match trainable {
            Trainable::Projector => Self::Nothing,
            Trainable::ProjectorAndLora => Self::Lora(lora.clone()),
            Trainable::ProjectorAndLanguage | Trainable::Language => Self::Everything,
        }
    }

    /// What a stage changes in a language model that others have changed already.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for adapters upon tuned weights, and for weights tuned under adapters: one file holds the one or
    /// the other.
    pub fn and_by(&self, trainable: Trainable, lora: &LoraConfig) -> Result<Self> {
        let refuse = |detail: &str| Err(Error::config("trainable", detail));
        match (self, Self::by(trainable, lora)) {
            (before, Self::Nothing) => Ok(before.clone()),
            // Adapters that are there learn on as they are.
            (Self::Lora(before), Self::Lora(_)) => Ok(Self::Lora(before.clone())),
            (Self::Lora(_), Self::Everything) => refuse("the model has adapters: only they can learn on"),
            (Self::Everything, Self::Lora(_)) => {
                refuse("the weights of the model were tuned: adapters can only be added to published ones")
            }
            (_, now) => Ok(now),
        }
    }
}

/// A model that was read back, and what goes with it.
#[derive(Debug)]
pub struct LoadedReVision {
    /// The model.
    pub model: ReVision<LlamaDecoder>,
    /// The tokenizer of its language model.
    pub tokenizer: Tokenizer,
    /// The description in the folder.
    pub saved: SavedReVision,
}

const DESCRIPTION: &str = "revision.json";
const PROJECTOR: &str = "projector.safetensors";
const LANGUAGE: &str = "language.bpk";

impl SavedReVision {
    /// Writes `model` into `folder`. The folder is made under another name and renamed: it is complete, or, for an
    /// instant between two renamings, beside its place under a name that begins with `.partial-`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where a file cannot be written; [`Error::Config`] for adapters that the
    /// description does not mention, or the other way round.
    pub fn save(&self, model: &ReVision<LlamaDecoder>, folder: &Path) -> Result<()> {
        if has_lora(model) != matches!(self.tuned, Tuned::Lora(_)) {
            let detail = format!(
                "{:?} does not describe a model {} adapters",
                self.tuned,
                if has_lora(model) { "with" } else { "without" }
            );
            return Err(Error::config("tuned", detail));
        }
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|source| Error::io(parent, source))?;
        let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent);
        let partial = partial.map_err(|source| Error::io(parent, source))?;
        if model.projector.kind() != ProjectorKind::Identity {
            model.projector.write(&partial.path().join(PROJECTOR), FloatType::F32)?;
        }
        if !matches!(self.tuned, Tuned::Nothing) {
            let path = partial.path().join(LANGUAGE);
            let record = match self.tuned {
                Tuned::Lora(_) => model.language.clone().into_record_group(Trainable::adapters()),
                _ => model.language.clone().into_record(),
            };
            record.save(&path).map_err(|source| Error::format(folder.join(LANGUAGE), source.to_string()))?;
        }
        let json = serde_json::to_vec_pretty(self).expect("a description is plain data");
        atomic::write(&partial.path().join(DESCRIPTION), |file| file.write_all(&json))?;
        let io = |source| Error::io(folder, source);
        let is_taken = folder.exists() && !folder.join(DESCRIPTION).exists();
        if is_taken && folder.read_dir().map_err(io)?.next().is_some() {
            return Err(Error::format(folder, "the folder holds something else than a trained model"));
        }
        let partial = partial.keep();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary folders are private.
            std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755)).map_err(io)?;
        }
        // Folders cannot be exchanged in one go: the old one steps aside, and goes when the new one is there.
        let aside = partial.with_extension("old");
        if folder.exists() {
            std::fs::rename(folder, &aside).map_err(io)?;
        }
        std::fs::rename(&partial, folder).map_err(io)?;
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(io)?;
        }
        Ok(())
    }

    /// Reads the description of the model in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is none, [`Error::Format`] where it is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))
    }

    /// Reads the projector of the model in `folder` alone.
    ///
    /// # Errors
    ///
    /// As for [`SavedReVision::read`] and [`Projector::read`].
    pub fn read_projector(folder: &Path, device: &Device) -> Result<Projector> {
        match Self::read(folder)?.revision {
            ReVisionConfig { projector: ProjectorKind::Identity, embedding_dim, .. } => {
                Projector::init(ProjectorKind::Identity, embedding_dim, embedding_dim, device)
            }
            _ => Projector::read(&folder.join(PROJECTOR), device),
        }
    }

    /// Reads the model in `folder` and the language model that it was trained upon.
    ///
    /// # Errors
    ///
    /// As for [`SavedReVision::read`] and [`Pretrained::load`]; [`Error::Format`] for weights that are damaged or belong to
    /// another model, [`Error::Mismatch`] for a projector of other widths.
    pub fn load(folder: &Path, device: &Device) -> Result<LoadedReVision> {
        let saved = Self::read(folder)?;
        let Pretrained { model: language, tokenizer } =
            Pretrained::load(&saved.language_model, saved.precision, device)?;
        let mut model = saved.revision.init(language, device)?;
        model.projector = Self::read_projector(folder, device)?;
        let (expected, found) = (saved.revision.embedding_dim, model.projector.input());
        if expected != found {
            return Err(Error::mismatch("width of the embeddings for the projector", expected, found));
        }
        model.check_widths()?;
        if let Tuned::Lora(lora) = &saved.tuned {
            model = lora.attach(model)?;
        }
        if !matches!(saved.tuned, Tuned::Nothing) {
            let path = folder.join(LANGUAGE);
            let wrong = |source: burn::store::RecordError| Error::format(&path, source.to_string());
            std::fs::metadata(&path).map_err(|source| Error::io(&path, source))?;
            let record = ModuleRecord::load(&path).map_err(wrong)?;
            let expected = match saved.tuned {
                Tuned::Lora(_) => super::stage::count_parameters(&model.language, Trainable::adapters()),
                _ => super::stage::count_parameters(&model.language, burn::module::ParamGroup::all()),
            };
            if record.len() != expected {
                let detail = format!("expected {expected} tensors, found {}", record.len());
                return Err(Error::format(&path, detail));
            }
            model.language = model.language.try_load_record(record.allow_partial(true)).map_err(wrong)?;
        }
        Ok(LoadedReVision { model, tokenizer, saved })
    }
}
