//! Decoders with published weights.

mod fill;
mod gguf;
#[cfg(feature = "hub")]
mod hub;
mod hugging_face;
mod shards;

use std::path::Path;

use burn::tensor::{Device, FloatDType};

#[cfg(feature = "hub")]
pub use hub::download;
pub use hugging_face::HuggingFaceFolder;

use super::gguf::LlamaGguf;
use super::{LlamaDecoder, Tokenizer};
use crate::Result;

/// A language model and its tokenizer.
#[derive(Debug)]
pub struct Pretrained {
    /// The model.
    pub model: LlamaDecoder,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
}

impl Pretrained {
    /// Reads a GGUF file, or a folder of Hugging Face; the weights in `precision`. With the feature `hub`, `owner/model` is
    /// downloaded where nothing is called that here.
    ///
    /// ```no_run
    /// use burn::tensor::{Device, FloatDType};
    /// use burn_revision::language::Pretrained;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let path = "SmolLM2-135M-Instruct.Q4_1.gguf";
    /// let Pretrained { model, tokenizer } = Pretrained::load(path, FloatDType::F32, &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`LlamaGguf`] and [`HuggingFaceFolder`].
    pub fn load(path: impl AsRef<Path>, precision: FloatDType, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        #[cfg(feature = "hub")]
        if let Some(name) = hub_name(path) {
            return Self::load(download(name)?, precision, device);
        }
        if path.is_dir() {
            let folder = HuggingFaceFolder::open(path)?;
            return Ok(Self { tokenizer: folder.tokenizer()?, model: folder.init(precision, device)? });
        }
        let file = LlamaGguf::open(path)?;
        Ok(Self { tokenizer: Tokenizer::from_gguf(&file)?, model: file.init(precision, device)? })
    }
}

/// The name of a model on the Hub, where nothing on the disk is called that.
#[cfg(feature = "hub")]
fn hub_name(path: &Path) -> Option<&str> {
    let name = path.to_str()?;
    let (owner, model) = name.split_once('/')?;
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    (!path.exists() && is_part(owner) && is_part(model) && !name.ends_with(".gguf")).then_some(name)
}
