//! Parquet and Arrow files of embeddings: one list column of floats, and columns that travel along.
//!
//! [`ParquetShard::open`] looks at a file, [`ParquetShard::rows_from`] streams its embeddings as raw values,
//! [`ParquetTable::records`] its other columns as JSON objects, and [`ParquetWriter`] writes both into a new file.
//! All of them work page by page, so that memory stays bounded however large a file or one of its row groups is.

mod column;
mod ipc;
mod kind;
mod pages;
mod records;
mod rows;
mod schema;
mod shard;
mod source;
mod table;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::errors::ParquetError;
use arrow_schema::{ArrowError, DataType};

pub(crate) use ipc::ArrowShard;
pub(crate) use pages::ParquetPages;
pub(crate) use records::ColumnRecords;
pub(crate) use rows::ParquetRows;
pub(crate) use schema::with_ids;
pub(crate) use shard::ParquetShard;
pub(crate) use table::ParquetTable;
pub(crate) use writer::ParquetWriter;

use crate::embedding::FloatType;
use crate::{Error, Result};

/// The type of a list's items; [`ParquetWriter::new`] refuses bfloat16, which Parquet does not have.
fn data_type(float: FloatType) -> DataType {
    match float {
        FloatType::F16 | FloatType::BF16 => DataType::Float16,
        FloatType::F32 => DataType::Float32,
        FloatType::F64 => DataType::Float64,
    }
}

fn float_of(data_type: &DataType) -> Option<FloatType> {
    match data_type {
        DataType::Float16 => Some(FloatType::F16),
        DataType::Float32 => Some(FloatType::F32),
        DataType::Float64 => Some(FloatType::F64),
        _ => None,
    }
}

/// Runs `work` on the file `path`, and makes an error of it when the Parquet library panics.
///
/// On pages whose content contradicts their header the library runs out of the bounds of a slice instead of
/// reporting it. That is safe, but a damaged file is no mistake of the program.
///
/// # Errors
///
/// Those of `work`, and [`Error::Format`] with the words of a panic. What `work` was changing must not be used after.
fn contained<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(Error::format(path, format!("the file is damaged: {words}")))
    })
}

/// What the Parquet library reports, as an error of `path`: its own complaints are about the format, those of the
/// operating system about the file.
fn parquet_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => io_error(path, *error),
            Err(source) => Error::format(path, source.to_string()),
        },
        other => Error::format(path, other.to_string()),
    }
}

/// What the Arrow library reports, as an error of `path`.
fn arrow_error(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => io_error(path, error),
        ArrowError::ExternalError(source) => match source.downcast::<ParquetError>() {
            Ok(error) => parquet_error(path, *error),
            Err(source) => Error::format(path, source.to_string()),
        },
        other => Error::format(path, other.to_string()),
    }
}

/// Codecs report corrupt data as errors of reading, though the operating system had no part in it.
fn io_error(path: &Path, error: std::io::Error) -> Error {
    match error.raw_os_error() {
        None => Error::format(path, error.to_string()),
        Some(_) => Error::io(path, error),
    }
}
