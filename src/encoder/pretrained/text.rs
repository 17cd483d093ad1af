use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::tokenizer::TextTokenizer;
use super::unit_rows::unit_rows;
use crate::encoder::{ClipText, SiglipText};
use crate::{Error, Result};

/// A published text tower and its tokenizer.
///
/// [`PretrainedEncoder`](super::PretrainedEncoder) reads one.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    pub(super) tower: TextTower,
    pub(super) tokenizer: TextTokenizer,
    pub(super) device: Device,
    pub(super) dim: usize,
    pub(super) fingerprint: String,
}

/// The text towers that can be read.
#[derive(Module, Debug)]
pub(super) enum TextTower {
    Clip(ClipText),
    Siglip(SiglipText),
}

impl TextEncoder {
    /// The width of its embeddings.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// A number that changes with the weights, the configuration and the tokenizer.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Embeds tokens.
    ///
    /// # Shapes
    ///
    /// - tokens: `[n, length]`, see [`TextTokenizer`]
    /// - output: `[n, dim]` in float32, not normalised
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let rows = match &self.tower {
            TextTower::Clip(tower) => tower.forward(tokens),
            TextTower::Siglip(tower) => tower.forward(tokens),
        };
        rows.cast(DType::F32)
    }

    /// Embeds texts: the rows `[n, dim]`, of unit length, and how many texts were cut to fit.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a text without a token of its own, and for one that the tokenizer fails on.
    pub fn embed(&self, texts: &[&str]) -> Result<(Vec<f32>, usize)> {
        let (mut tokens, mut cut) = (Vec::new(), 0);
        for text in texts {
            if text.trim().is_empty() {
                return Err(Error::config("text", format!("expected words, found {text:?}")));
            }
            let (row, more) = self.tokenizer.encode(text)?;
            cut += usize::from(more > 0);
            tokens.extend(row.into_iter().map(i64::from));
        }
        if texts.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let data = TensorData::new(tokens, [texts.len(), self.tokenizer.length()]);
        Ok((unit_rows(self.forward(Tensor::from_data(data, &self.device))), cut))
    }
}
