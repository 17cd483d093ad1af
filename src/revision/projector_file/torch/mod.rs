//! Projectors as `torch.save` writes them: a zip archive with a pickle of the names and one entry a storage.
//!
//! ```text
//! archive/data.pkl     a dict of name -> tensor; a tensor is a view of a storage: offset, shape, strides
//! archive/byteorder    `little` or `big`; older versions leave it out and mean `little`
//! archive/data/0       the values of storage "0", and so on
//! archive/version      the version of the format
//! ```
//!
//! The machine here is a smaller sister of that in [`embedding::pickle`](crate::embedding), from which it has the
//! opcodes, the window and the errors. That one is made for millions of rows and keeps nothing but vectors; this one
//! for some thousand tensors.
//!
//! ```text
//! archive   the zip file: its entries, checked before they are read
//! stack     stack and memo of the machine
//! values    what stands on them
//! machine   the loop over the opcodes
//! tuples    how tuples become the parts of a tensor
//! view      a tensor whose values all lie in its storage
//! read      from tensors to arrays
//! write     the way back
//! ```

mod archive;
mod machine;
mod read;
mod stack;
#[cfg(test)]
mod tests;
mod tuples;
mod values;
mod view;
mod write;

pub(super) use read::read;
pub(super) use write::write;
