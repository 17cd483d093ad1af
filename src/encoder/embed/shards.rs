use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::embedding::{EmbeddingTable, Progress, Record, write_table_with_records};
use crate::fingerprint::Fingerprint;
use crate::{Error, Result, atomic};

/// How pictures or texts are embedded.
#[derive(Clone)]
pub struct EmbedOptions<'a> {
    /// How many go through the tower together; 8 are fastest on a processor.
    pub batch_size: usize,
    /// How many there are to a shard: the unit that is kept when the job is interrupted.
    pub shard_rows: usize,
    /// Threads that decode, and on a CPU compute; as many as the machine has cores by default.
    pub threads: Option<usize>,
    /// Rows as the tower makes them, to train heads on, instead of rows of unit length.
    pub raw: bool,
    /// Go on with a job that was interrupted.
    pub resume: bool,
    /// Replace what is there.
    pub overwrite: bool,
    /// What is told how far the job has come, and may end it.
    pub progress: &'a dyn Progress,
}

impl Default for EmbedOptions<'_> {
    fn default() -> Self {
        Self {
            batch_size: 32,
            shard_rows: 4096,
            threads: None,
            raw: false,
            resume: false,
            overwrite: false,
            progress: &(),
        }
    }
}

/// What became of pictures or texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbedReport {
    /// How many there were.
    pub items: usize,
    /// How many have a row.
    pub rows: usize,
    /// Texts that were longer than the tower takes, and were cut.
    pub truncated: usize,
    /// Pictures that could not be read: id, and why.
    pub bad: Vec<(String, String)>,
    /// How many were embedded by an earlier run that was interrupted.
    pub resumed: usize,
}

/// The folder of a job: shards that are complete, each with a note of what it is.
pub(super) struct ShardFolder {
    folder: PathBuf,
    items: usize,
    shard_rows: usize,
}

/// The note of a shard, written when it is complete.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct ShardNote {
    pub rows: usize,
    pub truncated: usize,
    pub bad: Vec<(String, String)>,
}

const JOB: &str = "embed.json";

impl ShardFolder {
    /// Prepares the folder of a job. `identity` is what must be the same for a job to be resumed, as names and values.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings of zero, where another job was begun in the folder, and where one was and neither
    /// `resume` nor `overwrite` is asked for; [`Error::Io`] where the folder cannot be written.
    pub fn begin(
        folder: &Path,
        items: usize,
        identity: &[(&str, String)],
        options: &EmbedOptions<'_>,
    ) -> Result<Self> {
        for (name, value) in [("batch_size", options.batch_size), ("shard_rows", options.shard_rows)] {
            if value == 0 {
                return Err(Error::config(name, "must be at least 1, found 0"));
            }
        }
        let rows = if options.raw { "raw" } else { "unit" };
        let job = json!({
            "items": items, "rows": rows, "shard_rows": options.shard_rows, "batch_size": options.batch_size,
            "of": identity.iter().map(|(name, value)| (name.to_string(), json!(value))).collect::<Record>(),
        });
        let path = folder.join(JOB);
        let io = |source| Error::io(folder, source);
        if folder.exists() {
            let before =
                std::fs::read(&path).ok().and_then(|json| serde_json::from_slice::<Value>(&json).ok());
            let is_empty = std::fs::read_dir(folder).map_err(io)?.next().is_none();
            match before {
                None if is_empty => {}
                // Not of this job or of any: nobody asked to lose it.
                None => {
                    let detail =
                        format!("{} has something else in it: name another folder", folder.display());
                    return Err(Error::config("output", detail));
                }
                Some(_) if options.overwrite => std::fs::remove_dir_all(folder).map_err(io)?,
                Some(before) if options.resume => check_same(&before, &job)?,
                Some(_) => {
                    let detail =
                        format!("{} has a job that was begun: resume it, or overwrite it", folder.display());
                    return Err(Error::config("output", detail));
                }
            }
        }
        let text = serde_json::to_vec_pretty(&job).expect("a description is plain data");
        atomic::write(&path, |file| file.write_all(&text))?;
        Ok(Self { folder: folder.to_path_buf(), items, shard_rows: options.shard_rows })
    }

    /// The numbers of the shards.
    pub fn shards(&self) -> Range<usize> {
        0..self.items.div_ceil(self.shard_rows)
    }

    /// The items of a shard.
    pub fn items(&self, shard: usize) -> Range<usize> {
        shard * self.shard_rows..((shard + 1) * self.shard_rows).min(self.items)
    }

    /// The note of a shard that an earlier run completed.
    pub fn done(&self, shard: usize) -> Option<ShardNote> {
        let note: ShardNote = serde_json::from_slice(&std::fs::read(self.path(shard, "json")).ok()?).ok()?;
        (note.rows == 0 || self.path(shard, "npy").exists()).then_some(note)
    }

    /// Writes a shard, and after it its note.
    pub fn write(
        &self,
        shard: usize,
        dim: usize,
        rows: Vec<f32>,
        records: Vec<(String, Record)>,
        note: &ShardNote,
    ) -> Result<()> {
        if !records.is_empty() {
            let (ids, records): (Vec<String>, Vec<Record>) = records
                .into_iter()
                .map(|(id, mut record)| {
                    record.insert("id".to_string(), Value::String(id.clone()));
                    (id, record)
                })
                .unzip();
            let table = EmbeddingTable::new(ids, rows, dim)?;
            write_table_with_records(&table, &records, self.path(shard, "npy"))?;
        }
        let text = serde_json::to_vec(note).expect("a note is plain data");
        atomic::write(&self.path(shard, "json"), |file| file.write_all(&text))
    }

    fn path(&self, shard: usize, extension: &str) -> PathBuf {
        self.folder.join(format!("part_{shard:06}.{extension}"))
    }
}

/// Refuses to go on with another job than this one.
fn check_same(before: &Value, now: &Value) -> Result<()> {
    let flat = |job: &Value| -> Record {
        let mut flat = job.as_object().cloned().unwrap_or_default();
        if let Some(Value::Object(of)) = flat.remove("of") {
            flat.extend(of);
        }
        flat
    };
    let (before, now) = (flat(before), flat(now));
    match now.iter().find(|(key, value)| before.get(*key) != Some(value)) {
        None => Ok(()),
        Some((key, value)) => {
            let before = before.get(key).unwrap_or(&Value::Null);
            Err(Error::config("resume", format!("{key} was {before} and is now {value}: another job")))
        }
    }
}

/// A number that changes with the ids, the places and the records of items.
pub(super) fn fingerprint<'a>(items: impl Iterator<Item = (&'a str, String, &'a Record)>) -> String {
    let mut hash = Fingerprint::new();
    for (id, content, record) in items {
        for part in [id, &content, &Value::Object(record.clone()).to_string()] {
            hash.add(&(part.len() as u64).to_le_bytes());
            hash.add(part.as_bytes());
        }
    }
    hash.finish()
}
