use std::fs;
use std::path::{Path, PathBuf};

use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};

use crate::atomic;

/// The records that make up one checkpoint, by file name.
const RECORDS: [&str; 3] = ["model", "optim", "scheduler"];

/// Writes a record to a temporary file, flushes it to the disk, then renames it: a checkpoint file is complete
/// or it is not there.
pub struct AtomicCheckpointer {
    directory: PathBuf,
    name: &'static str,
}

impl AtomicCheckpointer {
    /// The checkpointers of model, optimizer and scheduler under `directory`, which is created.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if the folder cannot be made.
    pub fn for_run(directory: &Path) -> crate::Result<[Self; 3]> {
        fs::create_dir_all(directory).map_err(|source| crate::Error::io(directory, source))?;
        Ok(RECORDS.map(|name| Self { directory: directory.to_path_buf(), name }))
    }

    fn path(&self, segment: usize) -> PathBuf {
        record_path(&self.directory, self.name, segment)
    }
}

fn record_path(directory: &Path, name: &str, segment: usize) -> PathBuf {
    directory.join(format!("{name}-{segment}.bpk"))
}

/// The newest segment under `directory` of which model, optimizer and scheduler are all there.
pub fn latest_checkpoint(directory: &Path) -> Option<usize> {
    fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| {
            entry.ok()?.file_name().to_str()?.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok()
        })
        .filter(|segment| RECORDS.iter().all(|name| record_path(directory, name, *segment).is_file()))
        .max()
}

impl<R: Checkpoint> Checkpointer<R> for AtomicCheckpointer {
    fn save(&self, segment: usize, record: R) -> Result<(), CheckpointerError> {
        let path = self.path(segment);
        let written = atomic::write_at(
            &path,
            |temporary| record.save(temporary.to_path_buf()),
            CheckpointerError::IOError,
        );
        written.map_err(|error| CheckpointerError::Unknown(format!("{}: {error}", path.display())))
    }

    fn restore(&self, segment: usize) -> Result<R, CheckpointerError> {
        let path = self.path(segment);
        R::load(path.clone())
            .map_err(|error| CheckpointerError::Unknown(format!("{}: {error}", path.display())))
    }

    fn delete(&self, segment: usize) -> Result<(), CheckpointerError> {
        match fs::remove_file(self.path(segment)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CheckpointerError::IOError(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::LinearConfig;
    use burn::store::ModuleRecord;
    use burn::tensor::Device;

    #[test]
    fn a_checkpoint_counts_once_all_its_records_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let [model, optim, scheduler] = AtomicCheckpointer::for_run(directory.path()).unwrap();
        let record = || LinearConfig::new(2, 2).init(&Device::default()).into_record();
        for (segment, checkpointers) in [(1, vec![&model, &optim, &scheduler]), (2, vec![&model, &optim])] {
            for checkpointer in checkpointers {
                checkpointer.save(segment, record()).unwrap();
            }
        }
        assert_eq!(latest_checkpoint(directory.path()), Some(1));
        scheduler.save(2, record()).unwrap();
        assert_eq!(latest_checkpoint(directory.path()), Some(2));
        Checkpointer::<ModuleRecord>::delete(&model, 2).unwrap();
        assert_eq!(latest_checkpoint(directory.path()), Some(1));
    }

    #[test]
    fn a_failed_save_leaves_nothing_and_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let [model, ..] = AtomicCheckpointer::for_run(&directory.path().join("run")).unwrap();
        fs::remove_dir(directory.path().join("run")).unwrap();
        let record = LinearConfig::new(2, 2).init(&Device::default()).into_record();
        let error = model.save(3, record).unwrap_err();
        assert!(error.to_string().contains("model-3.bpk"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
