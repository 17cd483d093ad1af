use burn::config::Config;
use burn::nn::{EmbeddingConfig, LayerNormConfig};
use burn::tensor::Device;

use super::model::{Bert, BertEmbeddings, BertEncoder};
use super::pooling::Pooling;
use crate::Result;
use crate::encoder::clip::check_sizes;
use crate::encoder::transformer::{Activation, EncoderLayerConfig};

/// Configuration of [`Bert`]: the fields of a published `config.json`.
#[derive(Config, Debug)]
pub struct BertConfig {
    /// The number of tokens.
    #[config(default = 30522)]
    pub vocab_size: usize,
    /// The width of the hidden states.
    #[config(default = 768)]
    pub hidden_size: usize,
    /// The number of layers.
    #[config(default = 12)]
    pub num_hidden_layers: usize,
    /// The number of attention heads.
    #[config(default = 12)]
    pub num_attention_heads: usize,
    /// The width between the two layers of an MLP.
    #[config(default = 3072)]
    pub intermediate_size: usize,
    /// The activation of the MLPs.
    #[config(default = "Activation::Gelu")]
    pub hidden_act: Activation,
    /// The rows of the table of positions.
    #[config(default = 512)]
    pub max_position_embeddings: usize,
    /// The kinds of segments; a text is one of the first kind.
    #[config(default = 2)]
    pub type_vocab_size: usize,
    /// What is added to variances in norms.
    #[config(default = 1e-12)]
    pub layer_norm_eps: f64,
    /// The position of the first token: 0 in BERT, one after the token of padding in RoBERTa.
    #[config(default = 0)]
    pub first_position: usize,
    /// How the states of a text become its vector.
    #[config(default = "Pooling::Mean")]
    pub pooling: Pooling,
}

impl BertConfig {
    /// The longest text, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position)
    }

    /// A tower with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for sizes of zero and a number of heads that does not divide the width.
    pub fn init(&self, device: &Device) -> Result<Bert> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("max_position_embeddings", self.max_tokens()),
            ("type_vocab_size", self.type_vocab_size),
        ];
        check_sizes("bert", &sizes, (self.num_attention_heads, self.hidden_size))?;
        let embedding = |count| EmbeddingConfig::new(count, self.hidden_size).init(device);
        let norm = || LayerNormConfig::new(self.hidden_size).with_epsilon(self.layer_norm_eps).init(device);
        let layers = EncoderLayerConfig::new(
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.hidden_act,
            self.layer_norm_eps,
        );
        Ok(Bert {
            embeddings: BertEmbeddings {
                word_embeddings: embedding(self.vocab_size),
                position_embeddings: embedding(self.max_position_embeddings),
                token_type_embeddings: embedding(self.type_vocab_size),
                norm: norm(),
            },
            encoder: BertEncoder::init(&layers, self.num_hidden_layers, device),
            first_position: self.first_position,
            pooling: self.pooling,
        })
    }
}
