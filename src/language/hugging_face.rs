use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use serde::Deserialize;
use serde_json::Value;

use super::{LlamaConfig, LlamaDecoder, RopeScaling, Tokenizer};
use crate::weights::{Shards, fill};
use crate::{Error, Result};

/// A language model as Hugging Face stores it: a folder with `config.json`, `model.safetensors` (or shards and
/// `model.safetensors.index.json`), `tokenizer.json` and `tokenizer_config.json`.
///
/// Read are `LlamaForCausalLM`, `Qwen2ForCausalLM` and `MistralForCausalLM`, as long as no window bounds their attention
/// and their weights are float16, bfloat16 or float32.
#[derive(Clone, Debug)]
pub(super) struct HuggingFaceFolder {
    folder: PathBuf,
    config: LlamaConfig,
}

impl HuggingFaceFolder {
    /// Reads the configuration of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is no `config.json`; [`Error::Format`] naming the key where it describes another
    /// architecture, or something that [`LlamaDecoder`] does not have.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let folder = folder.to_path_buf();
        let path = folder.join("config.json");
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let config: ConfigFile =
            serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))?;
        let config = config.llama().map_err(|detail| Error::format(&path, detail))?;
        Ok(Self { folder, config })
    }

    /// The model, its weights in `precision`, read tensor by tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file, [`Error::Format`] for a damaged one, and for a weight that is missing, of another
    /// shape or without a place in the model; [`Error::Config`] where the device does not compute in `precision`.
    pub(super) fn init(&self, precision: FloatDType, device: &Device) -> Result<LlamaDecoder> {
        let weights = Shards::open(&self.folder)?;
        fill(self.config.init(device)?, &self.config, &weights, precision, device)
    }

    /// The tokenizer, with its chat template.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::from_folder`]; [`Error::Format`] where it has tokens that the model does not know.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::from_folder(&self.folder)?;
        if tokenizer.vocab_size() > self.config.vocab_size {
            let detail = format!(
                "expected at most the {} tokens of config.json, found {}",
                self.config.vocab_size,
                tokenizer.vocab_size()
            );
            return Err(Error::format(self.folder.join("tokenizer.json"), detail));
        }
        Ok(tokenizer)
    }
}

/// The keys of `config.json` that matter here. Absent ones have the defaults of `transformers`.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    architectures: Vec<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: Option<f64>,
    max_position_embeddings: Option<usize>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    hidden_act: Option<String>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    /// Newer files keep both here.
    rope_parameters: Option<Value>,
    #[serde(default)]
    sliding_window: Window,
    use_sliding_window: Option<bool>,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    quantization_config: Option<Value>,
    partial_rotary_factor: Option<f64>,
    pretraining_tp: Option<usize>,
}

/// For Mistral an absent window is 4096, and `null` is none.
#[derive(Default)]
enum Window {
    #[default]
    Absent,
    Unbounded,
    Bounded(usize),
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<usize>::deserialize(deserializer)?.map_or(Self::Unbounded, Self::Bounded))
    }
}

const LLAMA: &str = "LlamaForCausalLM";
const QWEN2: &str = "Qwen2ForCausalLM";
const MISTRAL: &str = "MistralForCausalLM";

impl ConfigFile {
    fn llama(self) -> Result<LlamaConfig, String> {
        let architecture = match self.architectures.as_slice() {
            [one] if [LLAMA, QWEN2, MISTRAL].contains(&one.as_str()) => one.clone(),
            other => {
                return Err(format!(
                    "architectures: expected [{LLAMA:?}], [{QWEN2:?}] or [{MISTRAL:?}], found {other:?}"
                ));
            }
        };
        let (qwen2, mistral) = (architecture == QWEN2, architecture == MISTRAL);
        let max_positions = self.max_position_embeddings.unwrap_or(match architecture.as_str() {
            QWEN2 => 32_768,
            MISTRAL => 131_072,
            _ => 2048,
        });
        self.check(qwen2, mistral, max_positions)?;
        let (theta, rope_scaling) = self.rope(max_positions)?;
        let attention_bias = self.attention_bias.unwrap_or(false) && !mistral;
        let default_kv_heads = match architecture.as_str() {
            QWEN2 => Some(32),
            MISTRAL => Some(8),
            _ => None,
        };
        Ok(LlamaConfig::new(
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
        )
        .with_num_key_value_heads(self.num_key_value_heads.or(default_kv_heads))
        .with_head_dim(self.head_dim)
        .with_rms_norm_eps(self.rms_norm_eps.unwrap_or(1e-6))
        .with_rope_theta(theta)
        .with_rope_scaling(rope_scaling)
        .with_max_position_embeddings(max_positions)
        .with_tie_word_embeddings(self.tie_word_embeddings.unwrap_or(false))
        .with_attention_bias(qwen2 || attention_bias)
        .with_attention_output_bias(!qwen2 && attention_bias)
        .with_mlp_bias(architecture == LLAMA && self.mlp_bias.unwrap_or(false)))
    }

