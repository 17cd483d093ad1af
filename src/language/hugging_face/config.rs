//! `config.json`, and the [`LlamaConfig`] that it describes.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::family::Family;
use super::rope::Rope;
use crate::language::{GemmaConfig, LlamaConfig};

/// The keys of `config.json` that matter here. Absent ones have the defaults of `transformers`.
#[derive(Deserialize)]
pub(super) struct ConfigFile {
    #[serde(default)]
    pub(super) architectures: Option<Vec<String>>,
    pub(super) model_type: Option<String>,
    /// The language model of a multimodal one.
    pub(super) text_config: Option<Value>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    #[serde(default)]
    num_key_value_heads: Setting<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: Option<f64>,
    max_position_embeddings: Option<usize>,
    pub(super) tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    #[serde(flatten)]
    rope: Rope,
    #[serde(default)]
    sliding_window: Setting<usize>,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
    #[serde(alias = "_sliding_window_pattern")]
    sliding_window_pattern: Option<usize>,
    no_rope_layers: Option<Vec<usize>>,
    no_rope_layer_interval: Option<usize>,
    query_pre_attn_scalar: Option<f64>,
    #[serde(default)]
    attn_logit_softcapping: Setting<f64>,
    #[serde(default)]
    final_logit_softcapping: Setting<f64>,
    use_bidirectional_attention: Option<bool>,
    quantization_config: Option<Value>,
    pretraining_tp: Option<usize>,
}

