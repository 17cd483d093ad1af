use std::fs::File;
use std::path::Path;

use crate::embedding::{Format, Shard, positioned};
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};

/// Bytes at either end of a file that are looked at.
const END: u64 = 64 << 10;

/// The fingerprint of [`super::StoreLookup::fingerprint`].
///
/// # Errors
///
/// [`Error::Io`] where a file cannot be read, [`Error::Format`] where it has changed since it was opened.
pub(super) fn fingerprint(shards: &[Shard]) -> Result<String> {
    let mut hash = Fingerprint::new();
    let folder = common_folder(shards);
    for shard in shards {
        let name = shard.path().strip_prefix(folder).unwrap_or(shard.path());
        let names: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
        add(&mut hash, names.join("/").as_bytes());
        add(&mut hash, shard.choice().as_bytes());
        let file = shard.original()?;
        shard.check_unchanged(&file)?;
        add_ends(&mut hash, shard.path(), &file)?;
        if matches!(shard.format(), Format::Npy | Format::Safetensors | Format::Npz | Format::Torch) {
            let ids = shard.other_file();
            add(&mut hash, &[u8::from(ids.is_some())]);
            if let Some(path) = ids {
                let ids = File::open(path).map_err(|error| Error::io(path, error))?;
                add_ends(&mut hash, path, &ids)?;
            }
        }
    }
    Ok(hash.finish())
}

/// The innermost folder in which all files lie.
fn common_folder(shards: &[Shard]) -> &Path {
    let mut parents = shards.iter().map(|shard| shard.path().parent().unwrap_or(Path::new("")));
    let first = parents.next().unwrap_or(Path::new(""));
    parents.fold(first, |folder, parent| {
        folder.ancestors().find(|folder| parent.starts_with(folder)).unwrap_or(Path::new(""))
    })
}

/// The length of a file and the bytes at both of its ends.
fn add_ends(hash: &mut Fingerprint, path: &Path, file: &File) -> Result<()> {
    let mut ends = || -> std::io::Result<()> {
        let length = file.metadata()?.len();
        hash.add(&length.to_le_bytes());
        let mut bytes = vec![0; length.min(END) as usize];
        for start in [0, length - bytes.len() as u64] {
            positioned::read_at(file, &mut bytes, start)?;
            hash.add(&bytes);
        }
        Ok(())
    };
    ends().map_err(|error| Error::io(path, error))
}

/// Text of any length, so that no two lists of texts look alike.
fn add(hash: &mut Fingerprint, text: &[u8]) {
    hash.add(&(text.len() as u64).to_le_bytes());
    hash.add(text);
}
