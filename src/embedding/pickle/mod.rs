//! Reads the embedding shards that the ReVision authors publish, Python pickles, without executing anything.
//!
//! A shard is one list of dicts, one dict a sample: `id` (text or a whole number), `embed` (a NumPy vector of
//! floats) and plain fields such as `caption` or `image_path`. The stack machine of [`crate::pickle`] goes over the
//! file; here is what becomes of NumPy vectors, text and numbers. Whatever else a file asks for is an error.
//!
//! ```text
//! values    what the stack and the memo hold: eight bytes a value, text as its place in the file
//! names     the texts that have to be read: keys, modules, float types
//! arrays    how tuples and calls become vectors of floats
//! rows      how dicts become rows
//! builder   all of these together
//! records   the rows as JSON objects
//! shard     the file as a table: offsets of the vectors, records of the rest
//! ```

mod arrays;
mod builder;
mod names;
mod records;
mod rows;
mod shard;
mod values;

#[cfg(test)]
mod tests;

pub(crate) use shard::PickleShard;
