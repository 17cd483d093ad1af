use serde::{Deserialize, Serialize};

use super::{LoraConfig, StageConfig, Trainable};
use crate::{Error, Result};

/// What training changed in a published language model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tuned {
    /// Nothing.
    #[default]
    Nothing,
    /// Low-rank adapters were added.
    Lora(LoraConfig),
    /// All weights.
    Everything,
}

impl Tuned {
    /// What is changed after `stage` as well.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for adapters on tuned weights, and for weights tuned under adapters: one file contains either the
    /// ones or the others.
    pub fn after(&self, stage: &StageConfig) -> Result<Self> {
        let refuse = |detail: &str| Err(Error::config("trainable", detail));
        match (self, stage.trainable) {
            (before, Trainable::Projector) => Ok(before.clone()),
            (Self::Nothing, Trainable::ProjectorAndLora) => Ok(Self::Lora(stage.lora.clone())),
            // Existing adapters are trained further, with their own settings.
            (Self::Lora(before), Trainable::ProjectorAndLora) => Ok(Self::Lora(before.clone())),
            (Self::Everything, Trainable::ProjectorAndLora) => {
                refuse("the weights of the model were tuned: adapters can only be added to published ones")
            }
            (Self::Lora(_), Trainable::ProjectorAndLanguage | Trainable::Language) => {
                refuse("the model has adapters: only they can be trained further")
            }
            (_, Trainable::ProjectorAndLanguage | Trainable::Language) => Ok(Self::Everything),
        }
    }
}
