use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::SiglipTextConfig;
use crate::encoder::transformer::TransformerEncoder;
use crate::{Result, assert_shape};

/// The text tower of SigLIP: Hugging Face's `SiglipTextModel`.
///
/// Attention goes both ways and sees padding, and a text is pooled at its last position: texts are always padded to the
/// length that the tower was trained with.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::encoder::SiglipTextConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let config = SiglipTextConfig::new()
///     .with_vocab_size(100)
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_max_position_embeddings(4);
/// let tokens = Tensor::<2, Int>::from_ints([[5, 6, 1, 1]], &device);
/// assert_eq!(config.init(&device)?.forward(tokens).dims(), [1, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct SiglipText {
    embeddings: TextEmbeddings,
    encoder: TransformerEncoder,
    final_layer_norm: LayerNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct TextEmbeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

impl SiglipTextConfig {
    /// A tower with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for sizes of zero and a number of heads that does not divide the width.
    pub fn init(&self, device: &Device) -> Result<SiglipText> {
        self.check()?;
        let embedding = |count| EmbeddingConfig::new(count, self.hidden_size).init(device);
        let layers = self.layers();
        Ok(SiglipText {
            embeddings: TextEmbeddings {
                token_embedding: embedding(self.vocab_size),
                position_embedding: embedding(self.max_position_embeddings),
            },
            encoder: layers.init(self.num_hidden_layers, device),
            final_layer_norm: layers.norm(device),
            head: LinearConfig::new(self.hidden_size, self.embedding_dim()).init(device),
        })
    }
}

impl SiglipText {
    /// Embeds texts.
    ///
    /// # Shapes
    ///
    /// - tokens: `[n, max_position_embeddings]`
    /// - output: `[n, embedding_dim]`, not normalised
    ///
    /// # Panics
    ///
    /// If texts have another length.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let time = self.max_positions();
        assert_shape!(tokens, [_, time], "texts for SigLIP, padded");
        let hidden = self.encoder.forward(self.embed(tokens), false);
        let last: Tensor<2> = hidden.narrow(1, time - 1, 1).squeeze_dim(1);
        self.head.forward(self.final_layer_norm.forward(last))
    }

    /// The number of tokens of a text, padding included.
    pub fn max_positions(&self) -> usize {
        self.embeddings.position_embedding.weight.shape()[0]
    }

    /// The number of tokens that it knows.
    pub fn vocab_size(&self) -> usize {
        self.embeddings.token_embedding.weight.shape()[0]
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let positions = self.embeddings.position_embedding.weight.val();
        self.embeddings.token_embedding.forward(tokens) + positions.unsqueeze()
    }

    /// The states before the first and after each layer, without the last norm: `[n, time, hidden_size]` each.
    #[cfg(test)]
    pub(in crate::encoder) fn hidden_states(&self, tokens: Tensor<2, Int>) -> Vec<Tensor<3>> {
        self.encoder.hidden_states(self.embed(tokens), false)
    }
}
