use std::fs;
use std::path::{Path, PathBuf};

use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, FileCheckpointer};

use crate::{Error, Result};

/// The records that make up one checkpoint, by file name.
const RECORDS: [&str; 3] = ["model", "optim", "scheduler"];

/// Burn's checkpointers of model, optimizer and scheduler under `folder`, which is created.
///
/// Each writes its record under a temporary name and renames it: a checkpoint file is complete, or absent.
///
/// # Errors
///
/// [`Error::Io`] where the folder cannot be created.
pub(crate) fn checkpointers(folder: &Path) -> Result<[NamingCheckpointer; 3]> {
    fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
    Ok(RECORDS.map(|name| NamingCheckpointer {
        files: FileCheckpointer::new(folder, name),
        folder: folder.to_path_buf(),
        name,
    }))
}

/// Burn's checkpointer, with errors that name the file.
pub(crate) struct NamingCheckpointer {
    files: FileCheckpointer,
    folder: PathBuf,
    name: &'static str,
}

impl NamingCheckpointer {
    fn name(&self, checkpoint: usize, error: CheckpointerError) -> CheckpointerError {
        let path = self.folder.join(format!("{}-{checkpoint}.bpk", self.name));
        CheckpointerError::Unknown(format!("{}: {error}", path.display()))
    }
}

impl<R: Checkpoint> Checkpointer<R> for NamingCheckpointer {
    fn save(&self, checkpoint: usize, record: R) -> Result<(), CheckpointerError> {
        self.files.save(checkpoint, record).map_err(|error| self.name(checkpoint, error))
    }

    fn delete(&self, checkpoint: usize) -> Result<(), CheckpointerError> {
        Checkpointer::<R>::delete(&self.files, checkpoint).map_err(|error| self.name(checkpoint, error))
    }

    fn restore(&self, checkpoint: usize) -> Result<R, CheckpointerError> {
        self.files.restore(checkpoint).map_err(|error| self.name(checkpoint, error))
    }
}

/// The files of checkpoint `checkpoint`: model, optimizer, scheduler.
pub(crate) fn checkpoint_files(folder: &Path, checkpoint: usize) -> [PathBuf; 3] {
    RECORDS.map(|name| folder.join(format!("{name}-{checkpoint}.bpk")))
}

/// Deletes the records of later, unfinished checkpoints: a resumed run must not complete them with records of another
/// step.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be deleted.
pub(crate) fn remove_checkpoints_after(folder: &Path, checkpoint: usize) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = RECORDS.iter().find_map(|record| {
            name.strip_prefix(record)?.strip_prefix('-')?.strip_suffix(".bpk")?.parse::<usize>().ok()
        });
        if number.is_some_and(|number| number > checkpoint) && path.is_file() {
            fs::remove_file(&path).map_err(|source| Error::io(&path, source))?;
        }
    }
    Ok(())
}

/// The newest checkpoint under `folder` with all of its records: model, optimizer and scheduler.
pub(crate) fn latest_checkpoint(folder: &Path) -> Option<usize> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            entry.ok()?.file_name().to_str()?.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok()
        })
        .filter(|checkpoint| checkpoint_files(folder, *checkpoint).iter().all(|path| path.is_file()))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::LinearConfig;
    use burn::store::ModuleRecord;
    use burn::tensor::Device;
    use burn::train::checkpoint::Checkpointer;

    fn record() -> ModuleRecord {
        LinearConfig::new(2, 2).init(&Device::default()).into_record()
    }

    #[test]
    fn a_checkpoint_counts_once_all_its_records_exist() {
        let folder = tempfile::tempdir().unwrap();
        let [model, optim, scheduler] = checkpointers(folder.path()).unwrap();
        for (checkpoint, writers) in [(1, vec![&model, &optim, &scheduler]), (2, vec![&model, &optim])] {
            writers.into_iter().for_each(|writer| writer.save(checkpoint, record()).unwrap());
        }
        assert_eq!(latest_checkpoint(folder.path()), Some(1));
        scheduler.save(2, record()).unwrap();
        assert_eq!(latest_checkpoint(folder.path()), Some(2));
        Checkpointer::<ModuleRecord>::delete(&model, 2).unwrap();
        assert_eq!(latest_checkpoint(folder.path()), Some(1));
    }

    #[test]
    fn unfinished_checkpoints_are_not_completed_by_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let [model, optim, scheduler] = checkpointers(folder.path()).unwrap();
        [&model, &optim, &scheduler].into_iter().for_each(|writer| writer.save(1, record()).unwrap());
        model.save(2, record()).unwrap();
        remove_checkpoints_after(folder.path(), 1).unwrap();
        [&optim, &scheduler].into_iter().for_each(|writer| writer.save(2, record()).unwrap());
        assert_eq!(latest_checkpoint(folder.path()), Some(1));
    }

    #[test]
    fn a_failed_save_leaves_the_old_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [model, ..] = checkpointers(folder.path()).unwrap();
        model.save(3, record()).unwrap();
        let before = fs::read(folder.path().join("model-3.bpk")).unwrap();
        let lost = folder.path().join("lost");
        let [elsewhere, ..] = checkpointers(&lost).unwrap();
        fs::remove_dir(&lost).unwrap();
        assert!(elsewhere.save(3, record()).is_err());
        assert_eq!(fs::read(folder.path().join("model-3.bpk")).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
