use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType, Int, Tensor};
use burn_revision::language::{GenerationConfig, LanguageModel, LlamaDecoder, Pretrained, generate};

use crate::agreement::device;

/// Small models, and what `transformers` wrote with them.
pub fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(folders.len() >= 13, "{folders:?}");
    folders
}

fn load(folder: &Path, device: &Device) -> LlamaDecoder {
    Pretrained::load_model(folder, FloatDType::F32, device).unwrap()
}

/// The prompt of eight tokens, and its greedy continuation.
fn reference_text(folder: &Path) -> (Vec<i64>, Vec<u32>) {
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let ids = |value: &serde_json::Value| -> Vec<i64> {
        value.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
    };
    let greedy = ids(&json["greedy"]).into_iter().map(|id| id as u32).collect();
    (ids(&json["input_ids"][0])[..8].to_vec(), greedy)
}

fn prompt(model: &LlamaDecoder, tokens: &[i64], device: &Device) -> Tensor<3> {
    model.embed(Tensor::<1, Int>::from_data(tokens, device).reshape([1, tokens.len()]))
}

#[test]
fn greedy_text_is_that_of_transformers() {
    let config = GenerationConfig::new().with_max_new_tokens(24);
    for folder in folders() {
        let model = load(&folder, &device());
        let (tokens, greedy) = reference_text(&folder);
        let written = generate(&model, prompt(&model, &tokens, &device()), &[], &config).unwrap().remove(0);
        assert_eq!(written, greedy, "{}", folder.display());
    }
}

#[test]
fn sampled_text_depends_on_the_seed_alone() {
    let folder = &folders()[0];
    let model = load(folder, &device());
    let (tokens, _) = reference_text(folder);
    let sampled = |seed| {
        let config = GenerationConfig::new().with_max_new_tokens(24).with_temperature(1.5).with_seed(seed);
        generate(&model, prompt(&model, &tokens, &device()), &[], &config).unwrap()
    };
    assert_eq!(sampled(3), sampled(3));
    assert_ne!(sampled(3), sampled(4));
}
