use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Error, Result, atomic};

/// After how many optimizer steps each checkpoint of a run was written: a run that is asked to stop writes one between
/// its regular checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct StepJournal {
    path: PathBuf,
    steps: BTreeMap<usize, usize>,
}

impl StepJournal {
    /// The journal in the checkpoints' folder; empty where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where it exists and cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("steps.json");
        let steps = match std::fs::read(&path) {
            Ok(json) => {
                serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))?
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(Error::io(&path, source)),
        };
        Ok(Self { path, steps })
    }

    /// The number of steps before `checkpoint`.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the journal has no entry for the checkpoint.
    pub fn steps(&self, checkpoint: usize) -> Result<usize> {
        self.steps
            .get(&checkpoint)
            .copied()
            .ok_or_else(|| Error::format(&self.path, format!("no entry for checkpoint {checkpoint}")))
    }

    /// Records a checkpoint that is about to be written, and drops the entries of later ones, which were never finished.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the journal cannot be written.
    pub fn record(&mut self, checkpoint: usize, steps: usize) -> Result<()> {
        self.steps.split_off(&checkpoint);
        self.steps.insert(checkpoint, steps);
        let json = serde_json::to_vec(&self.steps).expect("numbers are plain data");
        atomic::write(&self.path, |file| file.write_all(&json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_checkpoints_are_found_again_and_unknown_checkpoints_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = StepJournal::open(folder.path()).unwrap();
        for (checkpoint, steps) in [(1, 500), (2, 873), (3, 1000), (2, 900)] {
            journal.record(checkpoint, steps).unwrap();
        }
        let journal = StepJournal::open(folder.path()).unwrap();
        assert_eq!((journal.steps(1).unwrap(), journal.steps(2).unwrap()), (500, 900));
        assert!(journal.steps(3).unwrap_err().to_string().contains("checkpoint 3"));
        std::fs::write(folder.path().join("steps.json"), "{").unwrap();
        assert!(StepJournal::open(folder.path()).unwrap_err().to_string().contains("steps.json"));
    }
}
