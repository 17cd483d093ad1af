use crate::Result;
use crate::language::GemmaConfig;
use crate::weights::gguf::{GgufFile, Metadata, excerpt};

/// A family of models whose tensors are mapped to Hugging Face names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    /// LLaMA, Mistral and SmolLM2.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3.
    Qwen3,
    /// SmolLM3.
    SmolLm3,
    /// Phi-3.
    Phi3,
    /// Gemma 2.
    Gemma2,
    /// The language model of Gemma 3.
    Gemma3,
}

impl Architecture {
    const ALL: [Self; 7] =
        [Self::Llama, Self::Qwen2, Self::Qwen3, Self::SmolLm3, Self::Phi3, Self::Gemma2, Self::Gemma3];

    /// The name in the metadata.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::SmolLm3 => "smollm3",
            Self::Phi3 => "phi3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
        }
    }

    /// Whether queries and keys pass a norm over each head.
    pub(super) fn has_head_norms(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// Whether the architecture is one of Gemma's.
    pub(super) fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    /// Whether llama.cpp rotates neighbouring coordinates of a head together, for which its converter reorders the rows of
    /// queries and keys.
    pub(super) fn is_interleaved(self) -> bool {
        matches!(self, Self::Llama | Self::SmolLm3)
    }
}

/// How rotary frequencies are changed for longer sequences than a model was first trained with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GgufRopeScaling {
    /// All positions are divided by the factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        /// The factor by which the context grows.
        factor: f64,
        /// The context before.
        original_context_length: Option<usize>,
    },
}

/// The hyper-parameters of a model, in the terms of Hugging Face's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LlamaParameters {
    /// The family.
    pub(super) architecture: Architecture,
    /// The number of tokens.
    pub(super) vocab_size: usize,
    /// The size of the hidden states.
    pub(super) hidden_size: usize,
    /// The inner size of the feed-forward layers.
    pub(super) intermediate_size: usize,
    /// The number of layers.
    pub(super) num_hidden_layers: usize,
    /// The number of query heads.
    pub(super) num_attention_heads: usize,
    /// The number of key and value heads.
    pub(super) num_key_value_heads: usize,
    /// The size of a head; all of it is rotated by the position.
    pub(super) head_dim: usize,
    /// The constant under the root of RMSNorm.
    pub(super) rms_norm_eps: f64,
    /// The base of the rotary frequencies.
    pub(super) rope_theta: f64,
    /// How the rotary frequencies are changed; LLaMA 3 has a tensor of factors for that instead, which is
    /// [`LlamaGguf::frequency_factors`](super::LlamaGguf::frequency_factors).
    pub(super) rope_scaling: Option<GgufRopeScaling>,
    /// The longest sequence.
    pub(super) max_position_embeddings: usize,
    /// How far back attention reaches, where it is bounded.
    pub(super) sliding_window: Option<usize>,
    /// Whether the output head is the embedding matrix.
    pub(super) tie_word_embeddings: bool,
    /// Whether query, key and value projections have a bias.
    pub(super) attention_bias: bool,
    /// Whether the output projection of the attention has a bias.
    pub(super) output_bias: bool,
    /// What Gemma computes otherwise.
    pub(super) gemma: Option<GemmaConfig>,
}

