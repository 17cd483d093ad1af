use std::fs;
use std::path::{Path, PathBuf};

use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, FileCheckpointer};

use crate::{Error, Result};

/// The records that make up one checkpoint, by file name.
const RECORDS: [&str; 3] = ["model", "optim", "scheduler"];

/// Burn's checkpointers of model, optimizer and scheduler under `folder`, which is created.
///
/// Each writes its record under another name and renames it: a checkpoint file is complete or it is not there.
///
/// # Errors
///
/// [`Error::Io`] if the folder cannot be made.
pub(crate) fn checkpointers(folder: &Path) -> Result<[NamingCheckpointer; 3]> {
    fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
    Ok(RECORDS.map(|name| NamingCheckpointer {
        files: FileCheckpointer::new(folder, name),
        folder: folder.to_path_buf(),
        name,
    }))
}

/// Burn's checkpointer, whose errors name the file.
pub(crate) struct NamingCheckpointer {
    files: FileCheckpointer,
    folder: PathBuf,
    name: &'static str,
}

impl NamingCheckpointer {
    fn name(&self, segment: usize, error: CheckpointerError) -> CheckpointerError {
        let path = self.folder.join(format!("{}-{segment}.bpk", self.name));
        CheckpointerError::Unknown(format!("{}: {error}", path.display()))
    }
}

impl<R: Checkpoint> Checkpointer<R> for NamingCheckpointer {
    fn save(&self, segment: usize, record: R) -> Result<(), CheckpointerError> {
        self.files.save(segment, record).map_err(|error| self.name(segment, error))
    }

    fn delete(&self, segment: usize) -> Result<(), CheckpointerError> {
        Checkpointer::<R>::delete(&self.files, segment).map_err(|error| self.name(segment, error))
    }

    fn restore(&self, segment: usize) -> Result<R, CheckpointerError> {
        self.files.restore(segment).map_err(|error| self.name(segment, error))
    }
}

/// The files of checkpoint `segment`: model, optimizer, scheduler.
pub(crate) fn checkpoint_files(folder: &Path, segment: usize) -> [PathBuf; 3] {
    RECORDS.map(|name| folder.join(format!("{name}-{segment}.bpk")))
}

/// Deletes what is left of checkpoints after `segment` that were never finished: a run that goes on must not complete
/// them with records of another step.
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be deleted.
pub(crate) fn remove_checkpoints_after(folder: &Path, segment: usize) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = RECORDS.iter().find_map(|record| {
            name.strip_prefix(record)?.strip_prefix('-')?.strip_suffix(".bpk")?.parse::<usize>().ok()
        });
        if number.is_some_and(|number| number > segment) && path.is_file() {
            fs::remove_file(&path).map_err(|source| Error::io(&path, source))?;
        }
    }
    Ok(())
}

/// The newest checkpoint under `folder` of which model, optimizer and scheduler are all there.
pub fn latest_checkpoint(folder: &Path) -> Option<usize> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            entry.ok()?.file_name().to_str()?.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok()
        })
        .filter(|segment| checkpoint_files(folder, *segment).iter().all(|path| path.is_file()))
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
    fn a_checkpoint_counts_once_all_its_records_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let [model, optim, scheduler] = checkpointers(folder.path()).unwrap();
        for (segment, writers) in [(1, vec![&model, &optim, &scheduler]), (2, vec![&model, &optim])] {
            writers.into_iter().for_each(|writer| writer.save(segment, record()).unwrap());
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
