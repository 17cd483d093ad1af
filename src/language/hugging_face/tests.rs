use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::language::RopeScaling;
use crate::weights::gguf::testing::cases;

fn with(changes: Value) -> Result<Described, String> {
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    let config = serde_json::from_value::<ConfigFile>(config).unwrap();
    describe(&config).map(|(_, _, described)| described)
}

fn read(changes: Value) -> Result<LlamaConfig, String> {
    with(changes).map(|described| described.config)
}

const MISTRAL: &str = "MistralForCausalLM";
const QWEN2: &str = "Qwen2ForCausalLM";
const QWEN3: &str = "Qwen3ForCausalLM";
const SMOLLM3: &str = "SmolLM3ForCausalLM";
const PHI3: &str = "Phi3ForCausalLM";
const GEMMA2: &str = "Gemma2ForCausalLM";
const GEMMA3: &str = "Gemma3ForCausalLM";

#[test]
fn what_cannot_be_computed_is_refused_by_key() {
    for (changes, key) in [
        (json!({"architectures": ["GPT2LMHeadModel"]}), "GPT2LMHeadModel"),
        (json!({"architectures": []}), "architectures"),
        (json!({"architectures": ["LlamaForCausalLM", MISTRAL]}), "architectures"),
        (json!({"hidden_act": "gelu"}), "hidden_act"),
        (json!({"architectures": [GEMMA2], "hidden_activation": "gelu"}), "hidden_activation"),
        (json!({"quantization_config": {"bits": 4}}), "quantization_config"),
        (json!({"rope_scaling": {"type": "yarn", "factor": 2.0}}), "yarn"),
        (json!({"architectures": [PHI3], "rope_scaling": {"type": "longrope"}}), "longrope"),
        (json!({"architectures": [PHI3], "rope_scaling": {"type": "su"}}), "su"),
        (json!({"architectures": [PHI3], "partial_rotary_factor": 0.75}), "partial_rotary_factor"),
        (
            json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
            "partial_rotary_factor",
        ),
        (json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}), "low_freq_factor"),
        (json!({"pretraining_tp": 2}), "pretraining_tp"),
        (json!({"layer_types": ["sliding_attention", "full_attention"]}), "layer_types"),
        (
            json!({"architectures": [QWEN3], "layer_types": ["linear_attention", "full_attention"]}),
            "linear_attention",
        ),
        (json!({"architectures": [QWEN3], "layer_types": ["full_attention"]}), "2 layers, found 1"),
        (json!({"architectures": [SMOLLM3], "no_rope_layers": [1]}), "no_rope_layers"),
        (json!({"architectures": [SMOLLM3], "no_rope_layer_interval": 0}), "no_rope_layer_interval"),
        (json!({"architectures": [GEMMA3], "attn_logit_softcapping": 50.0}), "attn_logit_softcapping"),
        (json!({"architectures": [GEMMA3], "use_bidirectional_attention": true}), "use_bidirectional"),
        (json!({"architectures": [GEMMA3], "sliding_window_pattern": 0}), "sliding_window_pattern"),
        (json!({"architectures": [MISTRAL], "sliding_window": 0}), "sliding_window"),
        (json!({"architectures": ["LlavaForConditionalGeneration"]}), "text_config"),
        (
            json!({"architectures": ["LlavaForConditionalGeneration"], "text_config": {"model_type": "phi"}}),
            "text_config.model_type",
        ),
        (
            json!({"architectures": ["LlavaForConditionalGeneration"], "text_config": {"hidden_act": "gelu"}}),
            "text_config.hidden_act",
        ),
    ] {
        let error = read(changes).map(|config| config.to_string()).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_window_bounds_the_sequences() {
    for (changes, longest) in [
        (json!({"architectures": [MISTRAL], "sliding_window": null}), 64),
        (json!({"architectures": [MISTRAL], "sliding_window": 64}), 64),
        (json!({"architectures": [MISTRAL], "sliding_window": 32}), 32),
        (json!({"architectures": [MISTRAL], "max_position_embeddings": 8192}), 4096),
        (json!({"architectures": [PHI3], "sliding_window": 47}), 47),
        (json!({"architectures": [PHI3]}), 64),
        (json!({"architectures": [QWEN2], "sliding_window": 32, "use_sliding_window": false}), 64),
        (json!({"architectures": [QWEN2], "sliding_window": 32}), 64),
        (json!({"architectures": [QWEN2], "sliding_window": 32, "use_sliding_window": true}), 32),
        (json!({"architectures": [QWEN3], "sliding_window": 32, "use_sliding_window": true}), 32),
        (json!({"architectures": [SMOLLM3], "sliding_window": 32}), 64),
        (json!({"architectures": [GEMMA2], "sliding_window": 16}), 16),
        (json!({"architectures": [GEMMA3], "max_position_embeddings": 8192}), 4096),
        (json!({"sliding_window": 32}), 64),
    ] {
        let described = with(changes.clone()).unwrap();
        assert_eq!(described.config.max_position_embeddings, longest, "{changes}");
        assert_eq!(described.window, [16, 32, 47, 4096].contains(&longest).then_some(longest), "{changes}");
    }
}

#[test]
fn old_and_new_keys_of_rotary_positions_say_the_same() {
    let scaling = json!({"type": "linear", "factor": 4.0});
    let old = read(json!({"rope_theta": 5e5, "rope_scaling": scaling})).unwrap();
    let new = json!({"rope_theta": 5e5, "rope_type": "linear", "factor": 4.0});
    let new = read(json!({"rope_parameters": new})).unwrap();
    assert_eq!(old.to_string(), new.to_string());
    assert_eq!(old.rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
    let gemma = |changes: Value| {
        let mut config = json!({"architectures": [GEMMA3]});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(config).unwrap()
    };
    let old = gemma(json!({"rope_theta": 3e5, "rope_local_base_freq": 2e4, "rope_scaling": scaling}));
    let new = gemma(json!({"rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 3e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }}));
    assert_eq!(old.to_string(), new.to_string());
    assert_eq!(old.gemma.unwrap().rope_local_base_freq, Some(2e4));
    assert_eq!((gemma(json!({})).rope_theta, read(json!({})).unwrap().rope_theta), (1e6, 1e4));
}

#[test]
fn biases_and_norms_follow_the_architecture() {
    let bias = |architecture: &str| {
        let config = read(json!({
            "architectures": [architecture], "attention_bias": true, "mlp_bias": true,
        }));
        let config = config.unwrap();
        (config.attention_bias, config.attention_output_bias, config.mlp_bias, config.qk_norm)
    };
    assert_eq!(bias("LlamaForCausalLM"), (true, true, true, None));
    assert_eq!(bias(SMOLLM3), (true, true, true, None));
    assert_eq!(bias(QWEN2), (true, false, false, None));
    assert_eq!(bias(QWEN3), (true, true, false, Some(true)));
    assert_eq!(bias(MISTRAL), (false, false, false, None));
    assert_eq!(bias(PHI3), (false, false, false, None));
    assert_eq!(bias(GEMMA2), (true, true, false, None));
    assert_eq!(bias(GEMMA3), (true, true, false, Some(true)));
}

#[test]
fn layers_of_their_own_kind_are_found() {
    let smollm3 = |changes: Value| {
        let mut config = json!({"architectures": [SMOLLM3], "num_hidden_layers": 5});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(config).unwrap().no_rope_layers.unwrap()
    };
    assert_eq!(smollm3(json!({})), [1, 1, 1, 0, 1]);
    assert_eq!(smollm3(json!({"no_rope_layer_interval": 2})), [1, 0, 1, 0, 1]);
    assert_eq!(smollm3(json!({"no_rope_layers": [0, 1, 1, 1, 1, 0]})), [0, 1, 1, 1, 1]);
    let local = |config: Value| read(config).unwrap().gemma.unwrap().local_layers;
    assert_eq!(local(json!({"architectures": [GEMMA2], "num_hidden_layers": 4})), [true, false, true, false]);
    let gemma3 = json!({"architectures": [GEMMA3], "num_hidden_layers": 7});
    assert_eq!(local(gemma3), [true, true, true, true, true, false, true]);
    let named = json!({"architectures": [GEMMA3], "layer_types": ["full_attention", "sliding_attention"]});
    assert_eq!(local(named), [false, true]);
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    let defaults = |architecture: &str| {
        let config = serde_json::from_value::<ConfigFile>(json!({"architectures": [architecture]})).unwrap();
        describe(&config).unwrap().2.config
    };
    let llama = defaults("LlamaForCausalLM");
    assert_eq!((llama.vocab_size, llama.hidden_size, llama.kv_heads()), (32_000, 4096, 32));
    let mistral = defaults(MISTRAL);
    assert_eq!((mistral.intermediate_size, mistral.kv_heads()), (14_336, 8));
    assert_eq!((defaults(QWEN3).head_dim, defaults(GEMMA2).head_dim), (Some(128), Some(256)));
    let tied = [SMOLLM3, GEMMA2, GEMMA3, QWEN2, QWEN3, PHI3].map(|name| defaults(name).tie_word_embeddings);
    assert_eq!(tied, [true, true, true, false, false, false]);
    assert_eq!(defaults(SMOLLM3).rope_theta, 2e6);
    assert_eq!(read(json!({"architectures": [MISTRAL], "num_key_value_heads": null})).unwrap().kv_heads(), 4);
}

#[test]
fn sizes_beyond_any_model_are_refused() {
    for (key, value) in [
        ("num_hidden_layers", 1u64 << 40),
        ("num_attention_heads", 1 << 40),
        ("head_dim", 1 << 40),
        ("hidden_size", 1 << 40),
        ("vocab_size", 1 << 40),
        ("num_key_value_heads", 1 << 40),
        ("intermediate_size", 1 << 40),
        ("num_attention_heads", 0),
    ] {
        let error = read(json!({ key: value })).map(|config| config.to_string()).unwrap_err();
        assert!(error.contains(key) && error.contains(&value.to_string()), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(150)))]

    /// An error is fine, a panic is not, and neither is memory beyond that of the files.
    #[test]
    fn changed_descriptions_never_panic(
        name in prop::sample::select(vec![
            "llama/qwen3", "llama/phi3", "llama/smollm3", "llama/gemma3", "llama/llama-sharded", "llama/llama-rope3",
            "checkpoints/llava-nested-inner", "checkpoints/torch-shards",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        digit in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = folder.path().join(entry.file_name());
            let mut bytes = std::fs::read(entry.path()).unwrap();
            if to.extension().is_some_and(|extension| extension == "json") {
                for (place, value) in &changes {
                    let place = place.index(bytes.len());
                    // Numbers that stay numbers reach further.
                    bytes[place] = if digit && bytes[place].is_ascii_digit() { b'0' + value % 10 } else { *value };
                }
            }
            std::fs::write(to, bytes).unwrap();
        }
        let device = Device::default();
        if let Ok(folder) = HuggingFaceFolder::open(folder.path()) {
            let _ = folder.notices();
            let _ = folder.init(FloatDType::F32, &device, Pages::Usual);
        }
    }
}
