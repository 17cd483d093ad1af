//! What the archives say that `torch.save` writes: which tensors there are, and where their values lie.
//!
//! ```text
//! archive/data.pkl     a tensor, or a dict of name -> tensor; a tensor is a view of a storage: offset, shape, strides
//! archive/byteorder    `little` or `big`; older versions leave it out and mean `little`
//! archive/data/0       the values of storage "0", and so on
//! archive/version      the version of the format
//! ```
//!
//! The stack machine of [`crate::pickle`] goes over the pickle, and nothing in it is executed; here is what becomes of
//! tensors, text, numbers, lists and dicts. Whatever else a file asks for is an error.
//!
//! ```text
//! values    what the stack and the memo of the machine hold
//! tuples    how tuples become the parts of a tensor
//! builder   how the pickle becomes a dict of tensors
//! view      a tensor whose values all lie in its storage
//! content   both, out of an archive
//! matrix    a tensor of embeddings, and the ids beside it
//! ```

pub(crate) mod builder;
mod content;
mod matrix;
mod tuples;
mod values;
mod view;

pub(crate) use builder::{Content, Entry, Item};
pub(crate) use content::{is_big_endian, read_pickle};
pub(super) use matrix::read_matrix;
#[cfg(test)]
pub(crate) use values::Tensor;
pub(crate) use values::{Element, Storage};
pub(crate) use view::{View, count};
