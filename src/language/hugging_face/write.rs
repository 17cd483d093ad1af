//! A folder as Hugging Face stores a language model, of a model that was made or trained here.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::ConfigFile;
use super::describe;
use super::family::Family;
use crate::language::{LlamaConfig, LlamaDecoder, Tokenizer};
use crate::{Error, Result, atomic, weights};

/// Writes the folder: weights and tokenizer first, `config.json` last, each complete or not there.
///
/// # Errors
///
/// [`Error::Config`] for settings that no family has; [`Error::Io`] where a file cannot be written.
pub(in crate::language) fn write(folder: &Path, model: &LlamaDecoder, tokenizer: &Tokenizer) -> Result<()> {
    let config = model.config();
    let description = description(&config).ok_or_else(|| {
        Error::config("language model", "no architecture of Hugging Face has these settings")
    })?;
    std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
    let text =
        |name: &str, text: &str| atomic::write(&folder.join(name), |file| file.write_all(text.as_bytes()));
    let json = |name: &str, value: &Value| {
        text(name, &serde_json::to_string_pretty(value).expect("a configuration is plain data"))
    };
    weights::write(&folder.join("model.safetensors"), model, &config)?;
    tokenizer.save(folder.join("tokenizer.json"))?;
    let token = |id: u32| tokenizer.token_text(id);
    json(
        "tokenizer_config.json",
        &json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokenizer.bos().and_then(token),
            "eos_token": token(tokenizer.eos()),
            "model_max_length": config.max_position_embeddings,
        }),
    )?;
    json("generation_config.json", &json!({"eos_token_id": tokenizer.stop_tokens()}))?;
    if let Some(template) = tokenizer.chat_template() {
        text("chat_template.jinja", template.source())?;
    }
    json("config.json", &description)
}

/// The `config.json` that is read as this configuration, where there is one.
fn description(config: &LlamaConfig) -> Option<Value> {
    [Family::Llama, Family::Qwen2, Family::Qwen3, Family::SmolLm3].into_iter().find_map(|family| {
        let file = file(config, family);
        let parsed: ConfigFile = serde_json::from_value(file.clone()).ok()?;
        let (_, _, described) = describe(&parsed).ok()?;
        (settings(&described.config) == settings(config)).then_some(file)
    })
}

/// All keys with their values, for a family.
fn file(config: &LlamaConfig, family: Family) -> Value {
    let (architecture, model_type) = family.names();
    let mut file = json!({
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.kv_heads(),
        "head_dim": head_dim(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": config.rope_scaling,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": config.attention_output_bias,
        "mlp_bias": config.mlp_bias,
        "initializer_range": config.initializer_range,
        "torch_dtype": "float32",
    });
    if let Some(flags) = &config.no_rope_layers {
        file["no_rope_layers"] = json!(flags);
    }
    file
}

fn head_dim(config: &LlamaConfig) -> usize {
    config.head_dim.unwrap_or(config.hidden_size / config.num_attention_heads.max(1))
}

/// What a configuration computes: its settings with all defaults written out.
fn settings(config: &LlamaConfig) -> Map<String, Value> {
    let full = config
        .clone()
        .with_num_key_value_heads(Some(config.kv_heads()))
        .with_head_dim(Some(head_dim(config)));
    let Ok(Value::Object(mut settings)) = serde_json::from_str(&full.to_string()) else {
        unreachable!("a configuration is an object")
    };
    // What weights are drawn with, and what is not there either way.
    settings.remove("initializer_range");
    settings.retain(|_, value| !value.is_null());
    settings
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, FloatDType, Int, Tensor};

    use super::*;
    use crate::language::{GemmaConfig, LanguageModel, Pretrained, RopeScaling};

    fn config() -> LlamaConfig {
        LlamaConfig::new(290, 16, 24, 2, 4)
    }

    fn logits(model: &LlamaDecoder) -> Vec<f32> {
        let tokens = Tensor::<2, Int>::from_data([[3, 1, 4, 1, 5, 9]], &Device::default());
        let states = model.forward(model.embed(tokens), None);
        let [_, time, width] = states.dims();
        model.logits(states.reshape([time, width])).into_data().try_into_vec().unwrap()
    }

    /// Every setting that a family has comes back, and with it the model, to the bit.
    #[test]
    fn a_folder_is_read_as_the_model_that_was_written() {
        let device = Device::default();
        let tokenizer =
            Tokenizer::train(&["red apple"], 270).unwrap().with_chat(&["<|im_end|>"], Some("{{ messages }}"));
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        for (number, config) in [
            config(),
            config().with_tie_word_embeddings(true).with_num_key_value_heads(Some(2)).with_rope_theta(5e5),
            config().with_rope_scaling(Some(scaling)).with_head_dim(Some(8)).with_mlp_bias(true),
            config().with_rope_scaling(Some(RopeScaling::Linear { factor: 2.0 })),
            config().with_attention_bias(true),
            config().with_attention_bias(true).with_attention_output_bias(true),
            config().with_qk_norm(Some(true)),
            config().with_no_rope_layers(Some(vec![1, 0])),
        ]
        .into_iter()
        .enumerate()
        {
            let folder = tempfile::tempdir().unwrap();
            let written = Pretrained { model: config.init(&device).unwrap(), tokenizer: tokenizer.clone() };
            written.save(folder.path()).unwrap();
            let read = Pretrained::load(folder.path(), FloatDType::F32, &device).unwrap();
            assert_eq!(logits(&read.model), logits(&written.model), "configuration {number}");
            assert_eq!(read.tokenizer.stop_tokens(), tokenizer.stop_tokens());
            assert_eq!(read.tokenizer.bos(), tokenizer.bos());
            assert_eq!(read.tokenizer.chat_template().unwrap().source(), "{{ messages }}");
            assert_eq!(read.tokenizer.encode("a red apple"), tokenizer.encode("a red apple"));
        }
    }

    #[test]
    fn what_no_architecture_has_is_refused() {
        let device = Device::default();
        let tokenizer = Tokenizer::train(&["red apple"], 270).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let gemma = GemmaConfig {
            query_pre_attn_scalar: 4.0,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            rope_local_base_freq: None,
            local_layers: vec![false; 2],
        };
        let factors = RopeScaling::Factors { factors: vec![1.0, 2.0] };
        for other in [config().with_gemma(Some(gemma)), config().with_rope_scaling(Some(factors))] {
            let model = other.init(&device).unwrap();
            let pretrained = Pretrained { model, tokenizer: tokenizer.clone() };
            let error = pretrained.save(&folder.path().join("new")).unwrap_err().to_string();
            assert!(error.contains("no architecture"), "{error}");
        }
        assert!(!folder.path().join("new").exists());
    }
}
