use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::{KvCache, LanguageModel, LlamaDecoder, QuantizedLlama};

/// In which form the weights of a language model are in memory for inference.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::{Device, FloatDType};
/// use burn_revision::language::{Pretrained, WeightStorage};
///
/// # fn main() -> burn_revision::Result<()> {
/// let (path, device) = ("SmolLM2-135M-Instruct.Q4_1.gguf", Device::default());
/// let read = Pretrained::load_for_inference(path, FloatDType::F32, WeightStorage::Auto, &device)?;
/// assert!(read.model.is_quantized());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightStorage {
    /// Quantised where [`QuantizedLlama`] has advantages: for a GGUF file whose weights are quantised, on a CPU. Otherwise
    /// floats.
    #[default]
    Auto,
    /// Widened to floats.
    Float,
    /// As a GGUF file stores them, on any device. Products with few rows are computed on the CPU then.
    Quantized,
}

/// A decoder for inference: weights are floats, or in the blocks of a GGUF file (see [`WeightStorage`]).
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::language::{InferenceDecoder, LlamaConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let decoder = LlamaConfig::new(256, 64, 128, 2, 4).init(&Device::default())?;
/// assert!(!InferenceDecoder::from(decoder).is_quantized());
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a program has one")]
pub enum InferenceDecoder {
    /// Weights are floats.
    Float(LlamaDecoder),
    /// Weights are as a GGUF file stores them.
    Quantized(QuantizedLlama),
}

impl InferenceDecoder {
    /// Whether weights are as a GGUF file stores them.
    pub fn is_quantized(&self) -> bool {
        matches!(self, Self::Quantized(_))
    }
}

impl From<LlamaDecoder> for InferenceDecoder {
    fn from(decoder: LlamaDecoder) -> Self {
        Self::Float(decoder)
    }
}

impl From<QuantizedLlama> for InferenceDecoder {
    fn from(decoder: QuantizedLlama) -> Self {
        Self::Quantized(decoder)
    }
}

impl LanguageModel for InferenceDecoder {
    fn width(&self) -> usize {
        match self {
            Self::Float(model) => model.width(),
            Self::Quantized(model) => model.width(),
        }
    }

    fn vocab_size(&self) -> usize {
        match self {
            Self::Float(model) => model.vocab_size(),
            Self::Quantized(model) => model.vocab_size(),
        }
    }

    fn max_positions(&self) -> usize {
        match self {
            Self::Float(model) => model.max_positions(),
            Self::Quantized(model) => model.max_positions(),
        }
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        match self {
            Self::Float(model) => model.embed(tokens),
            Self::Quantized(model) => model.embed(tokens),
        }
    }

    fn forward(&self, embeddings: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3> {
        match self {
            Self::Float(model) => model.forward(embeddings, cache),
            Self::Quantized(model) => model.forward(embeddings, cache),
        }
    }

    fn forward_copies(&self, embeddings: Tensor<3>, copies: usize) -> Tensor<3> {
        match self {
            Self::Float(model) => model.forward_copies(embeddings, copies),
            Self::Quantized(model) => model.forward_copies(embeddings, copies),
        }
    }

    fn allows_padding(&self) -> bool {
        match self {
            Self::Float(model) => model.allows_padding(),
            Self::Quantized(model) => model.allows_padding(),
        }
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Float(model) => model.logits(hidden),
            Self::Quantized(model) => model.logits(hidden),
        }
    }
}
