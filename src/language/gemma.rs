use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What Gemma 2 (arXiv 2408.00118) and Gemma 3 (arXiv 2503.19786) compute otherwise than the rest of the LLaMA family, with
/// the field names of Hugging Face: besides what is set here, embeddings are multiplied by the root of their width, GELU
/// takes the place of SiLU, and a layer has norms before and behind attention and feed-forward.
///
/// Their attention within windows is not implemented: [`LlamaConfig::max_position_embeddings`] must not be above the
/// window, below which both are the same.
///
/// [`LlamaConfig::max_position_embeddings`]: super::LlamaConfig::max_position_embeddings
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::language::{GemmaConfig, LanguageModel, LlamaConfig};
/// let gemma = GemmaConfig {
///     query_pre_attn_scalar: 16.0,
///     attn_logit_softcapping: None,
///     final_logit_softcapping: Some(30.0),
///     rope_local_base_freq: Some(10_000.0),
///     local_layers: vec![true, false],
/// };
/// let config = LlamaConfig::new(256, 64, 128, 2, 4).with_qk_norm(Some(true)).with_gemma(Some(gemma));
/// assert_eq!(config.init(&Device::default()).unwrap().width(), 64);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GemmaConfig {
    /// Scores are divided by the root of this, instead of that of the size of a head.
    pub query_pre_attn_scalar: f64,
    /// Scores `s` become `cap * tanh(s / cap)`.
    pub attn_logit_softcapping: Option<f64>,
    /// Logits `l` become `cap * tanh(l / cap)`.
    pub final_logit_softcapping: Option<f64>,
    /// The base of the rotary frequencies in local layers; that of the others where absent.
    pub rope_local_base_freq: Option<f64>,
    /// Which layers attend within a window.
    pub local_layers: Vec<bool>,
}

impl GemmaConfig {
    pub(super) fn validate(&self, layers: usize) -> Result<()> {
        if self.local_layers.len() != layers {
            let found = self.local_layers.len();
            let detail = format!("expected a value for each of {layers} layers, found {found}");
            return Err(Error::config("local_layers", detail));
        }
        for (key, value) in [
            ("query_pre_attn_scalar", Some(self.query_pre_attn_scalar)),
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
            ("rope_local_base_freq", self.rope_local_base_freq),
        ] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(Error::config(key, format!("expected a number above 0, found {value}")));
            }
        }
        Ok(())
    }

    pub(super) fn is_local(&self, layer: usize) -> bool {
        self.local_layers[layer]
    }
}
