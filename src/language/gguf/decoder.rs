use std::path::Path;

use burn::tensor::{Device, FloatDType};

use super::LlamaGguf;
use super::parameters::{Architecture, GgufRopeScaling};
use crate::language::{LlamaConfig, LlamaDecoder, RopeScaling, Tokenizer};
use crate::weights::{Pages, WeightSource, fill_pages};
use crate::{Error, Result};

impl LlamaGguf {
    /// The configuration of the model.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for what [`LlamaDecoder`] does not have: YaRN's rotary frequencies.
    pub(super) fn config(&self) -> Result<LlamaConfig> {
        let parameters = self.parameters();
        let refuse = |what: &str| {
            Err(Error::format(self.file().path(), format!("the model has {what}: not supported")))
        };
        let rope_scaling = match (&parameters.rope_scaling, self.frequency_factors()?) {
            (None, factors) => factors.map(|factors| RopeScaling::Factors {
                factors: factors.into_iter().map(f64::from).collect(),
            }),
            (Some(GgufRopeScaling::Linear { factor }), None) => Some(RopeScaling::Linear { factor: *factor }),
            _ => return refuse("rotary frequencies of YaRN, or two scalings of them"),
        };
        Ok(LlamaConfig::new(
            parameters.vocab_size,
            parameters.hidden_size,
            parameters.intermediate_size,
            parameters.num_hidden_layers,
            parameters.num_attention_heads,
        )
        .with_num_key_value_heads(Some(parameters.num_key_value_heads))
        .with_head_dim(Some(parameters.head_dim))
        .with_rms_norm_eps(parameters.rms_norm_eps)
        .with_rope_theta(parameters.rope_theta)
        // Within a window, attention is that of a model without one.
        .with_max_position_embeddings(self.window().unwrap_or(parameters.max_position_embeddings))
        .with_tie_word_embeddings(parameters.tie_word_embeddings)
        .with_rope_scaling(rope_scaling)
        .with_attention_bias(parameters.attention_bias)
        .with_attention_output_bias(parameters.output_bias)
        .with_qk_norm(parameters.architecture.has_head_norms().then_some(true))
        .with_no_rope_layers(self.layers_without_rope())
        .with_gemma(parameters.gemma.clone()))
    }

    /// The window that bounds the attention, where it is shorter than the longest sequence of the file.
    fn window(&self) -> Option<usize> {
        let parameters = self.parameters();
        parameters.sliding_window.filter(|window| *window < parameters.max_position_embeddings)
    }

    /// What is bounded, a sentence each.
    pub(crate) fn notices(&self) -> Vec<String> {
        let notice = |window| {
            format!("attention reaches back {window} positions: sequences are at most that long here")
        };
        self.window().map(notice).into_iter().collect()
    }

    /// SmolLM3 rotates nothing in each fourth layer; files do not say so, and llama.cpp knows it.
    fn layers_without_rope(&self) -> Option<Vec<usize>> {
        let parameters = self.parameters();
        let layers = 1..=parameters.num_hidden_layers;
        (parameters.architecture == Architecture::SmolLm3)
            .then(|| layers.map(|layer| usize::from(!layer.is_multiple_of(4))).collect())
    }

    /// The model, its weights in `precision` and in these `pages` of memory.
    ///
    /// # Errors
    ///
    /// Those of [`config`](Self::config) and [`read`](Self::read); [`Error::Format`] where a weight of the file has no
    /// place in the model, or the other way round; [`Error::Config`] where the device does not compute in `precision`.
    pub(crate) fn init(&self, precision: FloatDType, device: &Device, pages: Pages) -> Result<LlamaDecoder> {
        let config = self.config()?;
        fill_pages(config.init(device)?, &config, self, precision, device, pages)
    }

    /// The tokenizer, with its chat template.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the keys of the tokenizer are missing or contradict each other, and where the file names no
    /// end of an answer.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        let path = self.file().path();
        let parts = self.tokenizer_parts()?;
        let eos = parts.eos.ok_or_else(|| Error::format(path, "the tokenizer has no eos_token_id"))?;
        Tokenizer::from_parts(parts.tokenizer, parts.bos, eos, parts.chat_template)
            .map_err(|error| Error::format(path, error.to_string()))
    }
}

impl WeightSource for LlamaGguf {
    fn path(&self) -> &Path {
        self.file().path()
    }

    fn names(&self) -> Vec<String> {
        self.weights().iter().map(|weight| weight.name().to_string()).collect()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let wrong = |detail: String| Error::format(self.file().path(), detail);
        let weight = self.weights().iter().find(|weight| weight.name() == name);
        let weight = weight.ok_or_else(|| wrong(format!("no weight {name:?}")))?;
        if weight.shape() != shape {
            return Err(wrong(format!("{name:?}: expected shape {shape:?}, found {:?}", weight.shape())));
        }
        Self::read(self, weight)
    }
}
