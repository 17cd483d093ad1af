use super::small::{INNER, KEY_WIDTH, LAYERS, WIDTH, counted, model, tokens};
use crate::language::gguf::LlamaGguf;
use crate::language::gguf::parameters::{Architecture, GgufRopeScaling};
use crate::weights::gguf::Value;
use crate::weights::gguf::testing::{Writer, message, says, text};

fn open(writer: &Writer) -> crate::Result<LlamaGguf> {
    LlamaGguf::new(writer.open()?)
}

/// The message about the small LLaMA after a change.
fn refused(edit: impl Fn(&mut Writer)) -> String {
    let mut writer = model("llama");
    edit(&mut writer);
    message(open(&writer))
}

/// The first value of each row of a weight; in the file, row `r` of `width` begins with `r * width`.
fn rows(gguf: &LlamaGguf, name: &str, width: u64) -> Vec<u64> {
    let weight = gguf.weights().iter().find(|weight| weight.name() == name).unwrap();
    gguf.read(weight).unwrap().chunks(width as usize).map(|row| row[0] as u64 / width).collect()
}

#[test]
fn parameters_are_those_of_the_metadata() {
    for (name, architecture) in [("llama", Architecture::Llama), ("qwen2", Architecture::Qwen2)] {
        let gguf = open(&model(name)).unwrap();
        let parameters = gguf.parameters();
        assert_eq!(parameters.architecture, architecture);
        assert_eq!(parameters.vocab_size, tokens().len());
        assert_eq!(
            [parameters.hidden_size, parameters.intermediate_size, parameters.num_hidden_layers],
            [WIDTH, INNER, LAYERS].map(|size| size as usize)
        );
        assert_eq!((parameters.num_attention_heads, parameters.num_key_value_heads), (3, 1));
        assert_eq!((parameters.head_dim, parameters.max_position_embeddings), (KEY_WIDTH as usize, 64));
        assert_eq!((parameters.rms_norm_eps, parameters.rope_theta), (1e-5, 1e6));
        assert_eq!((parameters.tie_word_embeddings, parameters.output_bias), (true, false));
        assert_eq!(parameters.attention_bias, architecture == Architecture::Qwen2);
        assert_eq!((&parameters.rope_scaling, parameters.sliding_window), (&None, None));
        assert_eq!(gguf.frequency_factors().unwrap(), None);
        assert_eq!(gguf.weights().len(), gguf.file().tensors().len());
    }
}

#[test]
fn rows_of_queries_and_keys_are_put_in_order_for_llama_alone() {
    let name = |part: &str| format!("model.layers.1.self_attn.{part}");
    let mut writer = model("llama");
    for layer in 0..LAYERS {
        for (part, size) in [("q", WIDTH), ("k", KEY_WIDTH), ("v", KEY_WIDTH), ("output", WIDTH)] {
            counted(&mut writer, &format!("blk.{layer}.attn_{part}.bias"), &[size]);
        }
    }
    let llama = open(&writer).unwrap();
    assert!(llama.parameters().attention_bias && llama.parameters().output_bias);
    let in_halves = [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11];
    assert_eq!(rows(&llama, &name("q_proj.weight"), WIDTH), in_halves);
    assert_eq!(rows(&llama, &name("q_proj.bias"), 1), in_halves);
    assert_eq!(rows(&llama, &name("k_proj.weight"), WIDTH), in_halves[..4]);
    assert_eq!(rows(&llama, &name("k_proj.bias"), 1), in_halves[..4]);
    assert_eq!(rows(&llama, &name("v_proj.weight"), WIDTH), [0, 1, 2, 3]);
    assert!(rows(&llama, &name("o_proj.weight"), WIDTH).is_sorted());
    let qwen = open(&model("qwen2")).unwrap();
    for part in ["q_proj.weight", "k_proj.weight"] {
        assert!(rows(&qwen, &name(part), WIDTH).is_sorted(), "{part}");
    }
    assert!(rows(&qwen, &name("q_proj.bias"), 1).is_sorted());
}

#[test]
fn a_head_of_its_own_is_a_weight() {
    let mut writer = model("llama");
    counted(&mut writer, "output.weight", &[tokens().len() as u64, WIDTH]);
    let gguf = open(&writer).unwrap();
    assert!(!gguf.parameters().tie_word_embeddings);
    assert!(gguf.weights().iter().any(|weight| weight.name() == "lm_head.weight"));
}

