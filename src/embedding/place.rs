//! Which files a place means: a file, a folder of shards, what a pattern matches, a folder of clip-retrieval.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Format, Modality, StoreOptions};
use crate::{Error, Result};

/// A file of embeddings, and the Parquet file of what stands beside its rows, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub path: PathBuf,
    pub table: Option<PathBuf>,
}

/// The two halves of a folder of clip-retrieval: `img_emb/img_emb_0.npy`, `text_emb/text_emb_0.npy`, and for both
/// `metadata/metadata_0.parquet`.
const HALVES: [(Modality, &str); 2] = [(Modality::Text, "text_emb"), (Modality::Image, "img_emb")];

/// The files of a place, in the natural order of their names.
pub(super) fn find(place: &Path, options: &StoreOptions) -> Result<Vec<Place>> {
    let paths = if place.is_file() {
        vec![place.to_path_buf()]
    } else if place.is_dir() {
        let half = half(place, options)?;
        let folder = half.as_deref().unwrap_or(place);
        let paths = in_folder(folder)?;
        if paths.is_empty() {
            return Err(nothing_in(folder));
        }
        paths
    } else {
        matches(place)?
    };
    let mut tables = Tables::default();
    let mut places: Vec<Place> = paths
        .into_iter()
        .map(|path| {
            let table = tables.of(&path);
            Place { path, table }
        })
        .collect();
    // Tables that belong to matrices are no shards of their own, if that accounts for all of them.
    let taken: Vec<&PathBuf> = places.iter().filter_map(|place| place.table.as_ref()).collect();
    let is_table = |place: &Place| Format::of(&place.path) == Some(Format::Parquet);
    let belongs = |place: &Place| taken.contains(&&place.path);
    if places.iter().any(|place| !is_table(place))
        && places.iter().filter(|place| is_table(place)).all(belongs)
    {
        places = places.iter().filter(|place| !is_table(place)).cloned().collect();
    }
    // As people number files: e_2 before e_10.
    places
        .sort_by(|a, b| alphanumeric_sort::compare_path(&a.path, &b.path).then_with(|| a.path.cmp(&b.path)));
    Ok(places)
}

/// The half of a folder of clip-retrieval that is wanted, or the only one.
fn half(place: &Path, options: &StoreOptions) -> Result<Option<PathBuf>> {
    let there: Vec<(Modality, PathBuf)> = HALVES
        .iter()
        .map(|(modality, name)| (*modality, place.join(name)))
        .filter(|(_, folder)| folder.is_dir())
        .collect();
    match (there.as_slice(), options.modality) {
        ([], _) => Ok(None),
        ([(_, only)], None) => Ok(Some(only.clone())),
        (halves, Some(wanted)) => match halves.iter().find(|(modality, _)| *modality == wanted) {
            Some((_, folder)) => Ok(Some(folder.clone())),
            None => {
                let missing =
                    HALVES.iter().find(|(modality, _)| *modality == wanted).map_or("", |(_, name)| name);
                Err(Error::format(
                    place,
                    format!("expected a folder {missing} beside {}", halves[0].1.display()),
                ))
            }
        },
        (_, None) => {
            Err(Error::format(place, "there are both img_emb and text_emb: name one of these folders"))
        }
    }
}

/// The files of embeddings in a folder.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let path = entry.map_err(|error| Error::io(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Hidden files are unfinished, and what `datasets` keeps of an earlier map is not the data set.
        let other = name.starts_with('.') || name.starts_with("cache-") && name.ends_with(".arrow");
        if !other && Format::of(&path).is_some() && path.is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Says what else there is in a folder without a file of embeddings.
fn nothing_in(folder: &Path) -> Error {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let has_files = |path: &PathBuf| path.is_dir() && in_folder(path).is_ok_and(|files| !files.is_empty());
    let mut inner: Vec<String> = entries
        .filter(has_files)
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    inner.sort();
    let mut detail = format!("no file of embeddings ({})", Format::EXTENSIONS);
    if !inner.is_empty() {
        detail += &format!("; there are some in {inner:?}: name one of these folders");
    }
    Error::format(folder, detail)
}

