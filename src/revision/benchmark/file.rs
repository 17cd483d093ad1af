use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::kind::BenchmarkKind;
use crate::{Error, Result};

/// Which benchmark a file or folder holds.
pub(super) fn recognise(path: &Path) -> Result<BenchmarkKind> {
    if path.is_dir() {
        let problems = path.join("problems.json").is_file();
        return Ok(if problems { BenchmarkKind::ScienceQa } else { BenchmarkKind::Mme });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match ending.as_str() {
        "tsv" if name.contains("mmstar") => return Ok(BenchmarkKind::MmStar),
        "tsv" => return Ok(BenchmarkKind::MmBench),
        "jsonl" => return Ok(BenchmarkKind::Pope),
        _ => {}
    }
    let text = text(path)?;
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let of_pope =
        serde_json::from_str::<serde_json::Value>(first).is_ok_and(|line| line["label"].is_string());
    if of_pope {
        return Ok(BenchmarkKind::Pope);
    }
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) if value["questions"].is_array() => Ok(BenchmarkKind::Vqa),
        Ok(serde_json::Value::Object(entries))
            if entries.values().next().is_some_and(|entry| entry["choices"].is_array()) =>
        {
            Ok(BenchmarkKind::ScienceQa)
        }
        _ => {
            let names = BenchmarkKind::ALL.map(|kind| kind.to_string()).join(", ");
            Err(Error::format(path, format!("is no file of {names}, as far as can be seen; say which it is")))
        }
    }
}

/// The text of a file, without a byte order mark.
pub(super) fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|source| Error::io(path, source))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::format(path, format!("line {line}: is no UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

/// A file of one JSON value.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&text(path)?).map_err(|error| at(path, error.line(), error))
}

/// An error at a line of a file.
pub(super) fn at(path: &Path, line: usize, detail: impl std::fmt::Display) -> Error {
    Error::format(path, format!("line {line}: {detail}"))
}

/// The entries of a folder, in the order of their names.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|source| Error::io(folder, source))?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    alphanumeric_sort::sort_path_slice(&mut paths);
    Ok(paths)
}
