//! A language model of llama.cpp in Burn: SmolLM2-135M-Instruct, where its file is at hand.
//!
//! `tests/fetch_smollm2.sh` brings it to `target/smollm2`; without it these tests say that they were skipped.

mod skipped;

use std::path::{Path, PathBuf};

use approx::assert_abs_diff_eq;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use burn_revision::language::{GenerationConfig, LanguageModel, Pretrained, check_cache, generate};

const NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

fn file() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/smollm2").join(NAME);
    let path = std::env::var_os("SMOLLM2_GGUF").map_or(fetched, PathBuf::from);
    if !path.exists() {
        skipped::skipped("SmolLM2 against its reference", "smollm2", "tests/fetch_smollm2.sh brings it");
        return None;
    }
    Some(path)
}

/// The perplexity and the reply of an independent forward pass in NumPy.
#[test]
fn the_model_reads_and_writes_as_the_reference() {
    let Some(file) = file() else { return };
    let device = Device::default();
    let Pretrained { model, tokenizer } = Pretrained::load(file, FloatDType::F32, &device).unwrap();

    let tokens = tokenizer.encode(
        "The capital of France is Paris. The capital of Italy is Rome. The sky is blue and the grass is green. Dogs and \
         cats are animals that many people keep as pets.",
    );
    assert_eq!(tokens.len(), 36);
    let row: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
    let input = Tensor::<2, Int>::from_data(TensorData::new(row, [1, 36]), &device);
    let hidden = model.forward(model.embed(input), None);
    let logits = model.logits(hidden.reshape([36, model.width()]));
    let scores: Vec<f32> = log_softmax(logits, 1).into_data().try_into_vec().unwrap();
    let vocab = model.vocab_size();
    let nll: f32 = (0..35).map(|at| -scores[at * vocab + tokens[at + 1] as usize]).sum::<f32>() / 35.0;
    assert_abs_diff_eq!(nll, 2.301, epsilon = 0.002);

    let prompt = tokenizer.encode(
        "<|im_start|>user\nWhat is a cat? Answer in one sentence.<|im_end|>\n<|im_start|>assistant\n",
    );
    let row: Vec<i64> = prompt.iter().map(|&token| i64::from(token)).collect();
    let input = Tensor::<2, Int>::from_data(TensorData::new(row, [1, prompt.len()]), &device);
    let config = GenerationConfig::new().with_max_new_tokens(24);
    let reply = generate(&model, model.embed(input), &[tokenizer.eos()], &config).unwrap();
    let reply = tokenizer.decode(&reply[0]);
    assert_eq!(reply, "A cat is a domesticated feline that loves to play and explore.");
}

/// Matrices in the blocks of the file: the same reply, in a sixth of the memory.
#[test]
fn the_model_in_blocks_writes_as_that_in_floats() {
    let Some(file) = file() else { return };
    let device = Device::default();
    let Pretrained { model, tokenizer } = Pretrained::load_quantized(file, &device).unwrap();
    // 4 bits with a scale and a minimum for 32 of them, 8 bits with a scale in the embeddings.
    assert!(model.weight_bytes() < 100_000_000, "{}", model.weight_bytes());
    check_cache(&model, &device).unwrap();
    let prompt = tokenizer.encode(
        "<|im_start|>user\nWhat is a cat? Answer in one sentence.<|im_end|>\n<|im_start|>assistant\n",
    );
    let row: Vec<i64> = prompt.iter().map(|&token| i64::from(token)).collect();
    let input = Tensor::<2, Int>::from_data(TensorData::new(row, [1, prompt.len()]), &device);
    let config = GenerationConfig::new().with_max_new_tokens(24);
    let reply = generate(&model, model.embed(input), &[tokenizer.eos()], &config).unwrap();
    assert_eq!(tokenizer.decode(&reply[0]), "A cat is a domesticated feline that loves to play and explore.");
}
