use burn::module::Module;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

use super::tokenizer::TextTokenizer;
use super::unit_rows::{raw_rows, unit_rows};
use crate::encoder::{Bert, ClipText, Head, SiglipText, text_tower};
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
    /// What leads from the features of the tower into a common space.
    pub(super) head: Option<Head>,
}

/// The text towers that can be read.
#[derive(Module, Debug)]
pub(super) enum TextTower {
    Clip(ClipText),
    Siglip(SiglipText),
    Bert(Bert),
    Dual(text_tower::TextTower),
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
    /// - tokens: `[n, length]`, see [`TextTokenizer`]; for towers of the BERT family and those trained here any length
    ///   up to it
    /// - output: `[n, dim]` in float32, not normalised
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let padding = tokens.clone().equal_elem(self.tokenizer.pad());
        self.masked(tokens, padding)
    }

    /// `padding`: true where a token is there to fill a row; asked for by towers that see all tokens.
    fn masked(&self, tokens: Tensor<2, Int>, padding: Tensor<2, Bool>) -> Tensor<2> {
        let rows = match &self.tower {
            TextTower::Clip(tower) => tower.forward(tokens),
            TextTower::Siglip(tower) => tower.forward(tokens),
            TextTower::Bert(tower) => tower.forward(tokens, padding),
            TextTower::Dual(tower) => tower.forward(tokens, padding),
        };
        let rows = rows.cast(DType::F32);
        match &self.head {
            Some(head) => head.forward(rows),
            None => rows,
        }
    }

    /// Embeds texts: the rows `[n, dim]`, of unit length, and how many texts were cut to fit.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a text without a token of its own, and for one that the tokenizer fails on.
    pub fn embed(&self, texts: &[&str]) -> Result<(Vec<f32>, usize)> {
        let (rows, cut) = self.rows(texts)?;
        Ok((rows.map_or_else(Vec::new, unit_rows), cut))
    }

    /// As [`embed`](Self::embed), with the rows as the tower makes them: features to train something on.
    ///
    /// # Errors
    ///
    /// Those of [`embed`](Self::embed).
    pub fn features(&self, texts: &[&str]) -> Result<(Vec<f32>, usize)> {
        let (rows, cut) = self.rows(texts)?;
        Ok((rows.map_or_else(Vec::new, raw_rows), cut))
    }

    fn rows(&self, texts: &[&str]) -> Result<(Option<Tensor<2>>, usize)> {
        let (mut encoded, mut cut) = (Vec::with_capacity(texts.len()), 0);
        for text in texts {
            if text.trim().is_empty() {
                return Err(Error::config("text", format!("expected words, found {text:?}")));
            }
            let (row, more) = self.tokenizer.encode_alone(text)?;
            cut += usize::from(more > 0);
            encoded.push(row);
        }
        let Some(longest) = encoded.iter().map(Vec::len).max() else { return Ok((None, 0)) };
        let time = match &self.tower {
            TextTower::Bert(_) | TextTower::Dual(_) => longest.max(1),
            // These were trained on rows of one length.
            TextTower::Clip(_) | TextTower::Siglip(_) => self.tokenizer.length(),
        };
        let (mut tokens, mut padding) = (Vec::new(), Vec::new());
        for row in &encoded {
            tokens.extend(row.iter().map(|token| i64::from(*token)));
            tokens.resize(tokens.len() + time - row.len(), i64::from(self.tokenizer.pad()));
            padding.extend((0..time).map(|at| at >= row.len()));
        }
        let shape = [encoded.len(), time];
        let tokens = Tensor::from_data(TensorData::new(tokens, shape), &self.device);
        let padding = Tensor::from_data(TensorData::new(padding, shape), &self.device);
        Ok((Some(self.masked(tokens, padding)), cut))
    }
}
