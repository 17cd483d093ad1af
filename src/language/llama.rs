//! The LLaMA family: LLaMA (arXiv 2302.13971), and with other settings Mistral, Qwen2, Qwen3, SmolLM2, SmolLM3, Phi-3 and
//! Gemma.
//! Configuration fields and module names are those of Hugging Face's `LlamaForCausalLM`.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::gelu_approximate;
use burn::tensor::{Device, Int, Tensor};

use super::attention::{CausalBias, CausalSelfAttention, CausalSelfAttentionConfig, Padding, Pass};
use super::gemma::GemmaConfig;
use super::rope::{RotaryAngles, RotaryFrequencies};
use super::{KvCache, LanguageModel, RopeScaling};
use crate::fused::{embedding, linears, products_of_rows, rms_norm, swiglu};
use crate::weights::{PublishedNames, is_derived};
use crate::{Error, Result};

/// Configuration of [`LlamaDecoder`], with the field names of Hugging Face's `config.json`.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::language::{LanguageModel, LlamaConfig};
/// let config = LlamaConfig::new(256, 64, 128, 2, 4).with_num_key_value_heads(Some(2));
/// let model = config.init(&Device::default()).unwrap();
/// assert_eq!(model.width(), 64);
/// ```
#[derive(Config, Debug)]
pub struct LlamaConfig {
    /// The number of tokens.
    pub vocab_size: usize,
    /// The size of the hidden states.
    pub hidden_size: usize,
    /// The inner size of the feed-forward layers.
    pub intermediate_size: usize,
    /// The number of layers.
    pub num_hidden_layers: usize,
    /// The number of query heads.
    pub num_attention_heads: usize,
    /// The number of key and value heads; as many as query heads where absent.
    pub num_key_value_heads: Option<usize>,
    /// The size of a head; `hidden_size / num_attention_heads` where absent.
    pub head_dim: Option<usize>,
    /// The constant under the root of RMSNorm.
    #[config(default = 1e-5)]
    pub rms_norm_eps: f64,
    /// The base of the rotary frequencies.
    #[config(default = 10_000.0)]
    pub rope_theta: f64,
    /// How rotary frequencies are changed for longer sequences.
    pub rope_scaling: Option<RopeScaling>,
    /// The longest sequence.
    #[config(default = 2048)]
    pub max_position_embeddings: usize,
    /// Whether the output head is the embedding matrix.
    #[config(default = false)]
    pub tie_word_embeddings: bool,
    /// Whether query, key and value projections have a bias.
    #[config(default = false)]
    pub attention_bias: bool,
    /// Whether the output projection of the attention has a bias. Hugging Face's LLaMA has both or none, Qwen2 only those
    /// of query, key and value.
    #[config(default = false)]
    pub attention_output_bias: bool,
    /// Whether the feed-forward layers have biases.
    #[config(default = false)]
    pub mlp_bias: bool,
    /// Whether queries and keys pass a norm over each head (Qwen3, Gemma 3); they do not where absent.
    pub qk_norm: Option<bool>,
    /// For each layer 1 where its queries and keys are rotated by their positions and 0 where they are not (SmolLM3,
    /// arXiv 2501.18795); all are where absent.
    pub no_rope_layers: Option<Vec<usize>>,
    /// What Gemma 2 and 3 compute otherwise.
    pub gemma: Option<GemmaConfig>,
    /// The standard deviation of the weights that [`init`](Self::init) draws.
    #[config(default = 0.02)]
    pub initializer_range: f64,
}

/// A feed-forward layer with SwiGLU, `down(silu(gate(x)) * up(x))` (arXiv 2002.05202); Gemma has GELU instead of SiLU.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    has_gelu: bool,
}

impl Mlp {
    /// `[batch, time, hidden]` to the same.
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        // As one matrix: a batch of products with the same weights would prepare them for each sequence anew.
        let rows = hidden.reshape([batch * time, width]);
        let [gate, up] = linears([&self.gate_proj, &self.up_proj], rows);
        let gated = if self.has_gelu { gelu_approximate(gate) * up } else { swiglu(gate, up) };
        let [output] = linears([&self.down_proj], gated);
        output.reshape([batch, time, width])
    }
}

/// One layer: attention and feed-forward, each after a norm and with a residual connection. Gemma has norms before and
/// behind each, of which that behind the attention has the name of the other models' norm before the feed-forward.
#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    self_attn: CausalSelfAttention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: Option<RmsNorm>,
    post_feedforward_layernorm: Option<RmsNorm>,
}

impl DecoderLayer {
    fn forward(
        &self,
        hidden: Tensor<3>,
        angles: Option<&RotaryAngles>,
        layer: usize,
        cache: Option<&mut KvCache>,
        pass: &Pass,
    ) -> Tensor<3> {
        let normed = rms_norm(&self.input_layernorm, hidden.clone());
        let attended = self.self_attn.forward(normed, angles, layer, cache, pass);
        let (Some(before), Some(behind)) =
            (&self.pre_feedforward_layernorm, &self.post_feedforward_layernorm)
        else {
            let hidden = hidden + attended;
            return hidden.clone() + self.mlp.forward(rms_norm(&self.post_attention_layernorm, hidden));
        };
        let hidden = hidden + rms_norm(&self.post_attention_layernorm, attended);
        hidden.clone() + rms_norm(behind, self.mlp.forward(rms_norm(before, hidden)))
    }
}

