//! The text tower: a small transformer from tokens to embeddings.

use burn::config::Config;
use burn::module::Module;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor};

use crate::assert_shape;

/// Configuration of the text tower of a [`DualEncoder`](super::DualEncoder): a transformer encoder with learned
/// positions and pre-normalisation, the mean over the tokens that are not padding and a linear projection.
#[derive(Config, Debug)]
pub struct TextTowerConfig {
    /// The number of token ids.
    pub vocab_size: usize,
    /// The maximum number of tokens of a text.
    pub max_len: usize,
    /// The width of the transformer.
    pub d_model: usize,
    /// The number of transformer layers; with zero the tower is a bag of words.
    pub n_layers: usize,
    /// The number of attention heads of a layer; must divide `d_model`.
    pub n_heads: usize,
    /// The width of the embedding.
    pub embed_dim: usize,
    /// The dropout rate in training. Default: 0.
    #[config(default = 0.0)]
    pub dropout: f64,
}

/// The text tower, see [`TextTowerConfig`].
#[derive(Module, Debug)]
pub(super) struct TextTower {
    tokens: Embedding,
    positions: Embedding,
    encoder: TransformerEncoder,
    norm: LayerNorm,
    projection: Linear,
    max_len: usize,
}

impl TextTowerConfig {
    /// Whether there is such a tower; otherwise what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let (width, heads) = (self.d_model, self.n_heads);
        if heads == 0 || width == 0 || !width.is_multiple_of(heads) {
            return Err(format!("n_heads: {heads} heads do not divide a width of {width}"));
        }
        match self.max_len {
            0 => Err("max_len: expected at least 1, found 0".into()),
            _ => Ok(()),
        }
    }

    /// Initializes a tower on `device`.
    ///
    /// # Panics
    ///
    /// If `n_heads` does not divide `d_model`.
    pub(super) fn init(&self, device: &Device) -> TextTower {
        let embedding = |count, std| {
            EmbeddingConfig::new(count, self.d_model)
                .with_initializer(Initializer::Normal { mean: 0.0, std })
                .init(device)
        };
        TextTower {
            tokens: embedding(self.vocab_size, 1.0),
            // Small at first: tokens carry more information than positions.
            positions: embedding(self.max_len, 0.02),
            encoder: TransformerEncoderConfig::new(
                self.d_model,
                4 * self.d_model,
                self.n_heads,
                self.n_layers,
            )
            .with_dropout(self.dropout)
            .with_norm_first(true)
            .init(device),
            norm: LayerNormConfig::new(self.d_model).init(device),
            projection: LinearConfig::new(self.d_model, self.embed_dim).init(device),
            max_len: self.max_len,
        }
    }
}

impl TextTower {
    /// The longest text, in tokens.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// The number of tokens of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.tokens.weight.shape()[0]
    }

    /// Embeds texts. The token ids of padding have no effect. The embedding of a row of padding alone is the bias of the
    /// projection.
    ///
    /// # Shapes
    ///
    /// - tokens: `[n, len]` with `len <= max_len`
    /// - pad_mask: `[n, len]`, true where a token is padding
    /// - output: `[n, embed_dim]`, not normalised
    ///
    /// # Panics
    ///
    /// If the mask has another shape than the tokens, or the texts are longer than `max_len`.
    pub fn forward(&self, tokens: Tensor<2, Int>, pad_mask: Tensor<2, Bool>) -> Tensor<2> {
        let [n, len] = tokens.dims();
        assert!(
            pad_mask.dims() == [n, len],
            "pad_mask: expected shape {:?}, found {:?}",
            [n, len],
            pad_mask.dims()
        );
        assert!(len <= self.max_len, "tokens: at most {} a text, found {len}", self.max_len);

        let positions = Tensor::<1, Int>::arange(0..len as i64, &tokens.device()).unsqueeze::<2>();
        let hidden = self.tokens.forward(tokens) + self.positions.forward(positions);
        let hidden = self.encoder.forward(TransformerEncoderInput::new(hidden).mask_pad(pad_mask.clone()));
        let hidden = self.norm.forward(hidden);

        let keep = pad_mask.bool_not().float().cast(hidden.dtype());
        let count = keep.clone().sum_dim(1).clamp_min(1.0);
        let sum: Tensor<2> = (hidden * keep.unsqueeze_dim::<3>(2)).sum_dim(1).squeeze_dim(1);
        assert_shape!(sum, [n, _], "pooled tokens");
        self.projection.forward(sum / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing::assert_independent_rows;
    use burn::tensor::Tolerance;

    fn tower(device: &Device) -> TextTower {
        TextTowerConfig::new(50, 12, 16, 2, 2, 8).init(device)
    }

    fn texts<const L: usize>(
        rows: &[[i64; L]],
        lens: &[usize],
        device: &Device,
    ) -> (Tensor<2, Int>, Tensor<2, Bool>) {
        let tokens = rows.iter().map(|row| Tensor::<1, Int>::from_data(*row, device)).collect();
        let mask = lens
            .iter()
            .map(|&len| Tensor::<1, Int>::arange(0..L as i64, device).greater_equal_scalar(len as i64))
            .collect();
        (Tensor::stack(tokens, 0), Tensor::stack(mask, 0))
    }

    #[test]
    fn padding_changes_nothing() {
        let device = Device::default();
        let tower = tower(&device);
        let (tokens, mask) = texts(&[[7, 3, 9], [4, 4, 1]], &[3, 2], &device);
        let short = tower.forward(tokens, mask);
        let (tokens, mask) = texts(&[[7, 3, 9, 30, 2, 8, 40], [4, 4, 17, 0, 0, 5, 6]], &[3, 2], &device);
        let long = tower.forward(tokens, mask);
        short.into_data().assert_approx_eq::<f32>(&long.into_data(), Tolerance::absolute(1e-5));
    }

    #[test]
    fn an_embedding_depends_on_its_text_alone() {
        let device = Device::default();
        let tower = tower(&device);
        let (tokens, mask) = texts(&[[7, 3, 9, 1], [4, 4, 1, 0], [11, 0, 0, 0]], &[4, 3, 1], &device);
        let together = tower.forward(tokens.clone(), mask.clone());
        assert_eq!(together.dims(), [3, 8]);
        assert_independent_rows(together, |row| {
            tower.forward(tokens.clone().narrow(0, row, 1), mask.clone().narrow(0, row, 1))
        });
    }

    #[test]
    fn the_order_of_the_tokens_matters() {
        let device = Device::default();
        let tower = tower(&device);
        let (tokens, mask) = texts(&[[7, 3, 9], [9, 3, 7]], &[3, 3], &device);
        let rows = tower.forward(tokens, mask);
        let distance = (rows.clone().narrow(0, 0, 1) - rows.narrow(0, 1, 1)).abs().max();
        assert!(distance.into_scalar::<f32>() > 1e-4);
    }

    #[test]
    #[should_panic(expected = "at most 12 a text, found 13")]
    fn a_text_that_is_too_long_panics() {
        let device = Device::default();
        let (tokens, mask) = texts(&[[1; 13]], &[13], &device);
        tower(&device).forward(tokens, mask);
    }
}
