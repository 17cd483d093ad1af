use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::embedding::Record;
use crate::{Error, Result};

/// The rows of a file as records: the lines of a `.txt` file in the field `text`, the objects of a `.jsonl` file, the rows
/// of a `.csv` or `.tsv` file under the names of its header, and those of a `.parquet` file without its columns of bytes
/// and of embeddings.
///
/// # Errors
///
/// [`Error::Io`] where it cannot be read, [`Error::Format`] for another ending; each row may be an error too.
pub(super) fn file_rows(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Record>>>> {
    let io = |source| Error::io(path, source);
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let open = || File::open(path).map_err(io);
    let name = path.to_path_buf();
    match extension.as_str() {
        "txt" => {
            let lines = BufReader::new(open()?).lines();
            Ok(Box::new(lines.enumerate().filter_map(move |(number, line)| match line {
                Ok(line) if line.trim().is_empty() => None,
                Ok(line) => {
                    let text = line.trim_start_matches('\u{feff}').trim().to_string();
                    Some(Ok(Record::from_iter([("text".to_string(), Value::String(text))])))
                }
                Err(error) => Some(Err(Error::format(&name, format!("line {}: {error}", number + 1)))),
            })))
        }
        "jsonl" => {
            let lines = BufReader::new(open()?).lines();
            Ok(Box::new(lines.enumerate().filter_map(move |(number, line)| {
                let wrong = |error: String| Error::format(&name, format!("line {}: {error}", number + 1));
                match line {
                    Ok(line) if line.trim().is_empty() => None,
                    Ok(line) => {
                        let line = line.trim_start_matches('\u{feff}');
                        Some(serde_json::from_str(line).map_err(|error| wrong(error.to_string())))
                    }
                    Err(error) => Some(Err(wrong(error.to_string()))),
                }
            })))
        }
        "csv" | "tsv" => {
            let delimiter = if extension == "csv" { b',' } else { b'\t' };
            let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(open()?);
            let wrong = |error: csv::Error| Error::format(path, error.to_string());
            let header: Vec<String> = reader
                .headers()
                .map_err(wrong)?
                .iter()
                .map(|column| column.trim_start_matches('\u{feff}').to_string())
                .collect();
            Ok(Box::new(reader.into_records().map(move |row| {
                let row = row.map_err(|error| Error::format(&name, error.to_string()))?;
                let values = row.iter().map(|value| Value::String(value.to_string()));
                Ok(header.iter().cloned().zip(values).collect())
            })))
        }
        #[cfg(feature = "parquet")]
        "parquet" => {
            let table = crate::embedding::parquet::ParquetTable::open(path)?;
            Ok(Box::new(table.readable()?))
        }
        #[cfg(not(feature = "parquet"))]
        "parquet" => {
            Err(Error::format(path, "is read with the feature `parquet`, which this build is without"))
        }
        _ => {
            let detail = format!(
                "expected a name that ends in .txt, .jsonl, .csv, .tsv or .parquet, found {extension:?}"
            );
            Err(Error::format(path, detail))
        }
    }
}

/// The text of a value, where it is text or a list whose first entry is.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(values) => values.first().and_then(Value::as_str).map(str::to_string),
        _ => None,
    }
}
