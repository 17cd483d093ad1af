use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use super::{ALIGNMENT, DESCRIPTION, PROJECTOR, SavedReVision};
use crate::alignment::{Method, Statistics};
use crate::encoder::EncoderRecord;
use crate::language::{LanguageModel, Pretrained};
use crate::revision::tuned::Tuned;
use crate::revision::{Projector, ProjectorKind, ReVisionConfig, Template};
use crate::{Error, Result};

/// The content of `revision.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) revision: ReVisionConfig,
    pub(super) language_model: PathBuf,
    pub(super) precision: FloatDType,
    pub(super) template: Template,
    #[serde(default)]
    pub(super) tuned: Tuned,
    /// What `alignment.safetensors` must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) alignment: Option<AlignmentNote>,
    /// What makes embeddings of pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) encoder: Option<EncoderRecord>,
}

/// A method, and which statistics it was fitted to.
#[derive(Serialize, Deserialize)]
pub(super) struct AlignmentNote {
    pub(super) method: Method,
    pub(super) statistics: String,
}

impl Description {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))
    }

    fn alignment(&self, folder: &Path) -> Result<Option<Statistics>> {
        let Some(note) = &self.alignment else { return Ok(None) };
        let path = folder.join(ALIGNMENT);
        let statistics = Statistics::load(&path)?;
        if (statistics.method(), statistics.fingerprint()) != (note.method, note.statistics.clone()) {
            let detail = format!(
                "the model was trained with {} (statistics {}), and these are of {} (statistics {})",
                note.method,
                note.statistics,
                statistics.method(),
                statistics.fingerprint()
            );
            return Err(Error::format(path, detail));
        }
        Ok(Some(statistics))
    }

    pub(super) fn projector(&self, folder: &Path, device: &Device) -> Result<Projector> {
        match self.revision.projector {
            ProjectorKind::Identity => {
                let dim = self.revision.embedding_dim;
                Projector::init(ProjectorKind::Identity, dim, dim, device)
            }
            _ => Projector::read(&folder.join(PROJECTOR), device),
        }
    }

    /// The model of a folder on its language model as it was published.
    pub(super) fn assembled<L: LanguageModel>(
        self,
        folder: &Path,
        language: Pretrained<L>,
        device: &Device,
    ) -> Result<SavedReVision<L>> {
        let Pretrained { model: language, tokenizer } = language;
        let mut model = self.revision.init(language, device)?;
        model.projector = self.projector(folder, device)?;
        let (expected, found) = (self.revision.embedding_dim, model.projector.input());
        if expected != found {
            return Err(Error::mismatch("width of the embeddings for the projector", expected, found));
        }
        model.check_widths()?;
        let alignment = self.alignment(folder)?;
        let Self { language_model, precision, template, tuned, encoder, .. } = self;
        let saved = SavedReVision {
            model,
            tokenizer,
            template,
            language_model,
            precision,
            tuned,
            alignment,
            encoder,
        };
        if let Some(encoder) = &saved.encoder {
            saved
                .check_encoder(encoder)
                .map_err(|error| Error::format(folder.join(DESCRIPTION), error.to_string()))?;
        }
        Ok(saved)
    }
}
