use std::path::Path;

use super::encode::encode;
use super::output::{MatrixOutput, write_sidecar};
use super::records::of_id;
use super::{EmbeddingTable, FloatType, Format, Store};
use crate::{Error, Result};

/// Reads a file, a folder of shards or a pattern of names into memory, as float32, with the ids; see [`Store`] for what
/// is read, and for sets that do not fit.
///
/// The ids of a `.npy` or `.safetensors` file stand in the file of the same name that ends in `.jsonl`: one object a
/// line, of which the field `"id"` (text or a whole number) is read. Where there is no such file the row number is the
/// id.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be read, [`Error::Format`] naming file and cause where it is cut off or does
/// not hold such a matrix or as many ids as rows, [`Error::DuplicateId`] where an id stands twice.
pub fn read_table(path: impl AsRef<Path>) -> Result<EmbeddingTable> {
    Store::open(path)?.read_table()
}

/// As [`read_table`]; `key` names the matrix of a `.safetensors` file or the column of a Parquet file.
///
/// # Errors
///
/// Those of [`read_table`].
pub fn read_table_key(path: impl AsRef<Path>, key: &str) -> Result<EmbeddingTable> {
    Store::open_key(path, Some(key))?.read_table()
}

/// Writes a table in float32 as `.npy` or `.safetensors` (the matrix `embeddings`), and the ids in the `.jsonl` file
/// beside it.
///
/// Each file is written under another name and renamed when it is complete, so that no reader ever sees half of it; a
/// `.safetensors` file carries a fingerprint of its ids, so that files of different tables are not taken for a pair.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be written, [`Error::Config`] for another extension.
pub fn write_table(table: &EmbeddingTable, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let Some(format @ (Format::Npy | Format::Safetensors)) = Format::of(path) else {
        let detail = format!("{}: expected a name that ends in .npy or .safetensors", path.display());
        return Err(Error::config("path", detail));
    };
    let output = MatrixOutput::create(path, format, FloatType::F32, table.dim(), false)?;
    let mut bytes = Vec::new();
    encode(table.rows(), FloatType::F32, &mut bytes);
    output.write(0, &bytes)?;
    let ids = write_sidecar(path, table.ids().iter().map(|id| Ok(of_id(id.clone()))))?;
    output.finish(table.len(), Some(&ids), true)
}

/// The contents of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io(path, error))
}
