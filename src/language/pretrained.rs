use std::path::Path;

use burn::tensor::{Device, FloatDType};

use super::gguf::LlamaGguf;
use super::hugging_face::{self, HuggingFaceFolder};
use super::{InferenceDecoder, LlamaDecoder, QuantizedLlama, Tokenizer, WeightStorage};
use crate::device::is_cpu;
use crate::weights::Pages;
#[cfg(feature = "hub")]
use crate::weights::hub;
use crate::{Error, Result};

/// A published language model and its tokenizer.
///
/// Three kinds of paths are understood:
///
/// * a folder as Hugging Face stores a model: `config.json`, weights in float16, bfloat16 or float32 (`model.safetensors`
///   or `pytorch_model.bin`, or shards and their index), and `tokenizer.json` or `tokenizer.model`. Architectures are
///   `LlamaForCausalLM`, `MistralForCausalLM`, `Qwen2ForCausalLM`, `Qwen3ForCausalLM`, `SmolLM3ForCausalLM`,
///   `Phi3ForCausalLM`, `Gemma2ForCausalLM` and `Gemma3ForCausalLM`, and these within `LlavaForConditionalGeneration`,
///   `LlavaNextForConditionalGeneration`, `Gemma3ForConditionalGeneration` and the checkpoints of LLaVA and Bunny;
/// * a GGUF file of llama.cpp, or the parts of one, of the architectures `llama`, `qwen2`, `qwen3`, `smollm3`, `phi3`,
///   `gemma2` and `gemma3`, with weights in F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, the K-quants Q2_K to Q6_K, IQ4_NL or IQ4_XS;
/// * with the feature `hub`, the name `owner/model` of a model on the Hugging Face Hub, where no file or folder is called
///   that: it is downloaded, or taken from the Hub's cache. `HF_HOME`, `HF_ENDPOINT` and the token of
///   `huggingface-cli login` are respected.
///
/// Where a window bounds the attention of a model, its sequences are bounded by that window; up to there, both compute the
/// same. [`Pretrained::notices`] says so.
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
pub struct Pretrained<M = LlamaDecoder> {
    /// The model.
    pub model: M,
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
    /// that is missing, of another shape or without a place in the model; [`Error::Config`](crate::Error::Config) where the device does not compute in `precision`.
    pub fn load(path: impl AsRef<Path>, precision: FloatDType, device: &Device) -> Result<Self> {
        let published = Published::open(path.as_ref())?;
        Ok(Self {
            tokenizer: published.tokenizer()?,
            model: published.model(precision, device, Pages::Usual)?,
        })
    }

    /// What is worth knowing before a model is used, a sentence each: which weights of a multimodal checkpoint are left out,
    /// and whether a window bounds its sequences. No values of weights are read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) and [`Error::Format`](crate::Error::Format) as for [`load`](Self::load).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use burn_revision::language::Pretrained;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// for notice in Pretrained::notices("llava-v1.5-7b")? {
    ///     println!("{notice}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn notices(path: impl AsRef<Path>) -> Result<Vec<String>> {
        Published::open(path.as_ref())?.notices()
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
        Published::open(path.as_ref())?.model(precision, device, Pages::Usual)
    }
}

impl Pretrained {
    /// Writes a folder as Hugging Face stores a model, its weights in float32: for a model that was trained from nothing or
    /// tuned here, which `transformers`, llama.cpp's converter and [`load`](Self::load) then read. `config.json`, which is written
    /// last, describes a `LlamaForCausalLM`, or where that has not all of its settings a `Qwen2ForCausalLM`, `Qwen3ForCausalLM` or
    /// `SmolLM3ForCausalLM`. Each file is complete or not there.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for settings that none of these has;
    /// [`Error::Io`](crate::Error::Io) where a file cannot be written.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, FloatDType};
    /// use burn_revision::language::{LanguageModel, LlamaConfig, Pretrained, Tokenizer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let device = Device::default();
    /// let tokenizer = Tokenizer::train(&["a red apple", "a green apple"], 280)?;
    /// let config = LlamaConfig::new(tokenizer.vocab_size(), 32, 64, 2, 4);
    /// Pretrained { model: config.init(&device)?, tokenizer }.save(folder)?;
    /// assert_eq!(Pretrained::load(folder, FloatDType::F32, &device)?.model.width(), 32);
    /// # Ok(())
    /// # }
    /// ```
    pub fn save(&self, folder: &Path) -> Result<()> {
        hugging_face::write(folder, &self.model, &self.tokenizer)
    }
}

impl Pretrained<QuantizedLlama> {
    /// Reads a GGUF file for generation, its matrices as they are stored: see [`QuantizedLlama`].
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load); [`Error::Format`](crate::Error::Format) for a folder, whose weights are floats, and for Gemma.
    pub fn load_quantized(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        match Published::open(path.as_ref())? {
            Published::Gguf(file) => {
                Ok(Self { tokenizer: file.tokenizer()?, model: file.quantized(device)? })
            }
            Published::Folder(_) => Err(Error::format(path, FLOATS)),
        }
    }
}

impl Pretrained<InferenceDecoder> {
    /// Reads a model for inference, its weights as `storage` says; where they become floats, they do so in `precision`.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load), and with [`WeightStorage::Quantized`] those of
    /// [`load_quantized`](Pretrained::load_quantized).
    pub fn load_for_inference(
        path: impl AsRef<Path>,
        precision: FloatDType,
        storage: WeightStorage,
        device: &Device,
    ) -> Result<Self> {
        let published = Published::open(path.as_ref())?;
        let has_blocks = match &published {
            Published::Folder(_) if storage == WeightStorage::Quantized => {
                return Err(Error::format(path, FLOATS));
            }
            Published::Folder(_) => None,
            Published::Gguf(file) => match storage {
                WeightStorage::Auto => (file.is_quantised() && is_cpu(device)).then_some(file),
                WeightStorage::Float => None,
                WeightStorage::Quantized => Some(file),
            },
        };
        let model = match has_blocks {
            Some(file) => file.quantized(device)?.into(),
            None => published.model(precision, device, Pages::Huge)?.into(),
        };
        Ok(Self { tokenizer: published.tokenizer()?, model })
    }
}

const FLOATS: &str = "the weights of a folder are floats; quantised ones are in GGUF files";

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

    fn notices(&self) -> Result<Vec<String>> {
        match self {
            Self::Folder(folder) => folder.notices(),
            Self::Gguf(file) => Ok(file.notices()),
        }
    }

    fn tokenizer(&self) -> Result<Tokenizer> {
        match self {
            Self::Folder(folder) => folder.tokenizer(),
            Self::Gguf(file) => file.tokenizer(),
        }
    }

    fn model(&self, precision: FloatDType, device: &Device, pages: Pages) -> Result<LlamaDecoder> {
        match self {
            Self::Folder(folder) => folder.init(precision, device, pages),
            Self::Gguf(file) => file.init(precision, device, pages),
        }
    }
}
