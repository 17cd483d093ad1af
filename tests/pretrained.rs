//! Hugging Face folders, against what `transformers` computed from them.
//!
//! `tests/reference/make_llama_fixtures.py` made the folders under `tests/fixtures/llama`: small random models, and in
//! `reference.json` and `reference.safetensors` the logits of two sequences and a greedy continuation.

use std::path::{Path, PathBuf};

use approx::abs_diff_eq;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use burn_revision::language::{GenerationConfig, KvCache, LanguageModel, LlamaDecoder, Pretrained, generate};
use safetensors::SafeTensors;

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 19, "{folders:?}");
    folders
}

#[derive(serde::Deserialize)]
struct Reference {
    input_ids: Vec<Vec<i64>>,
    greedy: Vec<u32>,
}

struct Case {
    folder: PathBuf,
    tokens: Tensor<2, Int>,
    prompt: Tensor<2, Int>,
    greedy: Vec<u32>,
    logits: Vec<f32>,
}

fn case(folder: &Path) -> Case {
    let json = std::fs::read(folder.join("reference.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&json).unwrap();
    let bytes = std::fs::read(folder.join("reference.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap().data().chunks_exact(4);
    let ids = |ids: &[i64], rows: usize| {
        let data = TensorData::new(ids.to_vec(), [rows, ids.len() / rows]);
        Tensor::<2, Int>::from_data(data, &Device::default())
    };
    Case {
        folder: folder.to_path_buf(),
        tokens: ids(&reference.input_ids.concat(), reference.input_ids.len()),
        prompt: ids(&reference.input_ids[0][..8], 1),
        greedy: reference.greedy,
        logits: logits.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect(),
    }
}

fn load(folder: &Path) -> LlamaDecoder {
    Pretrained::load_model(folder, FloatDType::F32, &Device::default()).unwrap()
}

fn logits(model: &LlamaDecoder, tokens: Tensor<2, Int>) -> Vec<f32> {
    let hidden = model.forward(model.embed(tokens), None);
    let [rows, time, width] = hidden.dims();
    model.logits(hidden.reshape([rows * time, width])).cast(DType::F32).into_data().try_into_vec().unwrap()
}

#[test]
fn logits_are_those_of_transformers() {
    for folder in folders() {
        let case = case(&folder);
        let model = load(&folder);
        let found = logits(&model, case.tokens);
        assert!(abs_diff_eq!(found[..], case.logits[..], epsilon = 1e-4), "{}", case.folder.display());
        // A reference of constant logits would pass with anything.
        assert!(case.logits.iter().any(|logit| logit.abs() > 0.5), "{}", case.folder.display());
    }
}

#[test]
fn greedy_text_is_that_of_transformers() {
    let config = GenerationConfig::new().with_max_new_tokens(24);
    for folder in folders() {
        let case = case(&folder);
        let model = load(&folder);
        let written = generate(&model, model.embed(case.prompt), &[], &config).unwrap().remove(0);
        assert_eq!(written, case.greedy, "{}", case.folder.display());
    }
}

#[test]
fn a_cache_changes_no_logits() {
    for folder in folders() {
        let case = case(&folder);
        let model = load(&folder);
        let embeddings = model.embed(case.tokens);
        let mut cache = KvCache::new();
        let parts: Vec<Tensor<3>> = [(0, 5), (5, 1), (6, 34)]
            .map(|(start, len)| model.forward(embeddings.clone().narrow(1, start, len), Some(&mut cache)))
            .to_vec();
        let parts: Vec<f32> = Tensor::cat(parts, 1).into_data().try_into_vec().unwrap();
        let whole: Vec<f32> = model.forward(embeddings, None).into_data().try_into_vec().unwrap();
        assert!(abs_diff_eq!(parts[..], whole[..], epsilon = 1e-4), "{}", case.folder.display());
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The same models in other files: what PyTorch saves, within multimodal checkpoints, and as GGUF.
/// `tests/reference/make_checkpoint_fixtures.py` made them.
#[test]
fn logits_are_the_same_from_other_files() {
    let json = std::fs::read(fixtures().join("checkpoints/same.json")).unwrap();
    let same: std::collections::BTreeMap<String, String> = serde_json::from_slice(&json).unwrap();
    assert!(same.len() >= 9, "{same:?}");
    for (name, base) in same {
        let case = case(&fixtures().join("llama").join(base));
        let found = logits(&load(&fixtures().join("checkpoints").join(&name)), case.tokens);
        assert!(abs_diff_eq!(found[..], case.logits[..], epsilon = 1e-4), "{name}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    let notices = |name: &str| Pretrained::notices(fixtures().join(name)).unwrap().join("\n");
    assert_eq!(notices("llama/llama"), "");
    assert_eq!(notices("checkpoints/torch"), "");
    let window = "attention reaches back 40 positions: sequences are at most that long here";
    for name in ["llama/mistral-window", "llama/phi3", "llama/gemma2", "checkpoints/phi3.gguf"] {
        assert_eq!(notices(name), window, "{name}");
        assert_eq!(load(&fixtures().join(name)).max_positions(), 40, "{name}");
    }
    for name in ["torch-shards", "llava-flat"] {
        let notices = notices(&format!("checkpoints/{name}"));
        let derived = "1 weights (\"model.layers.0.self_attn.rotary_emb.inv_freq\" and the like) follow from";
        assert!(notices.contains(derived), "{notices}");
        assert_eq!(notices.contains("multimodal"), name == "llava-flat", "{notices}");
    }
    for (name, first) in [
        ("llava-flat", "4 weights (\"model.mm_projector.0.bias\""),
        ("llava-nested-inner", "4 weights (\"model.multi_modal_projector.0.bias\""),
        ("llava-nested", "weights (\"multi_modal_projector.linear_1.bias\""),
    ] {
        let notices = notices(&format!("checkpoints/{name}"));
        assert!(notices.contains("language model alone is read") && notices.contains(first), "{notices}");
    }
}

/// A weight beside those of the language model that is not known to belong to the rest is not passed over.
#[test]
fn weights_that_are_not_known_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let from = fixtures().join("checkpoints/llava-nested-inner");
    std::fs::copy(from.join("config.json"), folder.path().join("config.json")).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.tensors();
    let more = tensors[0].1.clone();
    tensors.push(("model.language_model.layers.0.more".into(), more));
    safetensors::serialize_to_file(tensors, None, &folder.path().join("model.safetensors")).unwrap();
    let error = Pretrained::load_model(folder.path(), FloatDType::F32, &Device::default()).unwrap_err();
    assert!(
        error.to_string().contains("1 more, the first \"model.language_model.layers.0.more\""),
        "{error}"
    );
}

/// Both styles of `config.json`, of transformers 4 and 5, describe one model.
#[test]
fn either_style_of_configuration_gives_the_same_model() {
    for folder in folders() {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        std::fs::copy(folder.join("config.other.json"), copy.path().join("config.json")).unwrap();
        // A model says its sizes in full.
        let sizes = |folder: &Path| load(folder).config().to_string();
        assert_eq!(sizes(copy.path()), sizes(&folder), "{}", folder.display());
    }
}

/// Language models in half precision behind a projector in single precision: near the same logits, and gradients that
/// reach the projector alone.
#[test]
fn half_precision_is_near_and_trains_a_projector_in_single_precision() {
    use burn::module::Module;
    use burn_revision::revision::{Batch, ReVisionConfig, Sample, Trainable};

    for (name, precision, dtype, tolerance) in
        [("llama-bf16", FloatDType::BF16, DType::BF16, 0.3), ("llama-f16", FloatDType::F16, DType::F16, 0.05)]
    {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama").join(name);
        let case = case(&folder);
        let device = Device::default();
        let model = Pretrained::load_model(&folder, precision, &device).unwrap();
        assert_eq!(model.embed(case.tokens.clone()).dtype(), dtype);
        let found = logits(&model, case.tokens);
        // Logits reach to about 10; rounding of 8 or 11 bits goes through two layers.
        assert!(abs_diff_eq!(found[..], case.logits[..], epsilon = tolerance), "{name}");

        let device = device.autodiff();
        let model = Pretrained::load_model(&folder, precision, &device).unwrap();
        let model = ReVisionConfig::new(6).with_num_visual_tokens(3).init(model, &device).unwrap();
        let model = Trainable::Projector.apply(model.train()).unwrap();
        let mut sample = Sample::text("s", vec![4, 5, 6, 7]);
        (sample.image_at, sample.embedding) = (Some(0), Some(vec![0.4; 6]));
        let batch = Batch::new(&[sample], 3, &device);
        let loss = model.loss(&batch);
        assert_eq!(loss.dtype(), DType::F32);
        let grads = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
        assert_eq!(grads.len(), 4, "two layers of the projector, each with weight and bias");
    }
}
