mod description;
mod inference;

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::ParamGroup;
use burn::tensor::{Device, FloatDType};

use super::stage::has_lora;
use super::tuned::Tuned;
use super::{
    LoraConfig, Projector, ProjectorKind, ReVision, StageConfig, Template, Trainable, VisualSource,
    tensor_file,
};
use crate::alignment::Statistics;
use crate::embedding::{FloatType, Store};
use crate::encoder::EncoderRecord;
use crate::language::{LanguageModel, LlamaDecoder, Pretrained, Tokenizer};
use crate::{Error, Result, atomic};
use description::{ALIGNMENT, AlignmentNote, DESCRIPTION, Description, PROJECTOR};

/// A [`ReVision`] on a published language model, and its folder, which contains only what training changed.
///
/// | file | content |
/// |---|---|
/// | `revision.json` | sizes, template, path and precision of the language model, what was tuned, and the encoder |
/// | `projector.safetensors` | the projector with LLaVA's keys, see [`Projector::write`] |
/// | `alignment.safetensors` | the statistics that its texts were aligned with, where they are known |
/// | `language.safetensors` | the adapters, or all weights of a tuned language model; absent after stage 1 |
///
/// Folders of earlier versions, with a Burn record `language.bpk`, are read as well.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::Device;
/// use burn_revision::revision::{ConversationDataset, ReVisionLearner, SavedReVision, StageConfig};
///
/// # fn finetune(data: ConversationDataset) -> burn_revision::Result<()> {
/// let stage = StageConfig::finetune();
/// let mut saved = SavedReVision::load("runs/stage1/model".as_ref(), &Device::default())?.with_stage(&stage)?;
/// saved.model = ReVisionLearner::new(stage, "runs/stage2").fit(saved.model, data, None)?.model;
/// saved.save("runs/stage2/model".as_ref())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SavedReVision<L: LanguageModel = LlamaDecoder> {
    /// The model.
    pub model: ReVision<L>,
    /// The tokenizer of its language model.
    pub tokenizer: Tokenizer,
    /// The template of its training data.
    pub template: Template,
    language_model: PathBuf,
    precision: FloatDType,
    tuned: Tuned,
    alignment: Option<Statistics>,
    encoder: Option<EncoderRecord>,
}

const LANGUAGE: &str = "language";

impl<L: LanguageModel> SavedReVision<L> {
    /// The encoder that made the embeddings of the training data, where it is known.
    pub fn encoder(&self) -> Option<&EncoderRecord> {
        self.encoder.as_ref()
    }

    /// Refuses an encoder whose embeddings this model was not trained on.
    ///
    /// # Errors
    ///
    /// Those of [`with_encoder`](SavedReVision::with_encoder).
    pub fn check_encoder(&self, encoder: &EncoderRecord) -> Result<()> {
        let (expected, found) = (self.model.projector.input(), encoder.dim);
        if expected != found {
            let what = format!("width of the encoder {} for the projector", encoder.encoder.display());
            return Err(Error::mismatch(what, expected, found));
        }
        match &self.encoder {
            Some(own) if own.fingerprint != encoder.fingerprint => {
                let detail = format!("the model was trained with {own}; this is {encoder}");
                Err(Error::config("encoder", detail))
            }
            _ => Ok(()),
        }
    }

    /// The statistics that the texts of stage 1 were aligned with, where they are known.
    pub fn alignment(&self) -> Option<&Statistics> {
        self.alignment.as_ref()
    }

    /// Refuses statistics that texts for this model cannot be aligned with.
    ///
    /// # Errors
    ///
    /// Those of [`with_alignment`](SavedReVision::with_alignment), but for the missing pass.
    pub fn check_alignment(&self, statistics: &Statistics) -> Result<()> {
        let (expected, found) = (self.model.projector.input(), statistics.dim());
        if expected != found {
            return Err(Error::mismatch("dimension of the statistics for the projector", expected, found));
        }
        match &self.alignment {
            Some(own) if own.fingerprint() != statistics.fingerprint() => {
                let detail = format!(
                    "the model was trained on texts aligned by {} (statistics {}); these are of {} (statistics {})",
                    own.method(),
                    own.fingerprint(),
                    statistics.method(),
                    statistics.fingerprint()
                );
                Err(Error::config("statistics", detail))
            }
            _ => Ok(()),
        }
    }