/// The files that a pattern matches.
fn matches(place: &Path) -> Result<Vec<PathBuf>> {
    let pattern = place.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        return Err(Error::io(place, std::io::ErrorKind::NotFound.into()));
    }
    let mut paths = Vec::new();
    let found = glob::glob(&pattern).map_err(|error| Error::format(place, error.to_string()))?;
    for path in found {
        let path = path.map_err(|error| {
            let path = error.path().to_path_buf();
            Error::io(path, error.into())
        })?;
        paths.extend(path.is_file().then_some(path));
    }
    if paths.is_empty() {
        return Err(Error::format(place, "the pattern matches no file"));
    }
    Ok(paths)
}

/// Finds the tables of matrices; folders are listed once.
#[derive(Default)]
struct Tables {
    /// The Parquet files of a folder by the number at the end of their names.
    folders: HashMap<PathBuf, HashMap<String, Vec<PathBuf>>>,
    /// The folders of metadata beside folders of embeddings.
    metadata: HashMap<PathBuf, Option<PathBuf>>,
}

impl Tables {
    /// The table of a matrix: `NAME.parquet` beside it, or the only one of its number there or, for `img_emb_N` and
    /// `text_emb_N`, in the folder of metadata beside theirs.
    fn of(&mut self, path: &Path) -> Option<PathBuf> {
        if !matches!(Format::of(path)?, Format::Npy | Format::Safetensors) {
            return None;
        }
        let same = path.with_extension("parquet");
        if same.is_file() {
            return Some(same);
        }
        let folder = path.parent()?;
        let number = number(path)?;
        let stem = path.file_stem()?.to_string_lossy();
        let is_half = |(_, name): &(Modality, &str)| stem.starts_with(*name);
        let metadata = HALVES.iter().any(is_half).then(|| self.metadata_beside(folder)).flatten();
        let folders = [metadata.as_deref(), Some(folder)];
        let mut found = folders.into_iter().flatten().filter_map(|folder| self.numbered(folder, &number));
        found.next()
    }

    /// The folder of metadata beside a folder of embeddings: `metadata`, or the only one whose name ends so.
    fn metadata_beside(&mut self, folder: &Path) -> Option<PathBuf> {
        let found = self.metadata.entry(folder.to_path_buf()).or_insert_with(|| {
            let absolute = folder.canonicalize().ok()?;
            let place = absolute.parent()?;
            let plain = place.join("metadata");
            if plain.is_dir() {
                return Some(plain);
            }
            let entries = std::fs::read_dir(place).ok()?.flatten().map(|entry| entry.path());
            let ends_so = |path: &PathBuf| {
                path.is_dir()
                    && path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-metadata"))
            };
            let mut folders = entries.filter(ends_so);
            folders.next().filter(|_| folders.next().is_none())
        });
        found.clone()
    }

    fn numbered(&mut self, folder: &Path, wanted: &str) -> Option<PathBuf> {
        let tables = self.folders.entry(folder.to_path_buf()).or_insert_with(|| {
            let mut tables: HashMap<String, Vec<PathBuf>> = HashMap::new();
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
                let path = folder.join(entry.file_name());
                if Format::of(&path) == Some(Format::Parquet)
                    && let Some(number) = number(&path)
                {
                    tables.entry(number).or_default().push(path);
                }
            }
            tables
        });
        match tables.get(wanted)?.as_slice() {
            [only] if !has_embedding(only) => Some(only.clone()),
            _ => None,
        }
    }
}

/// Whether a table holds embeddings itself, and so may belong to another set.
#[cfg(feature = "parquet")]
fn has_embedding(path: &Path) -> bool {
    super::parquet::ParquetTable::open(path).is_ok_and(|table| table.has_embedding())
}

#[cfg(not(feature = "parquet"))]
fn has_embedding(path: &Path) -> bool {
    !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("metadata"))
}

/// The digits at the end of a name without its extension, where they are a part of their own, as they are written but for
/// zeros before them.
fn number(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let name = stem.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let digits = &stem[name.len()..];
    if digits.is_empty() || name.ends_with(|last: char| last.is_alphanumeric()) {
        return None;
    }
    let number = digits.trim_start_matches('0');
    Some(if number.is_empty() { "0" } else { number }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_end_of_names() {
        for (name, expected) in [("img_emb_0.npy", "0"), ("a/metadata_0010.parquet", "10"), ("7.npy", "7")] {
            assert_eq!(number(Path::new(name)).as_deref(), Some(expected), "{name}");
        }
        for name in ["emb_0_x.npy", "rows_int8.npy", "f16.parquet", "a.npy"] {
            assert_eq!(number(Path::new(name)), None, "{name}");
        }
    }
}
