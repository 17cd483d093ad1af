use std::path::Path;

use burn::tensor::{Device, FloatDType};

use super::gguf::LlamaGguf;
use super::hugging_face::HuggingFaceFolder;
use super::{LlamaDecoder, Tokenizer};
use crate::Result;
#[cfg(feature = "hub")]
use crate::weights::hub;

/// A published language model and its tokenizer.
///
/// Three kinds of paths are understood:
///
/// * a folder as Hugging Face stores a model: `config.json`, `model.safetensors` (or shards and
///   `model.safetensors.index.json`), `tokenizer.json` and `tokenizer_config.json`, of the architectures
///   `LlamaForCausalLM`, `Qwen2ForCausalLM` and `MistralForCausalLM`, as long as no window bounds their attention, with
///   weights in float16, bfloat16 or float32;
/// * a GGUF file of llama.cpp, of the architectures `llama` and `qwen2`, with weights in F32, F16, BF16, Q8_0, Q4_0 or
///   Q4_1;
/// * with the feature `hub`, the name `owner/model` of a model on the Hugging Face Hub, where no file or folder is called
///   that: it is downloaded, or taken from the Hub's cache. `HF_HOME`, `HF_ENDPOINT` and the token of
///   `huggingface-cli login` are respected.
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
#[derive(Debug)]
pub struct Pretrained {
    /// The model.
    pub model: LlamaDecoder,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
}

impl Pretrained {
    /// Reads a folder, a GGUF file or a model of the Hub; the weights in `precision`, tensor by tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) for a missing file; [`Error::Format`](crate::Error::Format) naming the file, and the
    /// key or the tensor, for a damaged file, another architecture, something that [`LlamaDecoder`] does not have, a weight
    /// that is missing, of another shape or without a place in the model, and a tokenizer with tokens that the model does
    /// not know; [`Error::Config`](crate::Error::Config) where the device does not compute in `precision`.
    pub fn load(path: impl AsRef<Path>, precision: FloatDType, device: &Device) -> Result<Self> {
        let published = Published::open(path.as_ref())?;
        Ok(Self { tokenizer: published.tokenizer()?, model: published.model(precision, device)? })
    }

    /// Reads the model alone, for tokens from elsewhere: a folder then needs no tokenizer.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), but for the tokenizer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use burn::tensor::{Device, FloatDType};
    /// use burn_revision::language::{LanguageModel, Pretrained};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let model = Pretrained::load_model("SmolLM2-135M-Instruct", FloatDType::BF16, &Device::default())?;
    /// println!("{} hidden units, {} tokens", model.width(), model.vocab_size());
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_model(
        path: impl AsRef<Path>,
        precision: FloatDType,
        device: &Device,
    ) -> Result<LlamaDecoder> {
        Published::open(path.as_ref())?.model(precision, device)
    }
}

/// A model as it was published, its weights not yet read.
enum Published {
    Folder(HuggingFaceFolder),
    Gguf(LlamaGguf),
}

impl Published {
    fn open(path: &Path) -> Result<Self> {
        #[cfg(feature = "hub")]
        if let Some(name) = hub::name(path) {
            return HuggingFaceFolder::open(&hub::download(name)?).map(Self::Folder);
        }
        if path.is_dir() {
            return HuggingFaceFolder::open(path).map(Self::Folder);
        }
        LlamaGguf::open(path).map(Self::Gguf)
    }

    fn tokenizer(&self) -> Result<Tokenizer> {
        match self {
            Self::Folder(folder) => folder.tokenizer(),
            Self::Gguf(file) => file.tokenizer(),
        }
    }

    fn model(&self, precision: FloatDType, device: &Device) -> Result<LlamaDecoder> {
        match self {
            Self::Folder(folder) => folder.init(precision, device),
            Self::Gguf(file) => file.init(precision, device),
        }
    }
}