    /// The pictures of a store as this model was trained to see them: moved, where the method that its texts were aligned
    /// by moves pictures as well.
    ///
    /// # Errors
    ///
    /// Those of [`VisualSource::open`]; [`Error::Mismatch`] for embeddings of another dimension.
    pub fn pictures(&self, store: &Store, device: &Device) -> Result<VisualSource> {
        let source = VisualSource::open(store, 0.0)?;
        match &self.alignment {
            Some(statistics) => source.with_pictures_aligned(statistics.init(device)?, device),
            None => Ok(source),
        }
    }
}

impl SavedReVision {
    /// A model on the published language model at `language_model` (a GGUF file or a folder of Hugging Face), whose weights
    /// were loaded in `precision` and are unchanged. The template is [`Template::Plain`].
    pub fn new(
        model: ReVision<LlamaDecoder>,
        tokenizer: Tokenizer,
        language_model: impl Into<PathBuf>,
        precision: FloatDType,
    ) -> Self {
        Self {
            model,
            tokenizer,
            template: Template::default(),
            language_model: language_model.into(),
            precision,
            tuned: Tuned::Nothing,
            alignment: None,
            encoder: None,
        }
    }

    /// Declares that the model is trained on embeddings of this encoder, which it keeps, so that pictures can be shown to it
    /// later.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for an encoder of another width than the projector takes, [`Error::Config`] where the model was
    /// trained with another.
    pub fn with_encoder(self, encoder: EncoderRecord) -> Result<Self> {
        self.check_encoder(&encoder)?;
        // The same encoder keeps its first place.
        Ok(Self { encoder: self.encoder.or(Some(encoder)), ..self })
    }

    /// Declares that the model is trained on texts aligned with these statistics, which it keeps: pictures are then moved
    /// as the method moves them at inference (see [`pictures`](Self::pictures)).
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for statistics of another number of dimensions than the projector has,
    /// [`Error::Config`] where the model was trained with others, or where a centroid pass is missing.
    pub fn with_alignment(self, statistics: Statistics) -> Result<Self> {
        self.check_alignment(&statistics)?;
        statistics.closed_form()?;
        Ok(Self { alignment: Some(statistics), ..self })
    }

    /// Declares that `stage` trains the model, so that [`save`](Self::save) writes what the stage changes.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for adapters on tuned weights, and for weights tuned under adapters.
    pub fn with_stage(self, stage: &StageConfig) -> Result<Self> {
        Ok(Self { tuned: self.tuned.after(stage)?, ..self })
    }

    /// The settings of the low-rank adapters, where there are any.
    pub fn lora(&self) -> Option<&LoraConfig> {
        match &self.tuned {
            Tuned::Lora(lora) => Some(lora),
            Tuned::Nothing | Tuned::Everything => None,
        }
    }

