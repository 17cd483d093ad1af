use std::path::Path;

use super::encode::encode;
use super::output::{MatrixOutput, write_sidecar};
use super::records::{self, of_id};
use super::{EmbeddingTable, FloatType, Format, Record, Store, StoreOptions};
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

/// As [`read_table`], as the options say.
///
/// # Errors
///
/// Those of [`read_table`].
pub fn read_table_with(path: impl AsRef<Path>, options: &StoreOptions) -> Result<EmbeddingTable> {
    Store::open_with(path, options)?.read_table()
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
    write(table, table.ids().iter().map(|id| of_id(id.clone())), path.as_ref())
}

/// As [`write_table`], with captions and whatever else stands beside the rows: a record for each, in their order. A record
/// without an `id` gets that of its row.
///
/// ```
/// use burn_revision::embedding::{EmbeddingTable, Record, Store, write_table_with_records};
/// use serde_json::json;
///
/// # fn main() -> burn_revision::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("captions.npy");
/// let table = EmbeddingTable::new(vec!["7".into(), "9".into()], vec![1.0, 0.0, 0.6, 0.8], 2)?;
/// let caption = |text: &str| Record::from_iter([("text".to_string(), json!(text))]);
/// write_table_with_records(&table, &[caption("a red apple"), caption("a green pear")], &path)?;
///
/// let record = Store::open(&path)?.record("9")?;
/// assert_eq!(record["text"], "a green pear");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Mismatch`] where there are more or fewer records than rows, [`Error::Format`] where a record has the id of
/// another row, and those of [`write_table`].
pub fn write_table_with_records(
    table: &EmbeddingTable,
    records: &[Record],
    path: impl AsRef<Path>,
) -> Result<()> {
    let path = path.as_ref();
    if records.len() != table.len() {
        let what = format!("{}: records (one a row)", path.display());
        return Err(Error::mismatch(what, table.len(), records.len()));
    }
    for (row, (id, record)) in table.ids().iter().zip(records).enumerate() {
        match records::id(record) {
            Some(other) if other != *id => {
                let detail = format!("the record of row {row} has the id {other:?}, expected {id:?}");
                return Err(Error::format(path, detail));
            }
            _ => {}
        }
    }
    let whole = table.ids().iter().zip(records).map(|(id, record)| {
        let mut whole = of_id(id.clone());
        whole.extend(record.iter().filter(|(field, _)| *field != "id").map(|(f, v)| (f.clone(), v.clone())));
        whole
    });
    write(table, whole, path)
}

fn write(table: &EmbeddingTable, records: impl Iterator<Item = Record>, path: &Path) -> Result<()> {
    let Some(format @ (Format::Npy | Format::Safetensors)) = Format::of(path) else {
        let detail = format!("{}: expected a name that ends in .npy or .safetensors", path.display());
        return Err(Error::config("path", detail));
    };
    let output = MatrixOutput::create(path, format, FloatType::F32, table.dim(), false)?;
    let mut bytes = Vec::new();
    encode(table.rows(), FloatType::F32, &mut bytes);
    output.write(0, &bytes)?;
    let ids = write_sidecar(path, records.map(Ok))?;
    output.finish(table.len(), Some(&ids), true)
}

/// The contents of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io(path, error))
}