impl LlamaParameters {
    pub(super) fn read(file: &GgufFile) -> Result<Self> {
        let metadata = file.metadata();
        let architecture = architecture(metadata)?;
        let keys = Keys { metadata, prefix: architecture.name() };
        let num_hidden_layers = keys.size("block_count")?;
        // Each layer has tensors of its own: a file names no more layers than tensors.
        if num_hidden_layers > file.tensors().len() {
            return Err(metadata.wrong(format!(
                "key {:?}: expected at most as many layers as the {} tensors, found {num_hidden_layers}",
                keys.key("block_count"),
                file.tensors().len()
            )));
        }
        let hidden_size = keys.size("embedding_length")?;
        let num_attention_heads = keys.size("attention.head_count")?;
        let head_dim = keys.head_dim(hidden_size, num_attention_heads)?;
        let num_key_value_heads =
            keys.optional_size("attention.head_count_kv")?.unwrap_or(num_attention_heads);
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(metadata.wrong(format!(
                "key {:?}: expected a divisor of the {num_attention_heads} query heads, found {num_key_value_heads}",
                keys.key("attention.head_count_kv")
            )));
        }
        keys.absent_or_zero("expert_count")?;
        let context_length = keys.size("context_length")?;
        let has = |name: &str| file.tensor(name).is_some();
        Ok(Self {
            architecture,
            vocab_size: vocab_size(file, &keys)?,
            hidden_size,
            intermediate_size: keys.size("feed_forward_length")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: keys.required_number("attention.layer_norm_rms_epsilon")?,
            rope_theta: keys.number("rope.freq_base")?.unwrap_or(10_000.0),
            rope_scaling: keys.rope_scaling()?,
            max_position_embeddings: context_length,
            sliding_window: match (keys.optional_size("attention.sliding_window")?, architecture) {
                (None, Architecture::Gemma2) => Some(4096),
                // Files from before the key was written, which llama.cpp knows by the same size.
                (None, Architecture::Phi3) if context_length == 4096 => Some(2047),
                (window, _) => window,
            },
            tie_word_embeddings: !has("output.weight"),
            attention_bias: architecture == Architecture::Qwen2 || has("blk.0.attn_q.bias"),
            output_bias: has("blk.0.attn_output.bias"),
            gemma: match architecture.is_gemma() {
                true => Some(gemma(
                    &keys,
                    architecture,
                    num_hidden_layers,
                    head_dim,
                    hidden_size / num_attention_heads,
                )?),
                false => None,
            },
        })
    }
}

fn architecture(metadata: &Metadata) -> Result<Architecture> {
    const KEY: &str = "general.architecture";
    let found = metadata.required(KEY, metadata.text(KEY)?)?;
    Architecture::ALL.into_iter().find(|architecture| architecture.name() == found).ok_or_else(|| {
        let names = Architecture::ALL.map(Architecture::name).join(", ");
        metadata.wrong(format!("key {KEY:?}: expected one of {names}, found {:?}", excerpt(found)))
    })
}

