//! Files of embeddings while they are written: under another name until they are complete.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::records::{self, IdsFingerprint, Record};
use super::{FloatType, Format, npy, positioned, tensors};
use crate::{Error, Result, atomic};

/// A matrix that is being written, by any thread at any place of it.
#[derive(Debug)]
pub(crate) struct MatrixOutput {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    format: Format,
    float: FloatType,
    dim: usize,
    /// Bytes before the first value.
    offset: u64,
}

/// The name of a file while it is written, in the same folder.
pub(crate) fn partial_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

impl MatrixOutput {
    /// Begins a `.npy` or `.safetensors` file, or goes on with what an interrupted writer left.
    pub fn create(path: &Path, format: Format, float: FloatType, dim: usize, resume: bool) -> Result<Self> {
        let partial = partial_name(path);
        let offset = header(format, float, [0, dim as u64], None)?.len() as u64;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(!resume).open(&partial);
        let file = file.map_err(|error| Error::io(&partial, error))?;
        Ok(Self { path: path.to_path_buf(), partial, file, format, float, dim, offset })
    }

    /// Writes stored values from row `first` on.
    pub fn write(&self, first: usize, bytes: &[u8]) -> Result<()> {
        let place = self.offset + (first * self.dim * self.float.size()) as u64;
        positioned::write_at(&self.file, bytes, place).map_err(|error| self.failed(error))
    }

    /// Waits until everything written is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    /// Completes the file of `rows` rows and gives it its name.
    pub fn finish(self, rows: usize, ids: Option<&str>, sync: bool) -> Result<()> {
        let header = header(self.format, self.float, [rows as u64, self.dim as u64], ids)?;
        let length = self.offset + (rows * self.dim * self.float.size()) as u64;
        let complete = || -> std::io::Result<()> {
            positioned::write_at(&self.file, &header, 0)?;
            self.file.set_len(length)?;
            if sync {
                self.file.sync_all()?;
            }
            std::fs::rename(&self.partial, &self.path)
        };
        complete().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io(&self.path, error)
    }
}

fn header(format: Format, float: FloatType, shape: [u64; 2], ids: Option<&str>) -> Result<Vec<u8>> {
    match format {
        Format::Npy => npy::header(float, shape),
        Format::Safetensors => Ok(tensors::header(float, shape, ids)),
        _ => Err(Error::config("format", format!("expected npy or safetensors, found {format}"))),
    }
}

/// Writes the file of records beside a matrix and returns the fingerprint of the ids.
pub(crate) fn write_sidecar(path: &Path, records: impl Iterator<Item = Result<Record>>) -> Result<String> {
    let path = records::sidecar(path);
    let mut fingerprint = IdsFingerprint::new();
    let mut failure = None;
    atomic::write(&path, |file| {
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    failure = Some(error);
                    return Err(std::io::ErrorKind::InvalidData.into());
                }
            };
            fingerprint.add(&records::id(&record).unwrap_or_default());
            serde_json::to_writer(&mut *file, &record)?;
            std::io::Write::write_all(file, b"\n")?;
        }
        Ok(())
    })
    .map_err(|error| failure.unwrap_or(error))?;
    Ok(fingerprint.finish())
}