/// A decoder of the LLaMA family: RMSNorm, rotary positions, attention with grouped queries, and SwiGLU.
///
/// [`LlamaConfig`] makes one with random weights, [`Pretrained`](super::Pretrained) reads a published one.
#[derive(Module, Debug)]
pub struct LlamaDecoder {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    lm_head: Option<Linear>,
    head_dim: usize,
    #[module(skip)]
    rope: RotaryFrequencies,
    /// Those of Gemma's layers with a window.
    #[module(skip)]
    local_rope: Option<RotaryFrequencies>,
    #[module(skip)]
    no_rope_layers: Option<Vec<usize>>,
    #[module(skip)]
    gemma: Option<GemmaConfig>,
    max_positions: usize,
}

impl LlamaConfig {
    /// The number of key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    pub(super) fn validate(&self) -> Result<usize> {
        let (heads, kv_heads) = (self.num_attention_heads, self.kv_heads());
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            let detail = format!("expected a divisor of num_attention_heads {heads}, found {kv_heads}");
            return Err(Error::config("num_key_value_heads", detail));
        }
        let head_dim = match self.head_dim {
            Some(head_dim) => head_dim,
            None if self.hidden_size.is_multiple_of(heads) => self.hidden_size / heads,
            None => {
                let detail = format!("expected a divisor of hidden_size {}, found {heads}", self.hidden_size);
                return Err(Error::config("num_attention_heads", detail));
            }
        };
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(Error::config(
                "head_dim",
                format!("expected an even size for rotary positions, found {head_dim}"),
            ));
        }
        let layers = self.num_hidden_layers;
        if let Some(found) = self.no_rope_layers.as_ref().map(Vec::len).filter(|found| *found < layers) {
            let detail = format!("expected a number for each of {layers} layers, found {found}");
            return Err(Error::config("no_rope_layers", detail));
        }
        self.gemma.as_ref().map_or(Ok(()), |gemma| gemma.validate(layers))?;
        Ok(head_dim)
    }

    /// Initialises a decoder with random weights.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the numbers of heads do not divide each other or the width, where the size of a head is odd,
    /// and for a [`RopeScaling`] that does not fit the size of a head.
    pub fn init(&self, device: &Device) -> Result<LlamaDecoder> {
        let head_dim = self.validate()?;
        let rope = RotaryFrequencies::new(head_dim, self.rope_theta, self.rope_scaling.clone())?;
        let gemma = self.gemma.as_ref();
        let local_rope = gemma.and_then(|gemma| gemma.rope_local_base_freq);
        let local_rope = local_rope.map(|theta| RotaryFrequencies::new(head_dim, theta, None)).transpose()?;
        let initializer = Initializer::Normal { mean: 0.0, std: self.initializer_range };
        let linear = |input, output, bias| {
            LinearConfig::new(input, output)
                .with_bias(bias)
                .with_initializer(initializer.clone())
                .init(device)
        };
        let norm = || RmsNormConfig::new(self.hidden_size).with_epsilon(self.rms_norm_eps).init(device);
        let attention = CausalSelfAttentionConfig::new(
            self.hidden_size,
            self.num_attention_heads,
            self.kv_heads(),
            head_dim,
        )
        .with_bias(self.attention_bias)
        .with_output_bias(self.attention_output_bias)
        .with_head_norm_eps(self.qk_norm.unwrap_or(false).then_some(self.rms_norm_eps))
        .with_scale(gemma.map(|gemma| gemma.query_pre_attn_scalar.powf(-0.5)))
        .with_score_cap(gemma.and_then(|gemma| gemma.attn_logit_softcapping));
        let layers = (0..self.num_hidden_layers)
            .map(|_| DecoderLayer {
                self_attn: attention.init(&initializer, device),
                mlp: Mlp {
                    gate_proj: linear(self.hidden_size, self.intermediate_size, self.mlp_bias),
                    up_proj: linear(self.hidden_size, self.intermediate_size, self.mlp_bias),
                    down_proj: linear(self.intermediate_size, self.hidden_size, self.mlp_bias),
                    has_gelu: gemma.is_some(),
                },
                input_layernorm: norm(),
                post_attention_layernorm: norm(),
                pre_feedforward_layernorm: gemma.map(|_| norm()),
                post_feedforward_layernorm: gemma.map(|_| norm()),
            })
            .collect();
        Ok(LlamaDecoder {
            embed_tokens: EmbeddingConfig::new(self.vocab_size, self.hidden_size)
                .with_initializer(initializer.clone())
                .init(device),
            layers,
            norm: norm(),
            lm_head: (!self.tie_word_embeddings).then(|| linear(self.hidden_size, self.vocab_size, false)),
            head_dim,
            rope,
            local_rope,
            no_rope_layers: self.no_rope_layers.clone(),
            gemma: self.gemma.clone(),
            max_positions: self.max_position_embeddings,
        })
    }
}

