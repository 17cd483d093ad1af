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
//! Files from before PyTorch 1.6 are a row of pickles and values, see [`legacy`].
//!
//! Burn's `PytorchStore` (crate `pytorch-reader`, 0.22.1) executes nothing either. It is not used here since it takes views that repeat values, so that a few kilobytes may become a tensor of its
//! limit of 10 GiB, refuses big-endian files, and keeps objects that it does not know; and since the machine of
//! [`crate::pickle`] would stay, for pickles of embeddings.
//!
//! ```text
//! read      from tensors to arrays; what the archive says is read in `embedding::torch`
//! legacy    files from before the archives
//! file      an archive whose arrays are read one by one
//! write     the way back
//! ```

mod file;
mod legacy;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use file::TorchFile;
pub(crate) use read::read;
pub(crate) use write::write;
