//! Reads the embedding shards that the ReVision authors publish, Python pickles, without executing anything.
//!
//! A shard is one list of dicts, one dict a sample: `id` (text or a whole number), `embed` (a NumPy vector of
//! floats) and plain fields such as `caption` or `image_path`. A pickle is a program for a small stack machine,
//! and in Python loading one can run any code. The machine here knows only what NumPy vectors, text and numbers
//! need, and no opcode of it calls anything: whatever else a file asks for is an error that names the opcode and
//! the byte at which it stands.
//!
//! ```text
//! source    the file through a window, with its length as the limit of every claim
//! opcode    the opcodes and their names
//! values    what the stack and the memo hold: eight bytes a value, text as its place in the file
//! names     the texts that the machine itself has to read: keys, modules, float types
//! arrays    how tuples and calls become vectors of floats
//! rows      how dicts become rows
//! machine   the loop over the opcodes, its stack and its memo
//! effects   what the larger opcodes do
//! literals  text and numbers, read again where they stand
//! records   the rows as JSON objects
//! shard     the file as a table: offsets of the vectors, records of the rest
//! ```

mod arrays;
mod effects;
pub(crate) mod literals;
mod machine;
mod names;
pub(crate) mod opcode;
mod records;
mod rows;
mod shard;
pub(crate) mod source;
mod values;

#[cfg(test)]
mod tests;

pub(crate) use shard::PickleShard;
