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
//! such rows (by default: a clear error), [`normalize_rows`] makes unit rows on the host with float64
//! accumulation, and [`normalize`] does the same on a device.
//!
//! On disk a table is a `.safetensors` file with one matrix, next to a `.jsonl` file with one id a line
//! ([`read_table`], [`write_table`]).

mod file;
pub(crate) mod parallel;
mod rows;
mod table;
mod unit;

pub(crate) use file::read_bytes;
pub use file::{EMBEDDINGS_KEY, read_table, read_table_key, write_table};
pub use rows::{MIN_NORM, NonFinite, RowReport, normalize_rows};
pub(crate) use rows::{Real, Row, check_length, clean_rows, inspect, inverse_norm, map_rows};
pub use table::EmbeddingTable;
pub use unit::normalize;
pub(crate) use unit::{HostRows, host_rows, normalize_bounded};