/// What llama.cpp knows of Gemma beyond the keys of a file: which layers have a window, and what scores are divided by, which
/// is another size in the largest models alone.
fn gemma(
    keys: &Keys<'_>,
    architecture: Architecture,
    layers: usize,
    head_dim: usize,
    share_of_width: usize,
) -> Result<GemmaConfig> {
    let (interval, largest, cap, final_cap) = match architecture {
        Architecture::Gemma3 => (6, 62, None, None),
        _ => (2, 46, Some(50.0), Some(30.0)),
    };
    if let Some(found) =
        keys.optional_size("attention.sliding_window_pattern")?.filter(|found| *found != interval)
    {
        return Err(keys.metadata.wrong(format!(
            "key {:?}: expected {interval}, found {found}",
            keys.key("attention.sliding_window_pattern")
        )));
    }
    let is_3 = architecture == Architecture::Gemma3;
    if is_3 {
        // Without a window, llama.cpp has no local layers.
        keys.size("attention.sliding_window")?;
        if let Some(cap) = keys.number("attn_logit_softcapping")? {
            let key = keys.key("attn_logit_softcapping");
            return Err(keys.metadata.wrong(format!("key {key:?}: expected none for Gemma 3, found {cap}")));
        }
    }
    let local = keys.number("rope.freq_base_swa")?;
    Ok(GemmaConfig {
        query_pre_attn_scalar: if layers == largest { share_of_width } else { head_dim } as f64,
        attn_logit_softcapping: keys.number("attn_logit_softcapping")?.or(cap),
        final_logit_softcapping: keys.number("final_logit_softcapping")?.or(final_cap),
        rope_local_base_freq: local.or(is_3.then_some(10_000.0)),
        local_layers: (1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect(),
    })
}

/// Older files do not name the size of the vocabulary; it is that of the embeddings.
fn vocab_size(file: &GgufFile, keys: &Keys<'_>) -> Result<usize> {
    let embeddings = file.tensor("token_embd.weight").and_then(|tensor| tensor.shape().first().copied());
    let size = keys.optional_size("vocab_size")?.or(embeddings);
    let size = keys.metadata.required(&keys.key("vocab_size"), size)?;
    let tokens = file.metadata().texts("tokenizer.ggml.tokens")?.map_or(0, |tokens| tokens.len());
    if tokens > size {
        return Err(keys.metadata.wrong(format!(
            "key \"tokenizer.ggml.tokens\": expected at most as many tokens as the {size} embeddings, found {tokens}"
        )));
    }
    Ok(size)
}

/// The keys of an architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A size above zero. The format stores sizes in 32 bits, so that products of two cannot overflow 64.
    fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        let key = self.key(name);
        match self.metadata.count(&key)? {
            Some(size) if size == 0 || u32::try_from(size).is_err() => Err(self
                .metadata
                .wrong(format!("key {key:?}: expected a size from 1 to 2^32 - 1, found {size}"))),
            size => Ok(size),
        }
    }

    fn size(&self, name: &str) -> Result<usize> {
        self.metadata.required(&self.key(name), self.optional_size(name)?)
    }

    /// A number above zero.
    fn number(&self, name: &str) -> Result<Option<f64>> {
        let key = self.key(name);
        match self.metadata.number(&key)? {
            Some(number) if number <= 0.0 => {
                Err(self.metadata.wrong(format!("key {key:?}: expected a number above 0, found {number}")))
            }
            number => Ok(number),
        }
    }

    fn required_number(&self, name: &str) -> Result<f64> {
        self.metadata.required(&self.key(name), self.number(name)?)
    }

    fn absent_or_zero(&self, name: &str) -> Result<()> {
        let key = self.key(name);
        match self.metadata.count(&key)? {
            None | Some(0) => Ok(()),
            Some(count) => Err(self
                .metadata
                .wrong(format!("key {key:?}: expected a model without experts, found {count}"))),
        }
    }

    /// The size of a head, which keys, values and rotary positions must share.
    fn head_dim(&self, hidden_size: usize, heads: usize) -> Result<usize> {
        let head_dim = match self.optional_size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => {
                return Err(self.metadata.wrong(format!(
                    "key {:?}: expected a divisor of the width {hidden_size}, found {heads}",
                    self.key("attention.head_count")
                )));
            }
        };
        if !head_dim.is_multiple_of(2) {
            return Err(self.metadata.wrong(format!(
                "key {:?}: expected heads of an even size for rotary positions, found {head_dim}",
                self.key("attention.head_count")
            )));
        }
        for name in ["attention.value_length", "rope.dimension_count"] {
            if let Some(size) = self.optional_size(name)?.filter(|size| *size != head_dim) {
                return Err(self.metadata.wrong(format!(
                    "key {:?}: expected the size of a head, {head_dim}, found {size}",
                    self.key(name)
                )));
            }
        }
        Ok(head_dim)
    }

    fn rope_scaling(&self) -> Result<Option<GgufRopeScaling>> {
        let key = self.key("rope.scaling.type");
        // Files from before there were several types have this key alone.
        let linear = self.number("rope.scale_linear")?;
        let factor = self.number("rope.scaling.factor")?.or(linear);
        let scaling = match self.metadata.text(&key)? {
            Some("none") => None,
            Some("linear") | None => factor.map(|factor| GgufRopeScaling::Linear { factor }),
            Some("yarn") => {
                let factor = self.metadata.required(&self.key("rope.scaling.factor"), factor)?;
                let original_context_length = self.optional_size("rope.scaling.original_context_length")?;
                Some(GgufRopeScaling::Yarn { factor, original_context_length })
            }
            Some(other) => {
                return Err(self.metadata.wrong(format!(
                    "key {key:?}: expected \"none\", \"linear\" or \"yarn\", found {:?}",
                    excerpt(other)
                )));
            }
        };
        Ok(scaling.filter(|scaling| *scaling != GgufRopeScaling::Linear { factor: 1.0 }))
    }
}
