use crate::weights::gguf::testing::{Writer, text, texts};
use crate::weights::gguf::{Array, Value};

pub(super) const LAYERS: u64 = 2;
pub(super) const WIDTH: u64 = 12;
pub(super) const INNER: u64 = 10;
/// Three query heads of four, and one for keys and values.
pub(super) const KEY_WIDTH: u64 = 4;

/// The tokens of [`model`]: one control and one user-defined token, all bytes, and what is merged from them.
pub(super) fn tokens() -> Vec<String> {
    let mut alphabet: Vec<_> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut tokens = vec!["<end>".to_string(), "<mine>".to_string()];
    tokens.extend(alphabet.into_iter().map(String::from));
    tokens.extend(["ca", "cat", "Ġcat", "12"].map(String::from));
    tokens
}

/// A model with a tokenizer, whose values differ from place to place.
pub(super) fn model(architecture: &str) -> Writer {
    let mut writer = Writer::new();
    let key = |name: &str| format!("{architecture}.{name}");
    let tokens = tokens();
    let kinds = (0..tokens.len()).map(|id| [3, 4].get(id).copied().unwrap_or(1)).collect();
    let vocabulary = tokens.len() as u64;
    writer
        .key("general.architecture", text(architecture))
        .key(&key("block_count"), Value::U32(LAYERS as u32))
        .key(&key("context_length"), Value::U32(64))
        .key(&key("embedding_length"), Value::U32(WIDTH as u32))
        .key(&key("feed_forward_length"), Value::U32(INNER as u32))
        .key(&key("attention.head_count"), Value::U32(3))
        .key(&key("attention.head_count_kv"), Value::U32(1))
        .key(&key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5))
        .key(&key("rope.freq_base"), Value::F32(1e6))
        .key("tokenizer.ggml.model", text("gpt2"))
        .key("tokenizer.ggml.pre", text("smollm"))
        .key("tokenizer.ggml.tokens", texts(&tokens))
        .key("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)))
        .key("tokenizer.ggml.merges", texts(&["c a", "ca t", "Ġ cat", "1 2"]))
        .key("tokenizer.ggml.eos_token_id", Value::U32(0))
        .key("tokenizer.ggml.padding_token_id", Value::U32(1))
        .key("tokenizer.chat_template", text("{{ messages }}"));
    if architecture == "gemma3" {
        writer.key("gemma3.attention.sliding_window", Value::U32(32));
    }
    counted(&mut writer, "token_embd.weight", &[vocabulary, WIDTH]);
    counted(&mut writer, "output_norm.weight", &[WIDTH]);
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("attn_norm.weight", vec![WIDTH]),
            ("attn_q.weight", vec![WIDTH, WIDTH]),
            ("attn_k.weight", vec![KEY_WIDTH, WIDTH]),
            ("attn_v.weight", vec![KEY_WIDTH, WIDTH]),
            ("attn_output.weight", vec![WIDTH, WIDTH]),
            ("ffn_norm.weight", vec![WIDTH]),
            ("ffn_gate.weight", vec![INNER, WIDTH]),
            ("ffn_up.weight", vec![INNER, WIDTH]),
            ("ffn_down.weight", vec![WIDTH, INNER]),
        ] {
            counted(&mut writer, &format!("blk.{layer}.{name}"), &shape);
        }
        if architecture == "phi3" {
            let [all, both] = [WIDTH + 2 * KEY_WIDTH, 2 * INNER];
            let at = |name: &str| format!("blk.{layer}.{name}.weight");
            let split = ["attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"].map(at);
            writer.tensors.retain(|tensor| !split.contains(&tensor.name));
            counted(&mut writer, &at("attn_qkv"), &[all, WIDTH]);
            counted(&mut writer, &at("ffn_up"), &[both, WIDTH]);
        }
        if architecture.starts_with("gemma") {
            for name in ["post_attention_norm.weight", "post_ffw_norm.weight"] {
                counted(&mut writer, &format!("blk.{layer}.{name}"), &[WIDTH]);
            }
        }
        if ["qwen3", "gemma3"].contains(&architecture) {
            for name in ["attn_q_norm.weight", "attn_k_norm.weight"] {
                counted(&mut writer, &format!("blk.{layer}.{name}"), &[KEY_WIDTH]);
            }
        }
        if architecture == "qwen2" {
            for (name, size) in [("q", WIDTH), ("k", KEY_WIDTH), ("v", KEY_WIDTH)] {
                counted(&mut writer, &format!("blk.{layer}.attn_{name}.bias"), &[size]);
            }
        }
    }
    writer
}

/// Adds a tensor of the values 0, 1, 2 and so on.
pub(super) fn counted(writer: &mut Writer, name: &str, shape: &[u64]) {
    let values: Vec<_> = (0..shape.iter().product()).map(|value: u64| value as f32).collect();
    writer.f32(name, shape, &values);
}

/// The model with the tokenizer of SentencePiece that `tests/reference/make_sentencepiece_fixtures.py` made.
pub(super) fn with_sentencepiece(architecture: &str) -> Writer {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sentencepiece/tokenizer.gguf");
    let file = crate::weights::gguf::GgufFile::open(path).unwrap();
    let mut writer = model(architecture);
    writer.keys.retain(|(key, _)| !key.starts_with("tokenizer.ggml"));
    for (key, value) in &file.metadata().entries {
        if key.starts_with("tokenizer.ggml") {
            writer.key(key, value.clone());
        }
    }
    let tokens = file.metadata().texts("tokenizer.ggml.tokens").unwrap().unwrap().len() as u64;
    writer.tensors.retain(|tensor| tensor.name != "token_embd.weight");
    counted(&mut writer, "token_embd.weight", &[tokens, WIDTH]);
    writer
}