impl LlamaDecoder {
    /// The configuration, with every optional size filled in.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_revision::language::LlamaConfig;
    /// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&Device::default()).unwrap();
    /// assert_eq!(model.config().head_dim, Some(16));
    /// ```
    pub fn config(&self) -> LlamaConfig {
        let attention = self.layers.first().map(|layer| &layer.self_attn);
        let (heads, kv_heads) = attention.map_or((1, 1), CausalSelfAttention::heads);
        let inner = self.layers.first().map_or(0, |layer| layer.mlp.up_proj.weight.shape()[1]);
        LlamaConfig::new(self.vocab_size(), self.width(), inner, self.layers.len(), heads)
            .with_num_key_value_heads(Some(kv_heads))
            .with_head_dim(Some(self.head_dim))
            .with_rms_norm_eps(self.norm.epsilon)
            .with_rope_theta(self.rope.theta())
            .with_rope_scaling(self.rope.scaling().cloned())
            .with_max_position_embeddings(self.max_positions)
            .with_tie_word_embeddings(self.lm_head.is_none())
            .with_attention_bias(attention.is_some_and(CausalSelfAttention::has_bias))
            .with_attention_output_bias(attention.is_some_and(CausalSelfAttention::has_output_bias))
            .with_mlp_bias(self.layers.first().is_some_and(|layer| layer.mlp.up_proj.bias.is_some()))
            .with_qk_norm(attention.is_some_and(CausalSelfAttention::has_head_norms).then_some(true))
            .with_no_rope_layers(self.no_rope_layers.clone())
            .with_gemma(self.gemma.clone())
    }

    /// Whether a layer rotates queries and keys by their positions.
    fn has_positions(&self, layer: usize) -> bool {
        self.no_rope_layers.as_ref().is_none_or(|layers| layers[layer] != 0)
    }

    fn is_local(&self, layer: usize) -> bool {
        self.gemma.as_ref().is_some_and(|gemma| gemma.is_local(layer))
    }

    /// All layers, where the first position stands for `copies` equal ones. These attend to each other alone, whose values are
    /// equal, so that whatever their weights they stay equal from layer to layer: one is computed, and its key is placed at each
    /// of their positions.
    fn states(&self, embeddings: Tensor<3>, copies: usize, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let time = embeddings.dims()[1] + copies - 1;
        let start = cache.as_deref().map_or(0, KvCache::len);
        let padding = cache.as_deref().map_or(vec![], |cache| cache.padding().to_vec());
        let (dtype, device) = (embeddings.dtype(), embeddings.device());
        let angles = |rope| RotaryAngles::new(start, time, &padding, rope, dtype, &device);
        let (global, local) = (angles(&self.rope), self.local_rope.as_ref().map(angles));
        let padding = Padding::new(padding, start + time, dtype, &device);
        let pass = Pass { copies, padding, causal: CausalBias::default() };
        let hidden = self.layers.iter().enumerate().fold(embeddings, |hidden, (index, layer)| {
            let local = local.as_ref().filter(|_| self.is_local(index));
            let angles = self.has_positions(index).then(|| local.unwrap_or(&global));
            layer.forward(hidden, angles, index, cache.as_deref_mut(), &pass)
        });
        rms_norm(&self.norm, hidden)
    }
}

impl LanguageModel for LlamaDecoder {
    fn width(&self) -> usize {
        self.embed_tokens.weight.shape()[1]
    }

    fn vocab_size(&self) -> usize {
        self.embed_tokens.weight.shape()[0]
    }

    fn max_positions(&self) -> usize {
        self.max_positions
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let embeddings = embedding(self.embed_tokens.weight.val(), tokens);
        match self.gemma {
            Some(_) => embeddings.mul_scalar((self.width() as f64).sqrt()),
            None => embeddings,
        }
    }

    fn forward(&self, embeddings: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3> {
        self.states(embeddings, 1, cache)
    }

    fn forward_copies(&self, embeddings: Tensor<3>, copies: usize) -> Tensor<3> {
        assert!(copies > 0, "the first position stands for at least itself");
        self.states(embeddings, copies, None)
    }

    fn allows_padding(&self) -> bool {
        true
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let logits = match &self.lm_head {
            Some(head) => {
                let [logits] = linears([head], hidden);
                logits
            }
            None => products_of_rows(hidden, self.embed_tokens.weight.val()),
        };
        match self.gemma.as_ref().and_then(|gemma| gemma.final_logit_softcapping) {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
    }
}

/// Hugging Face's names of the weights, of which those of the fields here are parts.
impl PublishedNames for LlamaConfig {
    fn published(&self, path: &str) -> String {
        if path.starts_with("lm_head.") { path.to_string() } else { format!("model.{path}") }
    }

    fn is_optional(&self, name: &str) -> bool {
        // Some files repeat the embedding matrix as the head.
        is_derived(name) || self.tie_word_embeddings && name == "lm_head.weight"
    }
}

#[cfg(test)]
mod tests;
