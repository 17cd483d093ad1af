//! Decoders whose matrices stay in blocks, beside those of floats.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, Tolerance};
use rand::RngExt;

use super::small::model;
use crate::language::gguf::LlamaGguf;
use crate::language::{GenerationConfig, LanguageModel, check_cache, generate, generate_each};
use crate::random::seeded_rng;
use crate::weights::Pages;
use crate::weights::gguf::testing::{Writer, message, says};

/// The small model with random weights, which are no integers and not too large.
fn random(architecture: &str) -> Writer {
    let mut writer = model(architecture);
    let mut rng = seeded_rng(6, &[]);
    for tensor in &mut writer.tensors {
        for value in tensor.bytes.chunks_mut(4) {
            value.copy_from_slice(&rng.random_range(-0.6f32..0.6).to_le_bytes());
        }
    }
    writer
}

fn open(architecture: &str) -> LlamaGguf {
    LlamaGguf::new(random(architecture).open().unwrap()).unwrap()
}

fn tokens(device: &Device) -> Tensor<2, Int> {
    let tokens = (0..26).map(|at| at * 37 % 250).collect::<Vec<i64>>();
    Tensor::from_data(TensorData::new(tokens, [2, 13]), device)
}

/// Grouped heads, rows in llama.cpp's order, biases, norms of heads, layers without positions, fused tensors.
#[test]
fn states_are_those_of_the_model_in_floats() {
    let device = Device::default();
    for architecture in ["llama", "qwen2", "qwen3", "smollm3", "phi3"] {
        let file = open(architecture);
        let (floats, blocks) =
            (file.init(FloatDType::F32, &device, Pages::Usual).unwrap(), file.quantized(&device).unwrap());
        assert_eq!(blocks.config().to_string(), floats.config().with_initializer_range(0.02).to_string());
        let tokens = tokens(&device);
        let embedded = floats.embed(tokens.clone());
        blocks.embed(tokens).into_data().assert_eq(&embedded.clone().into_data(), true);
        // At once, and few rows at a time.
        for time in [13, 3] {
            let embedded = embedded.clone().narrow(1, 0, time);
            let (expected, found) = (floats.forward(embedded.clone(), None), blocks.forward(embedded, None));
            found
                .clone()
                .into_data()
                .assert_approx_eq::<f32>(&expected.clone().into_data(), Tolerance::absolute(2e-5));
            let logits = |model: &dyn Fn(Tensor<2>) -> Tensor<2>, hidden: Tensor<3>| {
                model(hidden.reshape([2 * time, floats.width()])).into_data()
            };
            let expected = logits(&|hidden| floats.logits(hidden), expected);
            logits(&|hidden| blocks.logits(hidden), found)
                .assert_approx_eq::<f32>(&expected, Tolerance::absolute(5e-5));
        }
        check_cache(&blocks, &device).unwrap();
    }
}

#[test]
fn texts_are_those_of_the_model_in_floats_also_side_by_side() {
    let device = Device::default();
    let file = open("llama");
    let (floats, blocks) =
        (file.init(FloatDType::F32, &device, Pages::Usual).unwrap(), file.quantized(&device).unwrap());
    let config = GenerationConfig::new().with_max_new_tokens(9);
    let prompts = [2, 13, 5].map(|time| floats.embed(tokens(&device)).narrow(0, 0, 1).narrow(1, 0, time));
    let expected = prompts.clone().map(|prompt| generate(&floats, prompt, &[], &config).unwrap().remove(0));
    assert_eq!(generate_each(&blocks, prompts, &[], &config).unwrap(), expected);
}

#[test]
fn gemma_is_read_in_floats_only() {
    let file = LlamaGguf::new(model("gemma2").open().unwrap()).unwrap();
    says(&message(file.quantized(&Device::default())), &["Gemma", "floats"]);
}