    /// Refuses settings that [`LlamaDecoder`] does not have, rather than loading another model than the one described.
    fn check(&self, qwen2: bool, mistral: bool, max_positions: usize) -> Result<(), String> {
        if let Some(act) = self.hidden_act.as_deref().filter(|act| *act != "silu") {
            return Err(format!("hidden_act: expected \"silu\", found {act:?}"));
        }
        if self.quantization_config.is_some() {
            return Err("quantization_config: quantised folders are not read; GGUF files are".into());
        }
        if self.partial_rotary_factor.is_some_and(|factor| factor != 1.0) {
            return Err(format!("partial_rotary_factor: expected 1, found {:?}", self.partial_rotary_factor));
        }
        if self.pretraining_tp.is_some_and(|parts| parts > 1) {
            return Err(format!("pretraining_tp: expected 1, found {:?}", self.pretraining_tp));
        }
        let window = match self.sliding_window {
            Window::Bounded(window) if mistral || qwen2 && self.use_sliding_window == Some(true) => {
                Some(window)
            }
            Window::Absent if mistral => Some(4096),
            _ => None,
        };
        if let Some(window) = window.filter(|window| *window < max_positions) {
            return Err(format!(
                "sliding_window: attention within {window} of {max_positions} positions is not supported"
            ));
        }
        match self.layer_types.iter().flatten().find(|kind| *kind != "full_attention") {
            Some(kind) => Err(format!("layer_types: expected \"full_attention\", found {kind:?}")),
            None => Ok(()),
        }
    }

    fn rope(&self, max_positions: usize) -> Result<(f64, Option<RopeScaling>), String> {
        let (key, value) = match (&self.rope_parameters, &self.rope_scaling) {
            // Where both are there, transformers takes the older.
            (_, Some(scaling)) if scaling.as_object().is_some_and(|scaling| !scaling.is_empty()) => {
                ("rope_scaling", scaling)
            }
            (Some(parameters), _) => ("rope_parameters", parameters),
            (None, _) => return Ok((self.rope_theta.unwrap_or(10_000.0), None)),
        };
        let theta = value["rope_theta"].as_f64().or(self.rope_theta).unwrap_or(10_000.0);
        let kind = value.get("rope_type").or_else(|| value.get("type")).and_then(Value::as_str);
        let number = |name: &str| {
            value[name]
                .as_f64()
                .ok_or_else(|| format!("{key}.{name}: expected a number, found {}", value[name]))
        };
        let scaling = match kind {
            None | Some("default") => None,
            Some("linear") => Some(RopeScaling::Linear { factor: number("factor")? }),
            Some("llama3") => Some(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: match number("original_max_position_embeddings") {
                    Ok(original) => original as usize,
                    Err(_) => max_positions,
                },
            }),
            Some(other) => {
                return Err(format!(
                    "{key}.rope_type: expected \"default\", \"linear\" or \"llama3\", found {other:?}"
                ));
            }
        };
        Ok((theta, scaling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: Value) -> Result<LlamaConfig, String> {
        let mut config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        serde_json::from_value::<ConfigFile>(config).unwrap().llama()
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_key() {
        for (changes, key) in [
            (serde_json::json!({"architectures": ["GPT2LMHeadModel"]}), "GPT2LMHeadModel"),
            (serde_json::json!({"architectures": []}), "architectures"),
            (serde_json::json!({"hidden_act": "gelu"}), "hidden_act"),
            (serde_json::json!({"quantization_config": {"bits": 4}}), "quantization_config"),
            (serde_json::json!({"rope_scaling": {"type": "yarn", "factor": 2.0}}), "yarn"),
            (serde_json::json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}), "low_freq_factor"),
            (serde_json::json!({"architectures": [MISTRAL], "sliding_window": 32}), "sliding_window"),
            (serde_json::json!({"architectures": [MISTRAL], "max_position_embeddings": 8192}), "4096"),
            (
                serde_json::json!({"architectures": [QWEN2], "sliding_window": 32, "use_sliding_window": true}),
                "sliding_window",
            ),
            (serde_json::json!({"layer_types": ["sliding_attention"]}), "layer_types"),
        ] {
            let error = read(changes).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn windows_as_long_as_the_sequences_are_accepted() {
        for changes in [
            serde_json::json!({"architectures": [MISTRAL], "sliding_window": null}),
            serde_json::json!({"architectures": [MISTRAL], "sliding_window": 64}),
            serde_json::json!({"architectures": [QWEN2], "sliding_window": 32, "use_sliding_window": false}),
            serde_json::json!({"architectures": [QWEN2], "sliding_window": 32}),
        ] {
            read(changes).unwrap();
        }
    }

    #[test]
    fn old_and_new_keys_of_rotary_positions_say_the_same() {
        let scaling = serde_json::json!({"type": "linear", "factor": 4.0});
        let old = read(serde_json::json!({"rope_theta": 5e5, "rope_scaling": scaling})).unwrap();
        let new = serde_json::json!({"rope_theta": 5e5, "rope_type": "linear", "factor": 4.0});
        let new = read(serde_json::json!({"rope_parameters": new})).unwrap();
        assert_eq!(old.to_string(), new.to_string());
        assert_eq!(old.rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
    }

    #[test]
    fn biases_follow_the_architecture() {
        let bias = |architecture: &str| {
            let config = read(serde_json::json!({
                "architectures": [architecture], "attention_bias": true, "mlp_bias": true,
            }));
            let config = config.unwrap();
            (config.attention_bias, config.attention_output_bias, config.mlp_bias)
        };
        assert_eq!(bias(LLAMA), (true, true, true));
        assert_eq!(bias(QWEN2), (true, false, false));
        assert_eq!(bias(MISTRAL), (false, false, false));
    }
}
