use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::ClipTextConfig;
use crate::encoder::transformer::TransformerEncoder;
use crate::{Result, assert_shape};

/// The text tower of CLIP with its projection: Hugging Face's `CLIPTextModelWithProjection`.
///
/// Attention is causal, and a text is pooled at its end-of-text token, so that padding behind it changes nothing.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::encoder::ClipTextConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let config = ClipTextConfig::new()
///     .with_vocab_size(100)
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_eos_token_id(99)
///     .with_projection_dim(8);
/// let tower = config.init(&device)?;
/// let tokens = Tensor::<2, Int>::from_ints([[98, 5, 99, 99], [98, 5, 6, 99]], &device);
/// assert_eq!(tower.forward(tokens).dims(), [2, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct ClipText {
    pub(super) text_model: TextTransformer,
    pub(super) text_projection: Linear,
}

#[derive(Module, Debug)]
pub(super) struct TextTransformer {
    embeddings: TextEmbeddings,
    encoder: TransformerEncoder,
    final_layer_norm: LayerNorm,
    eos_token_id: i64,
}

#[derive(Module, Debug)]
struct TextEmbeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

impl ClipTextConfig {
    /// A tower with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for sizes of zero and a number of heads that does not divide the width.
    pub fn init(&self, device: &Device) -> Result<ClipText> {
        self.check()?;
        let embedding = |count| EmbeddingConfig::new(count, self.hidden_size).init(device);
        let layers = self.layers();
        Ok(ClipText {
            text_model: TextTransformer {
                embeddings: TextEmbeddings {
                    token_embedding: embedding(self.vocab_size),
                    position_embedding: embedding(self.max_position_embeddings),
                },
                encoder: layers.init(self.num_hidden_layers, device),
                final_layer_norm: layers.norm(device),
                eos_token_id: self.eos_token_id,
            },
            text_projection: LinearConfig::new(self.hidden_size, self.projection_dim)
                .with_bias(false)
                .init(device),
        })
    }
}

impl ClipText {
    /// Embeds texts.
    ///
    /// # Shapes
    ///
    /// - tokens: `[n, time]`, padded behind the end-of-text token
    /// - output: `[n, projection_dim]`, not normalised
    ///
    /// # Panics
    ///
    /// If texts are longer than the positions of the tower.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let hidden = self.text_model.forward(tokens.clone());
        self.text_projection.forward(self.text_model.pool(hidden, tokens))
    }

    /// The longest text, in tokens.
    pub fn max_positions(&self) -> usize {
        self.text_model.embeddings.position_embedding.weight.shape()[0]
    }

    /// The number of tokens that it knows.
    pub fn vocab_size(&self) -> usize {
        self.text_model.embeddings.token_embedding.weight.shape()[0]
    }

    /// The states before the first and after each layer, without the last norm: `[n, time, hidden_size]` each.
    #[cfg(test)]
    pub(in crate::encoder) fn hidden_states(&self, tokens: Tensor<2, Int>) -> Vec<Tensor<3>> {
        self.text_model.encoder.hidden_states(self.text_model.embed(tokens), true)
    }
}

impl TextTransformer {
    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, time] = tokens.dims();
        let positions = self.embeddings.position_embedding.weight.val();
        let longest = positions.dims()[0];
        assert!(time <= longest, "CLIP text tower: at most {longest} tokens a text, found {time}");
        self.embeddings.token_embedding.forward(tokens) + positions.narrow(0, 0, time).unsqueeze()
    }

    fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.final_layer_norm.forward(self.encoder.forward(self.embed(tokens), true))
    }

    /// The state at the end-of-text token of each text.
    fn pool(&self, hidden: Tensor<3>, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [n, time, width] = hidden.dims();
        assert_shape!(tokens, [n, time], "tokens of the pooled texts");
        let ends = match self.eos_token_id {
            2 => tokens,
            eos => tokens.equal_elem(eos).int(),
        };
        // The first of equal ones, as PyTorch has it; without any, the first position.
        let rows: Vec<i64> = ends.into_data().iter().collect();
        let places: Vec<i64> = rows
            .chunks(time)
            .enumerate()
            .map(|(row, ends)| {
                let best = (0..time).fold(0, |best, at| if ends[at] > ends[best] { at } else { best });
                (row * time + best) as i64
            })
            .collect();
        let places = Tensor::<1, Int>::from_ints(places.as_slice(), &hidden.device());
        hidden.reshape([n * time, width]).select(0, places)
    }
}
