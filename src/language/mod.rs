//! Language: the model that is frozen while the projector learns, and tuned afterwards.
//!
//! [`LanguageModel`] is what ReVision needs of one: its width, a way from tokens to embeddings, from embeddings to
//! hidden states (with a [`KvCache`] when it generates) and from hidden states to logits. Splitting the last two
//! lets the loss pay for the vocabulary product only where there is a label. [`LlamaDecoder`] is the LLaMA family
//! behind that trait; [`generate`] writes text with any of them.
//!
//! [`Pretrained`] is the way to published models: a folder of Hugging Face, a GGUF file of llama.cpp, or with the feature
//! `hub` a name. A [`Tokenizer`] knows its [`ChatTemplate`], which says how a conversation becomes text and which part of
//! it are the answers.

mod attention;
mod cache;
mod chat_template;
mod generation;
mod gguf;
mod hugging_face;
mod llama;
mod pretrained;
mod rope;
mod tokenizer;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};

pub use cache::KvCache;
pub use chat_template::{ChatTemplate, Message, MessageRole};
pub use generation::{GenerationConfig, generate};
pub use llama::{LlamaConfig, LlamaDecoder};
pub use pretrained::Pretrained;
pub use rope::RopeScaling;
pub use tokenizer::Tokenizer;

/// A causal language model that takes embeddings.
///
/// Sequences in a batch are right-padded: with causal attention a real position never sees the padding behind
/// it, so no padding mask is needed as long as padded positions carry no label.
pub trait LanguageModel: Module + ModuleDisplay + Sync + 'static {
    /// The size of its embeddings and hidden states.
    fn width(&self) -> usize;

    /// The number of tokens it knows.
    fn vocab_size(&self) -> usize;

    /// The longest sequence it was made for.
    fn max_positions(&self) -> usize;

    /// Embeddings of tokens, `[batch, time]` to `[batch, time, width]`.
    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3>;

    /// Final hidden states of a sequence given as embeddings, `[batch, time, width]` to the same.
    ///
    /// With a `cache`, the sequence continues the one that the cache holds and is appended to it.
    fn forward(&self, embeddings: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3>;

    /// Scores of the next token, `[rows, width]` to `[rows, vocab_size]`.
    fn logits(&self, hidden: Tensor<2>) -> Tensor<2>;
}
