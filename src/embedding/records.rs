//! What stands beside the vectors: ids, captions and any other fields, one JSON object a row.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::fingerprint::Fingerprint;
use crate::{Error, Result};

/// The fields of one row but its vector; `id` is text or a whole number.
pub type Record = Map<String, Value>;

/// The records of a shard in the order of its rows.
pub(crate) type Records<'a> = Box<dyn Iterator<Item = Result<Record>> + Send + 'a>;

/// The id of a record. Numbers are accepted since many annotation files number their samples.
pub(crate) fn id(record: &Record) -> Option<String> {
    match record.get("id")? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) if id.is_i64() || id.is_u64() => Some(id.to_string()),
        _ => None,
    }
}

/// The record of a row that has no other field than its id.
pub(crate) fn of_id(id: String) -> Record {
    Map::from_iter([("id".to_string(), Value::String(id))])
}

/// The file of records that stands beside a matrix: the same name, ending in `.jsonl`.
pub(crate) fn sidecar(path: &Path) -> PathBuf {
    path.with_extension("jsonl")
}

/// Reads the records of the file at `path`, if there is one: one JSON object with an `id` a line.
pub(super) fn read_sidecar(path: &Path) -> Result<Option<Records<'static>>> {
    Ok(open_sidecar(path)?.map(|file| read_lines(path, file)))
}

/// Opens the file of records at `path`, if there is one.
pub(super) fn open_sidecar(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}

/// The records that stand in `file`, which errors call `path`.
pub(super) fn read_lines(path: &Path, file: impl Read + Send + 'static) -> Records<'static> {
    let path = path.to_path_buf();
    let lines = BufReader::with_capacity(1 << 18, file).lines().enumerate();
    Box::new(lines.filter_map(move |(number, line)| parse(&path, number + 1, line).transpose()))
}

/// The record of a line; `number` counts lines from one.
pub(super) fn parse(path: &Path, number: usize, line: std::io::Result<String>) -> Result<Option<Record>> {
    let line = line.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Error::format(path, format!("line {number}: {error}")),
        _ => Error::io(path, error),
    })?;
    if line.trim().is_empty() {
        return Ok(None);
    }
    let wrong = |detail: &dyn std::fmt::Display| {
        Error::format(path, format!("line {number}: expected an object with an \"id\": {detail}"))
    };
    let record: Record = serde_json::from_str(&line).map_err(|error| wrong(&error))?;
    match (id(&record), record.get("id")) {
        (Some(_), _) => Ok(Some(record)),
        (None, None) => Err(wrong(&"there is none")),
        (None, Some(value)) => Err(wrong(&format!("found {value}"))),
    }
}

/// A number that tells the ids of one table from those of another.
///
/// A writer that is broken off between its two files leaves the new ids beside the old matrix: this tells.
pub(crate) struct IdsFingerprint(Fingerprint);

impl IdsFingerprint {
    pub fn new() -> Self {
        Self(Fingerprint::new())
    }

    pub fn add(&mut self, id: &str) {
        self.0.add(&(id.len() as u64).to_le_bytes());
        self.0.add(id.as_bytes());
    }

    pub fn finish(self) -> String {
        self.0.finish()
    }
}
