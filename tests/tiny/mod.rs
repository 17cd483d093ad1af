//! A model of a few thousand weights and six captions, shared by the tests of the stages.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod after;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::data::dataset::Dataset;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::language::{GenerationConfig, LlamaConfig, LlamaDecoder, Tokenizer};
use burn_revision::revision::*;
use burn_revision::training::ProgressLine;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

pub const CAPTIONS: [&str; 6] =
    ["a red apple", "a green pear", "two dogs", "a cat", "the blue sky", "a house"];
pub const DIM: usize = 8;

pub fn tokenizer() -> Tokenizer {
    Tokenizer::train(&CAPTIONS, 280).unwrap()
}

pub fn language_config() -> LlamaConfig {
    // One over the root of the width: states and scores of order one, as in a model of usual size.
    LlamaConfig::new(tokenizer().vocab_size(), 32, 48, 2, 4)
        .with_num_key_value_heads(Some(2))
        .with_initializer_range(0.18)
}

pub fn fresh_language() -> LlamaDecoder {
    language_config().init(&Device::default()).unwrap()
}

pub fn config() -> ReVisionConfig {
    ReVisionConfig::new(DIM).with_num_visual_tokens(3)
}

/// A module with weights drawn anew between -`largest` and `largest`, the same in every process: bounds of some tens of roundings
/// hold for most draws and not for all. Weights that are all equal, as those of norms, stay.
pub fn drawn<M: Module>(module: M, largest: f32) -> M {
    struct Draw(Xoshiro256PlusPlus, f32);
    impl ModuleMapper for Draw {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weight| {
                let values: Vec<f32> = weight.to_data().try_into_vec().unwrap();
                if values.iter().all(|value| *value == values[0]) {
                    return weight;
                }
                let Self(rng, largest) = self;
                let values: Vec<f32> = values.iter().map(|_| rng.random_range(-*largest..*largest)).collect();
                Tensor::from_data(TensorData::new(values, weight.shape()), &weight.device())
            })
        }
    }
    module.map(&mut Draw(Xoshiro256PlusPlus::seed_from_u64(7), largest))
}

/// The same weights in every test of every process.
pub fn model() -> ReVision<LlamaDecoder> {
    static MODEL: OnceLock<ReVision<LlamaDecoder>> = OnceLock::new();
    MODEL.get_or_init(|| drawn(config().init(fresh_language(), &Device::default()).unwrap(), 0.3)).clone()
}

/// The language model of [`model`] with another projector.
pub fn model_behind_another_projector() -> ReVision<LlamaDecoder> {
    config().init(model().language, &Device::default()).unwrap()
}

pub fn rows() -> Vec<f32> {
    (0..CAPTIONS.len() * DIM).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect()
}

pub fn table(rows: Vec<f32>) -> EmbeddingTable {
    EmbeddingTable::new((0..CAPTIONS.len()).map(|i| format!("p{i}")).collect(), rows, DIM).unwrap()
}

pub fn source(noise: f64) -> Arc<VisualSource> {
    Arc::new(VisualSource::new(table(rows()), noise, NonFinite::Error).unwrap())
}

pub fn dataset(noise: f64) -> ConversationDataset {
    dataset_of(source(noise))
}

/// Each caption with the row of its number.
pub fn dataset_of(source: Arc<VisualSource>) -> ConversationDataset {
    let conversations: Vec<Conversation> = CAPTIONS
        .iter()
        .enumerate()
        .map(|(i, caption)| Conversation::caption(format!("c{i}"), format!("p{i}"), *caption))
        .collect();
    ConversationDataset::new(&conversations, Template::Plain, &tokenizer(), 64, Some(source)).unwrap()
}

pub fn stage() -> StageConfig {
    StageConfig::pretrain()
        .with_batch_size(4)
        .with_micro_batch_size(3)
        .with_max_steps(Some(8))
        .with_checkpoint_steps(2)
}

pub fn learner(stage: StageConfig, folder: &Path) -> ReVisionLearner {
    ReVisionLearner::new(stage, folder).with_renderer(Box::new(ProgressLine::quiet()))
}

/// All weights, by path.
pub fn weights<M: Module>(module: &M) -> Vec<(String, TensorData)> {
    struct Collect(Vec<String>, Vec<(String, TensorData)>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.val().into_data()));
        }
    }
    let mut collect = Collect(Vec::new(), Vec::new());
    module.visit(&mut collect);
    collect.1
}

/// Scores and generated captions.
pub fn measure(model: &ReVision<LlamaDecoder>) -> (CaptionScores, Vec<String>) {
    let generation = GenerationConfig::new().with_max_new_tokens(16);
    evaluate(model, &dataset(0.0), &tokenizer(), &generation, 4, &Device::default()).unwrap()
}

/// The number of the newest complete checkpoint in a folder.
pub fn newest_checkpoint(folder: &Path) -> Option<usize> {
    let is_complete = |number: &usize| {
        ["model", "optim", "scheduler"]
            .iter()
            .all(|name| folder.join(format!("{name}-{number}.bpk")).is_file())
    };
    let names = std::fs::read_dir(folder).ok()?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let numbers = names.filter_map(|name| name.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok());
    numbers.filter(is_complete).max()
}

/// The items of a data set as a batch for [`model`].
pub fn batch(data: &ConversationDataset, items: &[usize], device: &Device) -> Batch {
    let samples: Vec<Sample> = data.get_many(items.to_vec()).unwrap();
    Batch::new(&samples, config().num_visual_tokens, device)
}

/// Fails with the path of the first weight that differs in any bit.
pub fn assert_same<M: Module>(a: &M, b: &M) {
    assert_eq!(weights(a).len(), weights(b).len());
    for ((path, a), (_, b)) in weights(a).iter().zip(&weights(b)) {
        assert!(a.as_bytes() == b.as_bytes(), "{path} differs");
    }
}
