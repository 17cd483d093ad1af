//! Language models in GGUF files: what llama.cpp calls the hyper-parameters, weights and tokenizer of a model of the LLaMA
//! family.
//!
//! [`LlamaGguf`] gives the weights under their Hugging Face names and in the layout of Hugging Face, and with them the
//! decoder and its tokenizer. The file format itself is [`weights::gguf`](crate::weights::gguf).

mod decoder;
mod llama;
mod names;
mod parameters;
mod pieces;
mod pretokenizer;
mod quantized;
#[cfg(test)]
mod tests;
mod token_types;
mod tokenizer;

pub(super) use llama::LlamaGguf;
use tokenizer::GgufTokenizer;
