//! GGUF, the file format of llama.cpp: metadata and quantised weights in one file.
//!
//! [`GgufFile`] reads the header and, at their places, the tensors; [`write`] writes a file. A file is not trusted: each
//! length, count and offset is checked against the size of the file before memory is asked for, and what does not fit is
//! an error that names the file and the key or tensor.
//!
//! Source: `docs/gguf.md` of <https://github.com/ggml-org/ggml>.

mod cursor;
mod dequant;
mod metadata;
mod product;
mod reader;
mod split;
mod tensor;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub(crate) use metadata::{Metadata, excerpt};
pub(crate) use product::{BlockMatrix, Vectors};
pub(crate) use reader::GgufFile;
#[cfg(test)]
pub(crate) use tensor::TensorType;
#[cfg(test)]
pub(crate) use value::Array;
pub(crate) use value::{Strings, Value};
pub(crate) use write::{GgufArray, write};
