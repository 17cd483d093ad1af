//! Language models as Hugging Face stores them.
//!
//! ```text
//! config      `config.json`
//! family      architectures, and what `transformers` takes for absent keys
//! rope        the keys about rotary positions
//! multimodal  language models within multimodal ones
//! weights     weights under the names that the decoder knows
//! write       a folder of a model that was made here
//! ```

mod config;
mod family;
mod multimodal;
mod rope;
#[cfg(test)]
mod tests;
mod weights;
mod write;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};

use self::config::{ConfigFile, Described};
use self::family::Family;
use self::multimodal::Layout;
use self::weights::Weights;
pub(super) use self::write::write;
use super::{LlamaConfig, LlamaDecoder, Tokenizer};
use crate::weights::{Pages, Shards, fill_pages};
use crate::{Error, Result};

/// A language model as Hugging Face stores it: a folder with `config.json`, weights (see [`Shards`]) and a tokenizer (see
/// [`Tokenizer::from_folder`]), alone or within a multimodal model.
#[derive(Clone, Debug)]
pub(super) struct HuggingFaceFolder {
    folder: PathBuf,
    family: Family,
    multimodal: Option<Layout>,
    config: LlamaConfig,
    window: Option<usize>,
}

impl HuggingFaceFolder {
    /// Reads the configuration of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is no `config.json`; [`Error::Format`] naming the key where it describes another
    /// architecture, or something that [`LlamaDecoder`] does not have.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let folder = folder.to_path_buf();
        let path = folder.join("config.json");
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let config: ConfigFile =
            serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))?;
        let (family, multimodal, described) =
            describe(&config).map_err(|detail| Error::format(&path, detail))?;
        let Described { config, window } = described;
        Ok(Self { folder, family, multimodal, config, window })
    }

    /// The model, its weights in `precision` and in these `pages` of memory, read tensor by tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file, [`Error::Format`] for a damaged one, and for a weight that is missing, of another
    /// shape or without a place in the model; [`Error::Config`] where the device does not compute in `precision`.
    pub(super) fn init(&self, precision: FloatDType, device: &Device, pages: Pages) -> Result<LlamaDecoder> {
        let weights = self.weights()?;
        fill_pages(self.config.init(device)?, &weights, &weights, precision, device, pages)
    }

    /// What is left out or bounded, one sentence each.
    ///
    /// # Errors
    ///
    /// Those of [`Shards::open`].
    pub(super) fn notices(&self) -> Result<Vec<String>> {
        let window = self.window.map(|window| {
            format!("attention reaches back {window} positions: sequences are at most that long here")
        });
        Ok(window.into_iter().chain(self.weights()?.notices()).collect())
    }

    fn weights(&self) -> Result<Weights<'_>> {
        Ok(Weights::new(Shards::open(&self.folder)?, &self.config, self.family, self.multimodal))
    }

    /// The tokenizer, with its chat template.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::from_folder`].
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        Ok(Tokenizer::from_folder(&self.folder)?.with_model_tokens(self.config.vocab_size))
    }
}

/// The language model of a configuration.
fn describe(config: &ConfigFile) -> Result<(Family, Option<Layout>, Described), String> {
    let architectures = config.architectures.as_deref().unwrap_or_default();
    let [architecture] = architectures else {
        return Err(format!("architectures: expected one of {}, found {architectures:?}", known()));
    };
    if let Some(family) = Family::of_architecture(architecture) {
        return Ok((family, None, config.describe(family)?));
    }
    if let Some(family) = multimodal::flat(architecture) {
        return Ok((family, Some(Layout::Flat), config.describe(family)?));
    }
    if multimodal::is_nested(architecture) {
        let (text, family) = multimodal::text_config(config)?;
        let mut described = text.describe(family).map_err(|detail| format!("text_config.{detail}"))?;
        // transformers takes either for both.
        described.config.tie_word_embeddings |= config.tie_word_embeddings == Some(true);
        return Ok((family, Some(Layout::Nested), described));
    }
    Err(format!("architectures: expected one of {}, found {architecture:?}", known()))
}

fn known() -> String {
    format!("{}, {}", Family::architectures(), multimodal::architectures())
}
