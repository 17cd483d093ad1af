use std::path::Path;

use super::small::{model, tokens};
use crate::language::gguf::GgufTokenizer;
use crate::language::sentencepiece::tests::{assert_tokens, reference};
use crate::weights::gguf::testing::{Writer, message, says, text, texts};
use crate::weights::gguf::{Array, GgufFile, Value};

fn build(writer: &Writer) -> crate::Result<GgufTokenizer> {
    GgufTokenizer::new(writer.open()?.metadata())
}

fn pieces(tokenizer: &GgufTokenizer, text: &str) -> Vec<String> {
    tokenizer.tokenizer.encode(text, false).unwrap().get_tokens().to_vec()
}

#[test]
fn texts_are_cut_merged_and_put_together_again() {
    let tokenizer = build(&model("llama")).unwrap();
    assert_eq!(
        pieces(&tokenizer, "cat cat12<end>c<mine>"),
        ["cat", "Ġcat", "1", "2", "<end>", "c", "<mine>"]
    );
    for text in ["a cat\n\tand 😀 ünïcode", "", "  ", "<mine> cat"] {
        let tokens = tokenizer.tokenizer.encode(text, true).unwrap();
        assert_eq!(tokenizer.tokenizer.decode(tokens.get_ids(), true).unwrap(), text);
    }
    let tokens = tokenizer.tokenizer.encode("a<end>b", false).unwrap();
    assert_eq!(tokenizer.tokenizer.decode(tokens.get_ids(), true).unwrap(), "ab");
    assert_eq!(tokenizer.tokenizer.get_vocab_size(true), super::small::tokens().len());
}

#[test]
fn pre_tokenizers_decide_what_is_merged() {
    let writer = |pre: &str| {
        let mut writer = model("llama");
        writer.key("tokenizer.ggml.pre", text(pre));
        writer
    };
    let with = |pre: &str| build(writer(pre).key("tokenizer.ggml.bos_token_id", Value::U32(0))).unwrap();
    for pre in ["default", "gpt-2", "llama-bpe"] {
        assert_eq!(pieces(&with(pre), "cat12"), ["cat", "12"], "{pre}");
    }
    for pre in ["smollm", "qwen2"] {
        assert_eq!(pieces(&with(pre), "cat12"), ["cat", "1", "2"], "{pre}");
    }
    // Only one of them begins texts with a token, which the file then has to name.
    assert!(message(build(&writer("llama-bpe"))).contains("bos_token_id"));
    assert_eq!(build(&writer("qwen2")).unwrap().bos, None);
}

#[test]
fn special_tokens_and_the_template_are_those_of_the_file() {
    let mut writer = model("llama");
    let tokenizer = build(&writer).unwrap();
    assert_eq!((tokenizer.bos, tokenizer.eos), (None, Some(0)));
    assert_eq!(tokenizer.chat_template.as_deref(), Some("{{ messages }}"));
    writer.key("tokenizer.ggml.add_bos_token", Value::Bool(true));
    assert!(message(build(&writer)).contains("bos_token_id"));
    writer.key("tokenizer.ggml.bos_token_id", Value::U32(1));
    assert_eq!(build(&writer).unwrap().bos, Some(1));
}

fn sentencepiece() -> GgufFile {
    let fixture = "tests/fixtures/sentencepiece/tokenizer.gguf";
    GgufFile::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture)).unwrap()
}

#[test]
fn tokens_of_sentencepiece_are_its_own() {
    let file = sentencepiece();
    let parts = GgufTokenizer::new(file.metadata()).unwrap();
    assert_eq!((parts.bos, parts.eos), (Some(1), Some(2)));
    let reference = reference();
    assert_tokens(&parts.tokenizer, &reference.texts);
    assert_tokens(&parts.tokenizer, &reference.special);
}

/// In a chat of Phi-3, the line breaks behind its marks are no tokens.
#[test]
fn special_tokens_of_phi_3_take_the_spaces_behind_them() {
    let with = |architecture: &str| {
        let file = sentencepiece();
        let mut writer = Writer::new();
        writer.keys = file.metadata().entries.clone().into_iter().collect();
        writer.key("general.architecture", text(architecture));
        build(&writer).unwrap()
    };
    let tokens = |architecture: &str| {
        let tokenizer = with(architecture).tokenizer;
        let encoded = tokenizer.encode("a</s>\n<s> a", false).unwrap();
        encoded.get_ids().iter().map(|id| tokenizer.id_to_token(*id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(tokens("phi3"), ["▁a", "</s>", "<s>", "▁", "▁a"]);
    assert_eq!(tokens("llama"), ["▁a", "</s>", "▁", "<0x0A>", "<s>", "▁", "▁a"]);
}

#[test]
fn sentencepiece_that_cannot_be() {
    let file = sentencepiece();
    for (key, value, parts) in [
        ("scores", Value::Array(Array::F32(vec![0.5])), ["a score for each", "found 1"]),
        ("token_type", Value::Array(Array::I32(vec![9; 420])), ["a type from 1 to 6", "found 9"]),
        ("remove_extra_whitespaces", Value::Bool(true), ["remove_extra_whitespaces", "true"]),
        ("precompiled_charsmap", Value::Array(Array::U8(vec![1])), ["precompiled_charsmap", "unchanged"]),
    ] {
        let mut writer = Writer::new();
        writer.keys = file.metadata().entries.clone().into_iter().collect();
        writer.key(&format!("tokenizer.ggml.{key}"), value);
        says(&message(build(&writer)), &parts);
    }
}

#[test]
fn tokenizers_that_cannot_be() {
    let mut twice = tokens();
    twice[9] = twice[8].clone();
    for (key, value, parts) in [
        ("model", text("t5"), ["\"gpt2\"", "found \"t5\""]),
        ("model", text("llama"), ["tokenizer.ggml.scores", "none"]),
        ("pre", text("tekken"), ["\"qwen2\"", "\"tekken\""]),
        ("tokens", texts(&twice), ["different tokens", "8 and 9"]),
        ("token_type", Value::Array(Array::I32(vec![1])), ["262 tokens", "found 1"]),
        ("merges", texts(&["c a", "cat"]), ["merge 1", "\"cat\""]),
        ("merges", texts(&["c a", "c t"]), ["merge 1", "\"c t\""]),
        ("eos_token_id", Value::U32(262), ["262 tokens", "found 262"]),
        ("padding_token_id", Value::U32(262), ["262 tokens", "found 262"]),
        ("merges", Value::U32(1), ["tokenizer.ggml.merges", "array of strings"]),
    ] {
        let mut writer = model("llama");
        writer.key(&format!("tokenizer.ggml.{key}"), value);
        let message = message(build(&writer));
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }
}
