use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use crate::alignment::{Method, Statistics};
use crate::encoder::EncoderRecord;
use crate::revision::tuned::Tuned;
use crate::revision::{Projector, ProjectorKind, ReVisionConfig, Template};
use crate::{Error, Result};

pub(super) const DESCRIPTION: &str = "revision.json";
pub(super) const PROJECTOR: &str = "projector.safetensors";
pub(super) const ALIGNMENT: &str = "alignment.safetensors";

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

    pub(super) fn alignment(&self, folder: &Path) -> Result<Option<Statistics>> {
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
}
