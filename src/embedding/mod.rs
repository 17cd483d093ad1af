//! Tables of embeddings: rows with ids, on disk and in memory.
//!
//! A contrastive encoder turns every image and every caption into one vector. A table keeps such vectors as the
//! rows of one matrix, each under the id of the sample that it came from:
//!
//! ```text
//! ids  = [id_1, ..., id_n]          one id a row, all different
//! rows = [n, d] float32             row-major, so that one row is one contiguous slice
//! ```
//!
//! The theory speaks of *unit* vectors, `unit(x) = x / ||x||`, while files hold what an encoder left there: norms
//! off 1 by half-precision rounding, now and then a zero row, now and then NaN. [`NonFinite`] says what happens to
//! such rows (by default: a clear error), [`EmbeddingTable::normalized`] makes unit rows on the host with
//! float64 accumulation, and [`normalize`] does the same on a device.
//!
//! On disk they are a [`Store`]: a file, or many shards. Each row may have an id, a caption and other fields beside it.
//!
//! | format | rows | ids and other fields |
//! |---|---|---|
//! | `.npy` | f16, f32, f64, bf16 where it is named; int8, uint8 with a scale | `NAME.jsonl` beside it, an object a line; or the rows of `NAME.parquet` |
//! | `.safetensors` | f16, bf16, f32, f64, int8, uint8; the matrix `embeddings` | likewise |
//! | `.parquet` | a list column of f16, f32 or f64; bytes or JSON texts by name | the other columns |
//! | `.npz` | as `.npy`; read only | an array `ids`, or likewise |
//! | `.pt`, `.pth` of PyTorch | f16, bf16, f32, f64, int8, uint8; read only | a list of the same dict, or likewise |
//! | `.arrow` of Arrow and `datasets` | as `.parquet`; read only | the other columns |
//! | `.tar` of WebDataset | vectors in `KEY.npy`; read only | `KEY`, `KEY.json`, `KEY.txt` |
//! | `.pkl` of the ReVision authors | f16, f32; read only | the other entries of each row |
//!
//! [`StoreOptions`] say what a file leaves open: which of several columns is meant, which holds the ids, what whole numbers
//! are worth.
//!
//! A store that fits in memory is read as a table ([`read_table`], [`write_table`]); others are streamed.

/// Rows that are summed before they are merged: fixed, so that no result depends on threads, chunks or the machine.
pub(crate) const BLOCK_ROWS: usize = 256;

pub(crate) mod archive;
mod beside;
pub(crate) mod cache;
mod dataset;
mod encode;
#[cfg(feature = "parquet")]
mod encoded;
mod file;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod fixture_tests;
mod float;
mod format;
#[cfg(test)]
mod fuzz_tests;
mod ids;
pub(crate) mod kernel;
mod lookup;
mod matrix;
mod npy;
mod npz;
mod odd_rows;
mod options;
pub(crate) mod output;
pub(crate) mod parallel;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
mod pickle;
mod pieces;
pub(crate) mod pipeline;
mod place;
mod policy;
pub(crate) mod positioned;
mod progress;
mod raw_rows;
pub(crate) mod records;
mod report;
mod row_loop;
mod row_sample;
mod rows;
mod shard;
mod stamp;
mod store;
mod table;
pub(crate) mod tensors;
pub(crate) mod torch;
mod unit;
mod webdataset;

pub use crate::json::Mended;
pub use dataset::Embedding;
pub(crate) use encode::encode;
pub(crate) use file::read_bytes;
pub use file::{read_table, read_table_with, write_table, write_table_with_records};
pub use float::FloatType;
pub use format::Format;
pub(crate) use lookup::IdIndex;
pub use lookup::StoreLookup;
pub use options::{Ids, Modality, StoreOptions};
pub(crate) use pieces::{Piece, Pieces};
pub(crate) use policy::Terms;
pub use policy::{MIN_NORM, NonFinite, RowReport};
pub(crate) use progress::check_cancelled;
pub use progress::{BytesMoved, Progress};
pub use raw_rows::RawRows;
pub(crate) use raw_rows::check_length;
pub use records::Record;
pub(crate) use records::id as record_id;
pub use report::{Numbered, StoreReport};
pub(crate) use row_loop::{DecodedRow, Loaded, RowLoop, for_each_row, for_each_row_scalar};
pub(crate) use row_sample::RowSample;
pub(crate) use rows::{Row, clean_rows, inspect, normalize_rows};
pub(crate) use shard::Shard;
pub use store::Store;
pub use table::EmbeddingTable;
pub use tensors::EMBEDDINGS_KEY;
pub use unit::normalize;
pub(crate) use unit::{HostRows, RowsInPlace, host_rows, normalize_bounded};
