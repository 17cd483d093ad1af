//! What `torch.save` writes: a zip archive with a pickle of the names and one entry a storage.
//!
//! ```text
//! archive/data.pkl     a dict of name -> tensor; a tensor is a view of a storage: offset, shape, strides
//! archive/byteorder    `little` or `big`; older versions leave it out and mean `little`
//! archive/data/0       the values of storage "0", and so on
//! archive/version      the version of the format
//! ```
//!
//! The stack machine of [`crate::pickle`] goes over the pickle, and nothing in it is executed; here is what becomes of
//! tensors, text, numbers and dicts. Whatever else a file asks for is an error.
//!
//! ```text
//! archive   the zip file: its entries, checked before they are read
//! values    what the stack and the memo of the machine hold
//! tuples    how tuples become the parts of a tensor
//! builder   how the pickle becomes a dict of tensors
//! view      a tensor whose values all lie in its storage
//! read      from tensors to arrays
//! file      an archive whose arrays are read one by one
//! write     the way back
//! ```

mod archive;
mod builder;
mod file;
mod read;
#[cfg(test)]
mod tests;
mod tuples;
mod values;
mod view;
mod write;

pub(crate) use file::TorchFile;
pub(crate) use read::read;
pub(crate) use write::write;
