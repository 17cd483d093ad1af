use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::EmbeddingTable;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result, atomic};

/// The name of the matrix in a `.safetensors` file of embeddings.
pub const EMBEDDINGS_KEY: &str = "embeddings";

const IDS_FINGERPRINT: &str = "ids_fingerprint";

#[derive(Serialize, Deserialize)]
struct IdLine {
    id: Id,
}

/// Ids are text; numbers are accepted since many annotation files number their samples.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

/// Reads the matrix `embeddings` of a `.safetensors` file (float16, bfloat16, float32 or float64) with the ids of
/// the `.jsonl` file beside it; see [`read_table_key`].
///
/// # Errors
///
/// As for [`read_table_key`].
pub fn read_table(path: impl AsRef<Path>) -> Result<EmbeddingTable> {
    read_table_key(path, EMBEDDINGS_KEY)
}

/// Reads the matrix `key`, `[n, d]`, of a `.safetensors` file.
///
/// The ids stand in the file of the same name that ends in `.jsonl`: one object a line, of which the field `"id"`
/// (text or a whole number) is read. Where there is no such file the row number is the id.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be read, [`Error::Format`] naming file and cause where it is cut off or does
/// not hold such a matrix or as many ids as rows, [`Error::DuplicateId`] where an id stands twice.
pub fn read_table_key(path: impl AsRef<Path>, key: &str) -> Result<EmbeddingTable> {
    let path = path.as_ref();
    let (rows, [n, dim], fingerprint) = read_matrix(path, key)?;
    let ids_path = path.with_extension("jsonl");
    let ids = match File::open(&ids_path) {
        Ok(file) => read_ids(&ids_path, file)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return EmbeddingTable::numbered(rows, dim);
        }
        Err(error) => return Err(Error::io(ids_path, error)),
    };
    if ids.len() != n {
        let detail = format!("expected {n} ids, one a row of {}, found {}", path.display(), ids.len());
        return Err(Error::format(ids_path, detail));
    }
    if let Some(written) = fingerprint.filter(|written| *written != ids_fingerprint(&ids)) {
        let detail = format!("these are not the ids that {} was written with ({written})", path.display());
        return Err(Error::format(ids_path, detail));
    }
    EmbeddingTable::new(ids, rows, dim).map_err(|error| match error {
        Error::DuplicateId { id, first, second, .. } => {
            Error::DuplicateId { what: ids_path.display().to_string(), id, first, second }
        }
        error => error,
    })
}

/// A writer that is broken off between its two files leaves the new ids beside the old matrix: this tells.
fn ids_fingerprint(ids: &[String]) -> String {
    let mut fingerprint = Fingerprint::new();
    for id in ids {
        fingerprint.add(&(id.len() as u64).to_le_bytes());
        fingerprint.add(id.as_bytes());
    }
    fingerprint.finish()
}

/// Writes a table: the matrix `embeddings` in float32 as `.safetensors` at `path`, and the ids in the `.jsonl`
/// file beside it.
///
/// Each file is written under another name and renamed when it is complete, so that no reader ever sees half of it; the
/// matrix carries a fingerprint of its ids, so that files of different tables are not taken for a pair.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be written.
pub fn write_table(table: &EmbeddingTable, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let ids_path = path.with_extension("jsonl");
    if ids_path == path {
        return Err(Error::config("path", format!("{}: .jsonl is the file of the ids", path.display())));
    }
    atomic::write(&ids_path, |file| {
        for id in table.ids() {
            serde_json::to_writer(&mut *file, &IdLine { id: Id::Text(id.clone()) })?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })?;
    let data = TensorData::new(table.rows().to_vec(), [table.len(), table.dim()]);
    let view = TensorView::new(Dtype::F32, vec![table.len(), table.dim()], data.as_bytes())
        .map_err(|error| Error::format(path, error.to_string()))?;
    let metadata = HashMap::from([(IDS_FINGERPRINT.to_string(), ids_fingerprint(table.ids()))]);
    let bytes = safetensors::serialize([(EMBEDDINGS_KEY, view)], Some(metadata))
        .map_err(|error| Error::format(path, error.to_string()))?;
    atomic::write(path, |file| file.write_all(&bytes))
}

/// The rows, their number and size, and the fingerprint of their ids where the file has one.
fn read_matrix(path: &Path, key: &str) -> Result<(Vec<f32>, [usize; 2], Option<String>)> {
    let bytes = read_bytes(path)?;
    let fingerprint = SafeTensors::read_metadata(&bytes)
        .ok()
        .and_then(|(_, header)| header.metadata().as_ref()?.get(IDS_FINGERPRINT).cloned());
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| Error::format(path, error.to_string()))?;
    let Ok(view) = tensors.tensor(key) else {
        return Err(Error::format(path, format!("no matrix {key:?}; found {:?}", tensors.names())));
    };
    let &[n, dim] = view.shape() else {
        let detail = format!("{key:?}: expected a matrix [rows, dimensions], found shape {:?}", view.shape());
        return Err(Error::format(path, detail));
    };
    let dtype = match view.dtype() {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => return Err(Error::format(path, format!("{key:?}: expected a float type, found {other:?}"))),
    };
    if dim == 0 {
        return Err(Error::format(path, format!("{key:?}: rows of 0 dimensions")));
    }
    let data = TensorData::from_bytes_vec(view.data().to_vec(), [n, dim], dtype);
    let rows = data.try_into_vec_as::<f32>().expect("the data was converted to f32");
    Ok((rows, [n, dim], fingerprint))
}