/// A key may be absent or `null`, which mean different things.
#[derive(Clone, Copy, Default)]
enum Setting<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<T> Setting<T> {
    fn or(self, default: Option<T>) -> Option<T> {
        match self {
            Self::Absent => default,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// What a configuration says.
pub(super) struct Described {
    pub(super) config: LlamaConfig,
    /// The window that bounds the attention, where it is shorter than the longest sequence of the file.
    pub(super) window: Option<usize>,
}

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

impl ConfigFile {
    /// The configuration of a model of this family.
    ///
    /// # Errors
    ///
    /// What the decoder does not have, by its key.
    pub(super) fn describe(&self, family: Family) -> Result<Described, String> {
        self.check(family)?;
        self.check_sizes()?;
        let defaults = family.defaults();
        let layers = self.num_hidden_layers.unwrap_or(defaults.num_hidden_layers);
        let longest = self.max_position_embeddings.unwrap_or(defaults.max_position_embeddings);
        let window = self.window(family, layers)?.filter(|window| *window < longest);
        if window == Some(0) {
            return Err("sliding_window: expected a number above 0, found 0".into());
        }
        let (theta, scaling) = self.rope.global(defaults.rope_theta, longest)?;
        let attention_bias = self.attention_bias.unwrap_or(false);
        let (bias, output_bias) = match family {
            Family::Mistral | Family::Phi3 => (false, false),
            Family::Qwen2 => (true, false),
            _ => (attention_bias, attention_bias),
        };
        let has_mlp_bias = matches!(family, Family::Llama | Family::SmolLm3);
        let config = LlamaConfig::new(
            self.vocab_size.unwrap_or(defaults.vocab_size),
            self.hidden_size.unwrap_or(defaults.hidden_size),
            self.intermediate_size.unwrap_or(defaults.intermediate_size),
            layers,
            self.num_attention_heads.unwrap_or(defaults.num_attention_heads),
        )
        .with_num_key_value_heads(self.num_key_value_heads.or(defaults.num_key_value_heads))
        .with_head_dim(self.head_dim.or(defaults.head_dim))
        .with_rms_norm_eps(self.rms_norm_eps.unwrap_or(defaults.rms_norm_eps))
        .with_rope_theta(theta)
        .with_rope_scaling(scaling)
        // Within a window, attention is that of a model without one.
        .with_max_position_embeddings(window.unwrap_or(longest))
        .with_tie_word_embeddings(self.tie_word_embeddings.unwrap_or(defaults.tie_word_embeddings))
        .with_attention_bias(bias)
        .with_attention_output_bias(output_bias)
        .with_mlp_bias(has_mlp_bias && self.mlp_bias.unwrap_or(false))
        .with_qk_norm(matches!(family, Family::Qwen3 | Family::Gemma3).then_some(true))
        .with_no_rope_layers(self.layers_without_rope(family, layers)?)
        .with_gemma(self.gemma(family, layers)?);
        Ok(Described { config, window })
    }

    /// Refuses sizes beyond those of any model: what is made of them takes memory before the weights are seen.
    fn check_sizes(&self) -> Result<(), String> {
        let key_heads = self.num_key_value_heads.or(None);
        for (key, size, most) in [
            ("num_hidden_layers", self.num_hidden_layers, 1 << 14),
            ("num_attention_heads", self.num_attention_heads, 1 << 14),
            ("num_key_value_heads", key_heads, 1 << 14),
            ("head_dim", self.head_dim, 1 << 14),
            ("hidden_size", self.hidden_size, 1 << 24),
            ("intermediate_size", self.intermediate_size, 1 << 24),
            ("vocab_size", self.vocab_size, 1 << 28),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 32),
        ] {
            if let Some(size) = size.filter(|size| !(1..=most).contains(size)) {
                return Err(format!("{key}: expected a number from 1 to {most}, found {size}"));
            }
        }
        Ok(())
    }

    /// Refuses settings that the decoder does not have, rather than loading another model than the one described.
    fn check(&self, family: Family) -> Result<(), String> {
        let (key, act, expected) = match family.is_gemma() {
            true => ("hidden_activation", &self.hidden_activation, "gelu_pytorch_tanh"),
            false => ("hidden_act", &self.hidden_act, "silu"),
        };
        if let Some(act) = act.as_deref().filter(|act| *act != expected) {
            return Err(format!("{key}: expected {expected:?}, found {act:?}"));
        }
        if self.quantization_config.is_some() {
            return Err("quantization_config: quantised folders are not read; GGUF files are".into());
        }
        if self.pretraining_tp.is_some_and(|parts| parts > 1) {
            return Err(format!("pretraining_tp: expected 1, found {:?}", self.pretraining_tp));
        }
        if self.use_bidirectional_attention == Some(true) {
            return Err("use_bidirectional_attention: expected false, found true".into());
        }
        Ok(())
    }

    /// The kind of each layer, where the file names them.
    fn layer_kinds(&self, layers: usize) -> Result<Option<&[String]>, String> {
        let Some(kinds) = &self.layer_types else { return Ok(None) };
        if let Some(kind) = kinds.iter().find(|kind| ![FULL, SLIDING].contains(&kind.as_str())) {
            return Err(format!("layer_types: expected {FULL:?} or {SLIDING:?}, found {kind:?}"));
        }
        match kinds.get(..layers) {
            Some(kinds) => Ok(Some(kinds)),
            None => {
                Err(format!("layer_types: expected one for each of {layers} layers, found {}", kinds.len()))
            }
        }
    }

    /// How far back the attention of some layer reaches, where it is bounded.
    fn window(&self, family: Family, layers: usize) -> Result<Option<usize>, String> {
        let window = match family {
            Family::Llama => None,
            Family::Mistral => self.sliding_window.or(Some(4096)),
            Family::Phi3 => self.sliding_window.or(None),
            Family::Gemma2 | Family::Gemma3 => self.sliding_window.or(Some(4096)),
            Family::Qwen2 | Family::Qwen3 | Family::SmolLm3 => {
                let default = (family != Family::SmolLm3).then_some(4096);
                self.sliding_window.or(default).filter(|_| self.use_sliding_window == Some(true))
            }
        };
        let is_local =
            self.layer_kinds(layers)?.is_some_and(|kinds| kinds.iter().any(|kind| kind == SLIDING));
        match window {
            None if is_local => {
                Err(format!("layer_types: expected {FULL:?} without a sliding_window, found {SLIDING:?}"))
            }
            window => Ok(window),
        }
    }

    fn layers_without_rope(&self, family: Family, layers: usize) -> Result<Option<Vec<usize>>, String> {
        if family != Family::SmolLm3 {
            return Ok(None);
        }
        if let Some(flags) = &self.no_rope_layers {
            return match flags.get(..layers) {
                Some(flags) => Ok(Some(flags.to_vec())),
                None => {
                    let found = flags.len();
                    Err(format!("no_rope_layers: expected one for each of {layers} layers, found {found}"))
                }
            };
        }
        match self.no_rope_layer_interval.unwrap_or(4) {
            0 => Err("no_rope_layer_interval: expected a number above 0, found 0".into()),
            interval => {
                Ok(Some((1..=layers).map(|layer| usize::from(!layer.is_multiple_of(interval))).collect()))
            }
        }
    }

    fn gemma(&self, family: Family, layers: usize) -> Result<Option<GemmaConfig>, String> {
        let (interval, cap, final_cap) = match family {
            Family::Gemma2 => (2, Some(50.0), Some(30.0)),
            Family::Gemma3 => (self.sliding_window_pattern.unwrap_or(6), None, None),
            _ => return Ok(None),
        };
        if interval == 0 {
            return Err("sliding_window_pattern: expected a number above 0, found 0".into());
        }
        let attn_logit_softcapping = self.attn_logit_softcapping.or(cap);
        if let Some(cap) = attn_logit_softcapping.filter(|_| family == Family::Gemma3) {
            return Err(format!("attn_logit_softcapping: expected null for Gemma 3, found {cap}"));
        }
        Ok(Some(GemmaConfig {
            query_pre_attn_scalar: self.query_pre_attn_scalar.unwrap_or(256.0),
            attn_logit_softcapping,
            final_logit_softcapping: self.final_logit_softcapping.or(final_cap),
            rope_local_base_freq: match family {
                Family::Gemma3 => Some(self.rope.local()?),
                _ => None,
            },
            local_layers: match self.layer_kinds(layers)? {
                Some(kinds) => kinds.iter().map(|kind| kind == SLIDING).collect(),
                None => (1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect(),
            },
        }))
    }
}
