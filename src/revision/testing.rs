//! A small model and captions about embeddings, for the unit tests of this folder.

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::{Conversation, ConversationDataset, ReVision, ReVisionConfig, Template, VisualSource};
use crate::embedding::{EmbeddingTable, NonFinite};
use crate::language::{LlamaConfig, LlamaDecoder, Tokenizer};

pub const CAPTIONS: [&str; 6] =
    ["a red apple", "a green pear", "two dogs", "a cat", "the blue sky", "a house"];
pub const VISUAL_TOKENS: usize = 3;
const DIM: usize = 8;

fn tokenizer() -> Tokenizer {
    Tokenizer::train(&CAPTIONS, 280).unwrap()
}

/// A model with initial weights.
pub fn model() -> ReVision<LlamaDecoder> {
    let language = LlamaConfig::new(tokenizer().vocab_size(), 32, 48, 2, 4)
        .with_num_key_value_heads(Some(2))
        .init(&Device::default())
        .unwrap();
    let config = ReVisionConfig::new(DIM).with_num_visual_tokens(VISUAL_TOKENS);
    let model = config.init(language, &Device::default()).unwrap();
    // Burn draws weights when they are first read.
    weights(&model);
    model
}

/// Each caption with the embedding of its number.
pub fn dataset(noise: f64) -> ConversationDataset {
    let rows = (0..CAPTIONS.len() * DIM).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect();
    let table = EmbeddingTable::numbered(rows, DIM).unwrap();
    let source = Arc::new(VisualSource::new(table, noise, NonFinite::Error).unwrap());
    let conversations: Vec<Conversation> = CAPTIONS
        .iter()
        .enumerate()
        .map(|(i, caption)| Conversation::caption(format!("c{i}"), i.to_string(), *caption))
        .collect();
    ConversationDataset::new(&conversations, Template::Plain, &tokenizer(), 64, Some(source)).unwrap()
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
