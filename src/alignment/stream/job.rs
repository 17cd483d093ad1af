use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alignment::changed::changed;
use crate::embedding::{Format, RowReport, Shard, Store, output, records};
use crate::{Error, Result, atomic};

/// Where a long job writes, and how far it has come: enough to go on after it was killed.
///
/// It is a JSON file beside the output (`NAME.json`, or `align.json` in a folder) which stays as the record of what was
/// done.
pub(super) struct Job {
    path: PathBuf,
    record: JobRecord,
    saved: Instant,
    every: Duration,
}

#[derive(Serialize, Deserialize)]
struct JobRecord {
    version: u32,
    complete: bool,
    /// What the output depends on; a job goes on only where all of it is the same.
    job: BTreeMap<String, Value>,
    shards: BTreeMap<String, ShardState>,
}

/// How far the writing of one file has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ShardState {
    pub complete: bool,
    /// Rows read and written so far, without gaps.
    #[serde(flatten)]
    pub rows: RowReport,
    /// The numbers of the rows that were left out.
    pub left_out: Vec<usize>,
}

/// Where the aligned rows of each shard of a store go.
pub(super) struct Target {
    /// One file for each shard.
    pub files: Vec<PathBuf>,
    /// The files of records beside them, but for those that are an input's.
    sidecars: Vec<PathBuf>,
    /// The folder that will be a store of its own, where there is one.
    folder: Option<PathBuf>,
    job: PathBuf,
}

impl Target {
    /// A file for a store that is a file, in the folder that is named or of the name itself; else a folder with a file
    /// for each shard, of the same name.
    pub fn new(store: &Store, place: &Path, format: Format) -> Result<Self> {
        let wrong = |detail: String| Error::config("output", detail);
        let is_folder = place.is_dir() || place.as_os_str().to_string_lossy().ends_with('/');
        if !store.is_file() && !is_folder && Format::of(place).is_some() {
            let (shards, place) = (store.shards().len(), place.display());
            return Err(wrong(format!(
                "{place} is the name of one file, but there are {shards}: name a folder"
            )));
        }
        let inside = |shard: &Shard| {
            let stem = shard.path().file_stem().unwrap_or_default();
            place.join(stem).with_added_extension(format.extension())
        };
        let files: Vec<PathBuf> = match store.is_file() && !is_folder {
            true => vec![place.to_path_buf()],
            false => {
                std::fs::create_dir_all(place).map_err(|error| Error::io(place, error))?;
                store.shards().iter().map(inside).collect()
            }
        };
        let mut seen: BTreeMap<&PathBuf, &Path> = BTreeMap::new();
        for (file, shard) in files.iter().zip(store.shards()) {
            if let Some(other) = seen.insert(file, shard.path()) {
                let (one, other) = (shard.path().display(), other.display());
                return Err(wrong(format!("{one} and {other} would both become {}", file.display())));
            }
        }
        let real = |path: &Path| path.canonicalize().ok();
        let sidecars = files.iter().zip(store.shards()).filter(|_| format != Format::Parquet);
        let sidecars = sidecars.map(|(file, shard)| (records::sidecar(file), shard.other_file()));
        let is_own = |new: &Path, own: Option<&Path>| real(new).is_some() && real(new) == own.and_then(real);
        let sidecars = sidecars.filter(|(new, own)| !is_own(new, *own));
        let sidecars = sidecars.map(|(new, _)| new).collect();
        let folder = (!store.is_file()).then(|| place.to_path_buf());
        let job = match &folder {
            Some(folder) => folder.join("align.json"),
            None => files[0].with_added_extension("json"),
        };
        Ok(Self { files, sidecars, folder, job })
    }

    /// Refuses to write over any of these stores.
    pub fn check_not_input(&self, stores: &[&Store]) -> Result<()> {
        let real = |path: &Path| path.canonicalize().ok();
        let shards = stores.iter().flat_map(|store| store.shards());
        for input in shards.flat_map(|shard| [Some(shard.path()), shard.other_file()]).flatten() {
            let input = real(input);
            if let Some(file) = self.files.iter().find(|file| input.is_some() && real(file) == input) {
                return Err(Error::config("output", format!("{} is an input", file.display())));
            }
        }
        Ok(())
    }