fn read_ids(path: &Path, file: File) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => Error::format(path, format!("line {}: {error}", number + 1)),
            _ => Error::io(path, error),
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let parsed: IdLine = serde_json::from_str(&line).map_err(|error| {
            Error::format(path, format!("line {}: expected an object with an \"id\": {error}", number + 1))
        })?;
        ids.push(match parsed.id {
            Id::Text(id) => id,
            Id::Number(id) => id.to_string(),
        });
    }
    Ok(ids)
}

/// The contents of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> EmbeddingTable {
        let ids = ["a", "b \"quoted\"", "ü"].map(String::from).to_vec();
        EmbeddingTable::new(ids, vec![1.0, f32::MIN_POSITIVE, -0.0, 3.4e38, 0.1, -7.25], 2).unwrap()
    }

    fn assert_format_error(path: &Path) {
        match read_table(path) {
            Err(Error::Format { path: named, detail }) => {
                assert_eq!(named.file_stem(), path.file_stem());
                assert!(!detail.is_empty());
            }
            other => panic!("expected a format error, found {other:?}"),
        }
    }

    #[test]
    fn ids_of_another_table_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.safetensors");
        let table = |ids: [&str; 2]| {
            EmbeddingTable::new(ids.map(String::from).to_vec(), vec![1.0, 2.0, 3.0, 4.0], 2).unwrap()
        };
        write_table(&table(["a", "b"]), &path).unwrap();
        let ids = std::fs::read(path.with_extension("jsonl")).unwrap();
        write_table(&table(["b", "a"]), &path).unwrap();
        assert_eq!(read_table(&path).unwrap(), table(["b", "a"]));
        std::fs::write(path.with_extension("jsonl"), ids).unwrap();
        assert!(read_table(&path).unwrap_err().to_string().contains("not the ids"));
    }

    #[test]
    fn a_table_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.safetensors");
        write_table(&table(), &path).unwrap();
        let back = read_table(&path).unwrap();
        assert_eq!(back.ids(), table().ids());
        let bits = |table: &EmbeddingTable| table.rows().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&table()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no partial file is left");
        std::fs::remove_file(path.with_extension("jsonl")).unwrap();
        assert_eq!(read_table(&path).unwrap().ids(), ["0", "1", "2"]);
        assert!(matches!(read_table_key(&path, "other"), Err(Error::Format { .. })));
    }

    #[test]
    fn every_float_type_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let values = [1.0_f64, -0.5, 0.25, 1024.0];
        let kinds = [
            (Dtype::F16, DType::F16),
            (Dtype::BF16, DType::BF16),
            (Dtype::F32, DType::F32),
            (Dtype::F64, DType::F64),
        ];
        for (stored, dtype) in kinds {
            let data = TensorData::new(values.to_vec(), [2, 2]).convert_dtype(dtype);
            let view = TensorView::new(stored, vec![2, 2], data.as_bytes()).unwrap();
            let path = folder.path().join("rows.safetensors");
            std::fs::write(&path, safetensors::serialize([(EMBEDDINGS_KEY, view)], None).unwrap()).unwrap();
            assert_eq!(read_table(&path).unwrap().rows(), values.map(|v| v as f32));
        }
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.safetensors");
        write_table(&table(), &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_format_error(&path);
        }
    }

    #[test]
    fn ids_that_do_not_fit_are_an_error_that_names_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.safetensors");
        write_table(&table(), &path).unwrap();
        let ids = path.with_extension("jsonl");
        for lines in
            ["{\"id\": 1}\n{\"id\": \"b\"}\n", "{\"id\": 1}\nnot json\n{\"id\": 3}\n", "{}\n{}\n{}\n"]
        {
            std::fs::write(&ids, lines).unwrap();
            assert_format_error(&path);
        }
        // A matrix by other hands has no fingerprint.
        let data = TensorData::new(table().rows().to_vec(), [3, table().dim()]);
        let view = TensorView::new(Dtype::F32, vec![3, table().dim()], data.as_bytes()).unwrap();
        std::fs::write(&path, safetensors::serialize([(EMBEDDINGS_KEY, view)], None).unwrap()).unwrap();
        std::fs::write(&ids, "{\"id\": 1, \"text\": \"a cat\"}\n{\"id\": \"b\"}\n{\"id\": 3}\n").unwrap();
        assert_eq!(read_table(&path).unwrap().ids(), ["1", "b", "3"]);
        assert!(matches!(read_table(folder.path().join("none.safetensors")), Err(Error::Io { .. })));
    }
}
