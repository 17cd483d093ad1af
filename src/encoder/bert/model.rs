use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Bool, Device, Int, Tensor};

use super::pooling::Pooling;
use crate::assert_shape;
use crate::encoder::transformer::{EncoderLayerConfig, Mlp, SelfAttention};

/// A sentence encoder of the BERT family: Hugging Face's `BertModel` or `RobertaModel`, with the pooling of
/// sentence-transformers.
///
/// Every token sees all others, norms stand behind the layers, and the vector of a text is the mean of its states or the first
/// of them.
///
/// # Example
///
/// ```
/// use burn::tensor::{Bool, Device, Int, Tensor};
/// use burn_revision::encoder::BertConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let config = BertConfig::new()
///     .with_vocab_size(100)
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_intermediate_size(32);
/// let tower = config.init(&device)?;
/// let tokens = Tensor::<2, Int>::from_ints([[98, 5, 99, 0], [98, 5, 6, 99]], &device);
/// let padding = Tensor::<2, Bool>::from_data([[false, false, false, true], [false; 4]], &device);
/// assert_eq!(tower.forward(tokens, padding).dims(), [2, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Bert {
    pub(super) embeddings: BertEmbeddings,
    pub(super) encoder: BertEncoder,
    pub(super) first_position: usize,
    #[module(skip)]
    pub(super) pooling: Pooling,
}

#[derive(Module, Debug)]
pub(super) struct BertEmbeddings {
    pub word_embeddings: Embedding,
    pub position_embeddings: Embedding,
    pub token_type_embeddings: Embedding,
    pub norm: LayerNorm,
}

#[derive(Module, Debug)]
pub(super) struct BertEncoder {
    layer: Vec<BertLayer>,
}

/// A post-norm layer: `h = norm(h + attention(h))`, then `norm(h + mlp(h))`.
#[derive(Module, Debug)]
struct BertLayer {
    attention: SelfAttention,
    attention_norm: LayerNorm,
    mlp: Mlp,
    mlp_norm: LayerNorm,
}

impl BertEncoder {
    pub fn init(config: &EncoderLayerConfig, count: usize, device: &Device) -> Self {
        let layer = (0..count).map(|_| BertLayer {
            attention: SelfAttention::init(config.hidden_size, config.num_attention_heads, device),
            attention_norm: config.norm(device),
            mlp: config.mlp(device),
            mlp_norm: config.norm(device),
        });
        Self { layer: layer.collect() }
    }
}

impl Bert {
    /// Embeds texts.
    ///
    /// # Shapes
    ///
    /// - tokens: `[n, time]`
    /// - padding: `[n, time]`, true where a token is padding; what stands there has no effect
    /// - output: `[n, hidden_size]`, not normalised
    ///
    /// # Panics
    ///
    /// If the mask has another shape than the tokens, or texts are longer than the positions of the tower.
    pub fn forward(&self, tokens: Tensor<2, Int>, padding: Tensor<2, Bool>) -> Tensor<2> {
        let states = self.states(tokens, padding.clone());
        let last = states.last().expect("there is a first state").clone();
        self.pool(last, padding)
    }

    /// The states before the first and after each layer, `[n, time, hidden_size]` each.
    pub(in crate::encoder) fn states(
        &self,
        tokens: Tensor<2, Int>,
        padding: Tensor<2, Bool>,
    ) -> Vec<Tensor<3>> {
        let [n, time] = tokens.dims();
        assert_shape!(padding, [n, time], "padding of the tokens");
        let embedded = self.embed(tokens);
        // Far below any score, and finite in half precision.
        let hidden = padding.float().cast(embedded.dtype()) * -1e4;
        let bias = hidden.reshape([n, 1, 1, time]).expand([n, 1, time, time]);
        let mut states = vec![embedded];
        for layer in &self.encoder.layer {
            let last = states.last().expect("there is a first state").clone();
            states.push(layer.forward(last, bias.clone()));
        }
        states
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, time] = tokens.dims();
        let positions = self.embeddings.position_embeddings.weight.val();
        let longest = positions.dims()[0] - self.first_position;
        assert!(time <= longest, "BERT: at most {longest} tokens a text, found {time}");
        let kind = self.embeddings.token_type_embeddings.weight.val().narrow(0, 0, 1);
        let added = positions.narrow(0, self.first_position, time) + kind;
        self.embeddings.norm.forward(self.embeddings.word_embeddings.forward(tokens) + added.unsqueeze())
    }

    fn pool(&self, states: Tensor<3>, padding: Tensor<2, Bool>) -> Tensor<2> {
        match self.pooling {
            Pooling::Cls => states.narrow(1, 0, 1).squeeze_dim(1),
            Pooling::Mean => {
                let keep = padding.bool_not().float().cast(states.dtype());
                let count = keep.clone().sum_dim(1).clamp_min(1.0);
                let sum: Tensor<2> = (states * keep.unsqueeze_dim::<3>(2)).sum_dim(1).squeeze_dim(1);
                sum / count
            }
        }
    }
}

impl BertLayer {
    fn forward(&self, hidden: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let mixed = self.attention.biased(hidden.clone(), false, Some(bias));
        let hidden = self.attention_norm.forward(hidden + mixed);
        self.mlp_norm.forward(hidden.clone() + self.mlp.forward(hidden))
    }
}
