//! GGUF, the file format of llama.cpp: metadata, a tokenizer and quantised weights in one file.
//!
//! [`GgufFile`] reads the header and, at their places, the tensors; [`LlamaGguf`] gives those of a LLaMA or Qwen2
//! model under their Hugging Face names and in the layout of Hugging Face; [`GgufTokenizer`] builds the tokenizer.
//!
//! A file is not trusted: each length, count and offset is checked against the size of the file before memory is
//! asked for, and what does not fit is an error that names the file and the key or tensor.

mod cursor;
mod dequant;
mod hyper;
mod llama;
mod metadata;
mod pretokenizer;
mod reader;
mod tensor;
mod tokenizer;
mod value;
mod weights;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use hyper::{Architecture, LlamaParameters, RopeScaling};
pub use llama::LlamaGguf;
pub use metadata::Metadata;
pub use reader::GgufFile;
pub use tensor::{TensorInfo, TensorType};
pub use tokenizer::GgufTokenizer;
pub use value::{Array, Strings, Value};
pub use weights::Weight;
