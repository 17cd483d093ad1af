//! Records beside embeddings: a JSON object a line.

use std::path::Path;

use burn_revision::{Error, Result};
use serde::de::DeserializeOwned;

/// The records of a file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
    let record = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| Error::format(path, format!("line {}: {error}", number + 1)))
    };
    text.lines().enumerate().map(record).collect()
}
