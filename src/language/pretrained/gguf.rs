use std::path::Path;

use burn::tensor::{Device, FloatDType};

use super::fill::{WeightSource, fill};
use crate::language::gguf::{LlamaGguf, RopeScaling};
use crate::language::{LlamaConfig, LlamaDecoder, Tokenizer};
use crate::{Error, Result};

impl LlamaGguf {
    /// The configuration of the model.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for what [`LlamaDecoder`] does not have: YaRN's rotary frequencies, and attention within a window
    /// that is shorter than the longest sequence.
    pub fn config(&self) -> Result<LlamaConfig> {
        let parameters = self.parameters();
        let refuse = |what: &str| {
            Err(Error::format(self.file().path(), format!("the model has {what}: not supported")))
        };
        if parameters.sliding_window.is_some_and(|window| window < parameters.max_position_embeddings) {
            return refuse("attention within a window");
        }
        let rope_scaling = match (&parameters.rope_scaling, self.frequency_factors()?) {
            (None, factors) => factors.map(|factors| crate::language::RopeScaling::Factors {
                factors: factors.into_iter().map(f64::from).collect(),
            }),
            (Some(RopeScaling::Linear { factor }), None) => {
                Some(crate::language::RopeScaling::Linear { factor: *factor })
            }
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
        .with_max_position_embeddings(parameters.max_position_embeddings)
        .with_tie_word_embeddings(parameters.tie_word_embeddings)
        .with_rope_scaling(rope_scaling)
        .with_attention_bias(parameters.attention_bias)
        .with_attention_output_bias(parameters.output_bias))
    }

    /// The model, its weights in `precision`.
    ///
    /// ```no_run
    /// use burn::tensor::{Device, FloatDType};
    /// use burn_revision::language::Tokenizer;
    /// use burn_revision::language::gguf::LlamaGguf;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let file = LlamaGguf::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
    /// let model = file.init(FloatDType::F32, &Device::default())?;
    /// let tokenizer = Tokenizer::from_gguf(&file)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`LlamaGguf::config`] and [`LlamaGguf::read`]; [`Error::Format`] where a weight of the file has no place
    /// in the model, or the other way round; [`Error::Config`] where the device does not compute in `precision`.
    pub fn init(&self, precision: FloatDType, device: &Device) -> Result<LlamaDecoder> {
        fill(&self.config()?, self, precision, device)
    }
}

impl Tokenizer {
    /// The tokenizer of a GGUF file, with its chat template.
    ///
    /// # Errors
    ///
    /// As for [`LlamaGguf::tokenizer`]; [`Error::Format`] where the file names no end of an answer.
    pub fn from_gguf(file: &LlamaGguf) -> Result<Self> {
        let path = file.file().path();
        let parts = file.tokenizer()?;
        let eos = parts.eos.ok_or_else(|| Error::format(path, "the tokenizer has no eos_token_id"))?;
        Self::from_parts(parts.tokenizer, parts.bos, eos, parts.chat_template)
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