#[test]
fn scalings_of_rotary_frequencies() {
    let with = |keys: &[(&str, Value)]| {
        let mut writer = model("llama");
        for (key, value) in keys {
            writer.key(&format!("llama.rope.{key}"), value.clone());
        }
        open(&writer).map(|gguf| gguf.parameters().rope_scaling.clone())
    };
    let factor = ("scaling.factor", Value::F32(4.0));
    let linear = Some(GgufRopeScaling::Linear { factor: 4.0 });
    assert_eq!(with(&[("scaling.type", text("linear")), factor.clone()]).unwrap(), linear);
    assert_eq!(with(&[("scale_linear", Value::F32(4.0))]).unwrap(), linear);
    assert_eq!(with(&[("scale_linear", Value::F32(1.0))]).unwrap(), None);
    assert_eq!(with(&[("scaling.type", text("none")), factor.clone()]).unwrap(), None);
    let yarn = ("scaling.type", text("yarn"));
    let original = ("scaling.original_context_length", Value::U32(16));
    let expected = GgufRopeScaling::Yarn { factor: 4.0, original_context_length: Some(16) };
    assert_eq!(with(&[yarn.clone(), factor, original]).unwrap(), Some(expected));
    says(&message(with(&[yarn])), &["llama.rope.scaling.factor", "none"]);
    says(&message(with(&[("scaling.type", text("longrope"))])), &["scaling.type", "longrope"]);
    let mut writer = model("llama");
    counted(&mut writer, "rope_freqs.weight", &[KEY_WIDTH / 2]);
    assert_eq!(open(&writer).unwrap().frequency_factors().unwrap(), Some(vec![0.0, 1.0]));
}

#[test]
fn tensors_that_are_not_those_of_the_model() {
    says(
        &refused(|w| w.tensors.retain(|tensor| tensor.name != "blk.1.ffn_up.weight")),
        &["\"blk.1.ffn_up.weight\"", "[10, 12]", "no such tensor"],
    );
    says(&refused(|w| counted(w, "blk.2.more", &[3])), &["1 more", "blk.2.more"]);
    says(
        &refused(|w| w.tensors[5].shape = vec![4, 3]),
        &["\"blk.0.attn_v.weight\"", "[4, 12]", "found [4, 3]"],
    );
    says(&message(open(&model("gpt2"))), &["general.architecture", "qwen2, qwen3", "\"gpt2\""]);
}

#[test]
fn the_window_of_older_files_of_phi_3_is_known() {
    let window = |context: u32, window: Option<u32>| {
        let mut writer = model("phi3");
        writer.key("phi3.context_length", Value::U32(context));
        if let Some(window) = window {
            writer.key("phi3.attention.sliding_window", Value::U32(window));
        }
        open(&writer).unwrap().parameters().sliding_window
    };
    assert_eq!(
        (window(4096, None), window(64, None), window(4096, Some(100))),
        (Some(2047), None, Some(100))
    );
}

#[test]
fn what_llama_cpp_knows_of_gemma_is_known() {
    let gemma = |name: &str, edit: &dyn Fn(&mut Writer)| {
        let mut writer = model(name);
        writer.key(&format!("{name}.attention.sliding_window"), Value::U32(32));
        edit(&mut writer);
        open(&writer).map(|gguf| gguf.parameters().clone())
    };
    let second = gemma("gemma2", &|_| {}).unwrap();
    assert_eq!(second.sliding_window, Some(32));
    let second = second.gemma.unwrap();
    assert_eq!((second.attn_logit_softcapping, second.final_logit_softcapping), (Some(50.0), Some(30.0)));
    assert_eq!((second.rope_local_base_freq, second.query_pre_attn_scalar), (None, 4.0));
    assert_eq!(second.local_layers, [true, false]);
    let absent = gemma("gemma2", &|w| {
        w.without_key("gemma2.attention.sliding_window");
    })
    .unwrap();
    assert_eq!(absent.sliding_window, Some(4096));
    let third = gemma("gemma3", &|_| {}).unwrap().gemma.unwrap();
    assert_eq!((third.attn_logit_softcapping, third.final_logit_softcapping), (None, None));
    assert_eq!((third.rope_local_base_freq, third.local_layers), (Some(10_000.0), vec![true, true]));
    let refused = |key: &str, value: Value| {
        message(gemma("gemma3", &|w| {
            w.key(key, value.clone());
        }))
    };
    says(&refused("gemma3.attention.sliding_window_pattern", Value::U32(2)), &["expected 6, found 2"]);
    says(&refused("gemma3.attn_logit_softcapping", Value::F32(50.0)), &["expected none", "found 50"]);
    let none = gemma("gemma3", &|w| {
        w.without_key("gemma3.attention.sliding_window");
    });
    says(&message(none), &["gemma3.attention.sliding_window", "none"]);
}

#[test]
fn parameters_that_contradict_each_other() {
    for (key, value, parts) in [
        ("block_count", 1 << 30, ["at most as many layers", "20 tensors"]),
        ("block_count", 0, ["a size from 1", "found 0"]),
        ("attention.head_count", 5, ["divisor of the width 12", "found 5"]),
        ("attention.head_count", 12, ["even size", "found 1"]),
        ("attention.head_count_kv", 2, ["divisor of the 3", "found 2"]),
        ("rope.dimension_count", 2, ["size of a head, 4", "found 2"]),
        ("expert_count", 8, ["without experts", "found 8"]),
        ("vocab_size", 5, ["tokenizer.ggml.tokens", "5 embeddings"]),
    ] {
        let message = refused(|w| {
            w.key(&format!("llama.{key}"), Value::U32(value));
        });
        says(&message, &parts);
    }
    let missing = refused(|w| {
        w.without_key("llama.context_length");
    });
    says(&missing, &["llama.context_length", "none"]);
}