    /// Writes the model into `folder`, in place of a model that is there. The new folder is written under another name
    /// beside it and renamed when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where a file cannot be written, or where the folder contains something else;
    /// [`Error::Config`] where the model has adapters that no stage declared, or lacks declared ones.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.check_adapters()?;
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|source| Error::io(parent, source))?;
        let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent);
        let partial = partial.map_err(|source| Error::io(parent, source))?;
        self.write_files(partial.path())?;
        replace_folder(folder, partial)
    }

    fn check_adapters(&self) -> Result<()> {
        let has_lora = has_lora(&self.model);
        if has_lora == self.lora().is_some() {
            return Ok(());
        }
        let with = if has_lora { "with" } else { "without" };
        Err(Error::config("tuned", format!("{:?} does not describe a model {with} adapters", self.tuned)))
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        if self.model.projector.kind() != ProjectorKind::Identity {
            self.model.projector.write(&folder.join(PROJECTOR), FloatType::F32)?;
        }
        if let Some(group) = tuned_group(&self.tuned) {
            tensor_file::write(&folder.join(format!("{LANGUAGE}.safetensors")), &self.model.language, group)?;
        }
        if let Some(statistics) = &self.alignment {
            statistics.save(folder.join(ALIGNMENT))?;
        }
        let description = Description {
            revision: self.model.config(),
            language_model: self.language_model.clone(),
            precision: self.precision,
            template: self.template,
            tuned: self.tuned.clone(),
            alignment: self.alignment.as_ref().map(|statistics| AlignmentNote {
                method: statistics.method(),
                statistics: statistics.fingerprint(),
            }),
            encoder: self.encoder.clone(),
        };
        let json = serde_json::to_vec_pretty(&description).expect("a description is plain data");
        atomic::write(&folder.join(DESCRIPTION), |file| file.write_all(&json))
    }

    /// Reads the projector of the model in `folder`, without its language model.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file is missing, [`Error::Format`] where one is damaged.
    pub fn load_projector(folder: &Path, device: &Device) -> Result<Projector> {
        Description::read(folder)?.projector(folder, device)
    }

    /// Reads the model in `folder`, and its language model from where it was published.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file is missing; [`Error::Format`] for one that is damaged or belongs to another model;
    /// [`Error::Mismatch`] for a projector of other widths; those of [`Pretrained::load`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let description = Description::read(folder)?;
        let language = Pretrained::load(&description.language_model, description.precision, device)?;
        let mut saved = Self::assembled(description, folder, language, device)?;
        if let Tuned::Lora(lora) = &saved.tuned {
            saved.model = lora.attach(saved.model)?;
        }
        if let Some(group) = tuned_group(&saved.tuned) {
            saved.model.language = tensor_file::read(folder, LANGUAGE, saved.model.language, group)?;
        }
        Ok(saved)
    }
}

impl<L: LanguageModel> SavedReVision<L> {
    /// The model of a folder on its language model as it was published.
    fn assembled(
        description: Description,
        folder: &Path,
        language: Pretrained<L>,
        device: &Device,
    ) -> Result<Self> {
        let Pretrained { model: language, tokenizer } = language;
        let mut model = description.revision.init(language, device)?;
        model.projector = description.projector(folder, device)?;
        let (expected, found) = (description.revision.embedding_dim, model.projector.input());
        if expected != found {
            return Err(Error::mismatch("width of the embeddings for the projector", expected, found));
        }
        model.check_widths()?;
        let alignment = description.alignment(folder)?;
        let Description { language_model, precision, template, tuned, encoder, .. } = description;
        let saved = Self { model, tokenizer, template, language_model, precision, tuned, alignment, encoder };
        if let Some(encoder) = &saved.encoder {
            saved
                .check_encoder(encoder)
                .map_err(|error| Error::format(folder.join(DESCRIPTION), error.to_string()))?;
        }
        Ok(saved)
    }
}

/// The parameters of the language model that a folder contains.
fn tuned_group(tuned: &Tuned) -> Option<ParamGroup> {
    match tuned {
        Tuned::Nothing => None,
        Tuned::Lora(_) => Some(Trainable::adapters()),
        Tuned::Everything => Some(ParamGroup::all()),
    }
}

/// Moves `new` to `folder`, which is absent, empty, or a saved model.
fn replace_folder(folder: &Path, new: tempfile::TempDir) -> Result<()> {
    let io = |source| Error::io(folder, source);
    let is_taken = folder.exists() && !folder.join(DESCRIPTION).exists();
    if is_taken && folder.read_dir().map_err(io)?.next().is_some() {
        return Err(Error::format(folder, "the folder contains something else than a trained model"));
    }
    let new = new.keep();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary folders are private.
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).map_err(io)?;
    }
    // No system call exchanges two folders: the old one is renamed first, and deleted once the new one is in its place.
    let old = new.with_extension("old");
    if folder.exists() {
        std::fs::rename(folder, &old).map_err(io)?;
    }
    std::fs::rename(&new, folder).map_err(io)?;
    if old.exists() {
        std::fs::remove_dir_all(&old).map_err(io)?;
    }
    Ok(())
}
