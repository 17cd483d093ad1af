//! What stands beside the vectors: ids, captions and any other fields, one JSON object a row.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

use crate::fingerprint::Fingerprint;
use crate::json::{self, Lines, Mended};
use crate::{Error, Result};

/// The fields of one row but its vector; `id` is text or a whole number.
pub type Record = Map<String, Value>;

/// The records of a shard in the order of its rows.
pub(crate) type Records<'a> = Box<dyn Iterator<Item = Result<Record>> + Send + 'a>;

/// The id of a record. Numbers are accepted since many annotation files number their samples.
pub(crate) fn id(record: &Record) -> Option<String> {
    id_of(record.get("id")?)
}

/// A value as an id. pandas makes `1.0` of a `1` in a column that once had a gap: that is the id `1`.
pub(super) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) if id.is_i64() || id.is_u64() => Some(id.to_string()),
        Value::Number(id) => id.as_f64().and_then(whole).map(|id| id.to_string()),
        _ => None,
    }
}

/// The whole number that a float is, where every whole number up to it is a float.
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < (1_u64 << 53) as f64).then_some(value as i64)
}

/// The record of a row that has no other field than its id.
pub(crate) fn of_id(id: String) -> Record {
    Map::from_iter([("id".to_string(), Value::String(id))])
}

/// The file of records that stands beside a matrix: the same name, ending in `.jsonl`.
pub(crate) fn sidecar(path: &Path) -> PathBuf {
    path.with_extension("jsonl")
}

/// What was mended in a file of records: as much as the pass that found most.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<Mended>>);

impl Tally {
    pub fn get(&self) -> Mended {
        *self.0.lock().expect("nothing panics with it")
    }

    /// Takes what a pass has found.
    pub fn found(&self, found: Mended) {
        let mut most = self.0.lock().expect("nothing panics with it");
        *most = most.most(found);
    }
}

/// Opens the file of records at `path`, if there is one.
pub(super) fn open_sidecar(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}

/// The records that stand in `file`, which errors call `path`: one JSON object a line, as `parse` reads it.
pub(super) fn read_lines<'a>(
    path: &Path,
    file: impl Read + Send + 'a,
    tally: &Tally,
    parse: impl Fn(&str, &mut Mended) -> Result<Record, String> + Send + 'a,
) -> Records<'a> {
    let (path, tally) = (path.to_path_buf(), tally.clone());
    let mut lines = Lines::new(file);
    Box::new(std::iter::from_fn(move || {
        let Some((number, line, mended)) = lines.next() else {
            tally.found(lines.mended);
            return None;
        };
        Some(match line {
            Ok(line) => {
                parse(line, mended).map_err(|detail| Error::format(&path, format!("line {number}: {detail}")))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Error::format(&path, format!("line {number}: {error}")))
            }
            Err(error) => Err(Error::io(&path, error)),
        })
    }))
}

/// The record of a line.
pub(super) fn parse(line: &str, mended: &mut Mended) -> Result<Record, String> {
    json::parse(line.as_bytes(), mended).map_err(|error| format!("expected an object: {error}"))
}

/// The record of a line, in which an id stands under `column`: it is the `id` of the record.
pub(super) fn parse_with_id(line: &str, column: &str, mended: &mut Mended) -> Result<Record, String> {
    let wrong = |detail: &dyn std::fmt::Display| format!("expected an object with an {column:?}: {detail}");
    let mut record: Record = json::parse(line.as_bytes(), mended).map_err(|error| wrong(&error))?;
    identify(&mut record, column).map_err(|found| wrong(&found))?;
    Ok(record)
}

/// Makes the value under `column` the `id` of the record; an id that stands in `id` already stays as it is.
pub(super) fn identify(record: &mut Record, column: &str) -> Result<(), String> {
    let value = record.get(column).ok_or("there is none")?;
    let id = id_of(value).ok_or_else(|| format!("found {value}"))?;
    let is_whole = matches!(value, Value::String(_)) || value.is_i64() || value.is_u64();
    if column != "id" || !is_whole {
        record.insert("id".to_string(), Value::String(id));
    }
    Ok(())
}

/// The fields of a record that might be an id, best first by their names; or the first few, where no name says so.
pub(super) fn id_candidates<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let says_so = |name: &&str| {
        let name = name.to_lowercase();
        ["id", "key", "uid", "uuid", "url", "sha256", "hash", "index"].contains(&name.as_str())
            || ["_id", "id_", "path", "file", "name", "_key", "_url"].iter().any(|part| name.contains(part))
    };
    let mut named: Vec<String> = fields.clone().filter(says_so).map(str::to_string).collect();
    if named.is_empty() {
        named = fields.take(6).map(str::to_string).collect();
    }
    named
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