    /// Refuses to replace what is there, unless that is asked for or there is a job to go on with; and to write shards
    /// among those of another store.
    pub fn check_free(&self, resume: bool, overwrite: bool) -> Result<()> {
        let wrong = |detail: String| Err(Error::config("output", detail));
        if let Some(other) = self.foreign_file() {
            let other = other.display();
            return wrong(format!(
                "{other} is there, and would be taken for a part of the output: name another folder"
            ));
        }
        let existing = self.files.iter().chain(&self.sidecars).find(|path| path.exists());
        match existing {
            Some(existing) if !(overwrite || resume && self.job.exists()) => {
                let why = if resume { "and there is no record of a job to go on with" } else { "already" };
                wrong(format!("{} is there {why}; `overwrite` replaces it", existing.display()))
            }
            _ => Ok(()),
        }
    }

    /// A file of embeddings in the output's folder that is not part of the output.
    fn foreign_file(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.folder.as_ref()?).ok()?.flatten();
        entries.map(|entry| entry.path()).find(|path| {
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            !hidden && Format::of(path).is_some() && !self.files.contains(path)
        })
    }
}

impl Job {
    /// Begins a job, or goes on with it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where there is output already and neither `resume` nor `overwrite`, or where the job to go on
    /// with is another one.
    pub fn begin(
        target: &Target,
        job: BTreeMap<String, Value>,
        resume: bool,
        overwrite: bool,
        every: Duration,
    ) -> Result<Self> {
        let path = target.job.clone();
        let fresh = JobRecord { version: 1, complete: false, job, shards: BTreeMap::new() };
        let record = match std::fs::read(&path) {
            Ok(bytes) if resume => {
                let record: JobRecord = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::format(&path, error.to_string()))?;
                record.check_same(&fresh, &path)?;
                record
            }
            _ => {
                target.check_free(resume, overwrite)?;
                fresh
            }
        };
        let job = Self { path, record, saved: Instant::now(), every };
        job.save()?;
        Ok(job)
    }

    fn name(file: &Path) -> String {
        file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// How far the writing of `file` has come. A file that is complete must still be there.
    pub fn state(&self, file: &Path) -> ShardState {
        let state = self.record.shards.get(&Self::name(file)).cloned().unwrap_or_default();
        let there = if state.complete { file.exists() } else { output::partial_name(file).exists() };
        if there { state } else { ShardState::default() }
    }

    /// Whether it is time to save how far things have come.
    pub fn is_due(&self) -> bool {
        self.saved.elapsed() >= self.every
    }

    /// Saves how far the writing of `file` has come.
    pub fn update(&mut self, file: &Path, state: &ShardState) -> Result<()> {
        self.record.shards.insert(Self::name(file), state.clone());
        self.saved = Instant::now();
        self.save()
    }

    /// Saves that everything is done.
    pub fn complete(&mut self) -> Result<()> {
        self.record.complete = true;
        self.save()
    }

    fn save(&self) -> Result<()> {
        atomic::write(&self.path, |file| {
            serde_json::to_writer_pretty(&mut *file, &self.record)?;
            std::io::Write::write_all(file, b"\n")
        })
    }
}

impl JobRecord {
    fn check_same(&self, wanted: &Self, path: &Path) -> Result<()> {
        match changed(&self.job, &wanted.job) {
            Some(changed) => {
                Err(Error::format(path, format!("another job: {changed}; `overwrite` begins anew")))
            }
            None => Ok(()),
        }
    }
}

/// What tells the files of a store from those of another: their names, sizes and times.
pub(super) fn identity(store: &Store) -> Value {
    let shards = store.shards().iter().map(|shard| {
        let metadata = std::fs::metadata(shard.path()).ok();
        let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let changed = changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let name = shard.path().display().to_string();
        let mut told = vec![
            serde_json::json!(name),
            serde_json::json!(metadata.map(|m| m.len())),
            serde_json::json!(changed.map(|time| time.as_nanos() as u64)),
        ];
        // How it is read, where that is not the plain way.
        told.extend(shard.reading().map(Value::String));
        Value::Array(told)
    });
    Value::Array(shards.collect())
}
