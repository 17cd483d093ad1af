//! The one way to published weights, for language models, encoders and projectors.
//!
//! ```text
//! array        arrays with their names and shapes, and the float types they are stored in
//! safetensors  `.safetensors` files
//! torch        archives of PyTorch, without executing anything in them
//! shards       the files of a model's folder, and their index
//! gguf         GGUF files, the format of llama.cpp
//! pages        weights in huge pages of memory
//! fill         the parameters of a Burn module from any of these, every weight accounted for
//! write        the parameters of a Burn module, to be filled in again
//! hub          folders of the Hugging Face Hub by their names
//! ```
//!
//! Files are not trusted: nothing in them is executed, and lengths are checked before memory is asked for. What an
//! architecture calls its weights is known where the architecture is.

pub(crate) mod array;
mod fill;
pub(crate) mod gguf;
#[cfg(feature = "hub")]
pub(crate) mod hub;
mod module_path;
mod pages;
pub(crate) mod safetensors;
mod shards;
pub(crate) mod torch;
mod write;

pub(crate) use fill::{WeightSource, fill, fill_pages};
pub(crate) use module_path::{OwnNames, PublishedNames};
pub(crate) use pages::Pages;
pub(crate) use shards::{Shards, is_derived};
pub(crate) use write::write;
