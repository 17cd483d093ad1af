use std::path::{Path, PathBuf};

use super::PretrainedEncoder;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};

/// The files that say what is done to pictures first, and of which kind the tower is.
const PICTURES: [&str; 4] =
    ["config.json", "open_clip_config.json", "preprocessor_config.json", "processor_config.json"];

/// The files that say what an encoder is, beside its weights.
const SETTINGS: [&str; 11] = [
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

impl PretrainedEncoder {
    /// A number that changes with the files of the encoder: settings, tokenizer, processing of pictures, and the sizes and parts
    /// of the weights.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        self.fingerprint_of(&SETTINGS)
    }

    /// As [`fingerprint`](Self::fingerprint), of what rows of pictures depend on.
    pub(super) fn picture_fingerprint(&self) -> Result<String> {
        self.fingerprint_of(&PICTURES)
    }

    fn fingerprint_of(&self, settings: &[&str]) -> Result<String> {
        let mut hash = Fingerprint::new();
        let mut add = |path: &Path, is_weights: bool| {
            let bytes = if is_weights { ends(path) } else { std::fs::read(path) };
            let bytes = bytes.map_err(|source| Error::io(path, source))?;
            hash.add(path.file_name().unwrap_or_default().as_encoded_bytes());
            hash.add(&bytes);
            Ok::<(), Error>(())
        };
        if self.folder.is_file() {
            add(&self.folder, true)?;
            return Ok(hash.finish());
        }
        for name in settings {
            let path = self.folder.join(name);
            if path.is_file() {
                add(&path, false)?;
            }
        }
        let files = self.sorted_files()?;
        let ends_with =
            |path: &PathBuf, end: &str| path.extension().is_some_and(|extension| extension == end);
        // What PyTorch saved as well is not read.
        let weights =
            if files.iter().any(|path| ends_with(path, "safetensors")) { "safetensors" } else { "bin" };
        for path in files.iter().filter(|path| ends_with(path, weights)) {
            add(path, true)?;
        }
        Ok(hash.finish())
    }

    fn sorted_files(&self) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .and_then(|folder| folder.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|source| Error::io(&self.folder, source))?;
        paths.sort();
        Ok(paths)
    }

    /// That of heads on a tower.
    pub(super) fn headed_fingerprint(&self, tower: &str) -> Result<String> {
        let mut hash = Fingerprint::new();
        hash.add(self.fingerprint()?.as_bytes());
        hash.add(tower.as_bytes());
        Ok(hash.finish())
    }
}

/// The size of a file, and its first, middle and last bytes: weights that differ, differ there.
fn ends(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    const BYTES: u64 = 1 << 16;
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let mut found = length.to_le_bytes().to_vec();
    for from in [0, length / 2, length.saturating_sub(BYTES)] {
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(BYTES).read_to_end(&mut found)?;
    }
    Ok(found)
}
