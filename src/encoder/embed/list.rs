use std::collections::HashMap;
use std::path::Path;
#[cfg(feature = "image")]
use std::path::PathBuf;

use serde_json::Value;

use super::rows::{file_rows, text_of};
use crate::embedding::Record;
use crate::{Error, Result};

/// A picture or a text to embed: its id, and what else stands beside its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<T> {
    /// Its id, which no other has.
    pub id: String,
    /// The picture's place, or the text.
    pub content: T,
    /// Captions and whatever else is written beside the row; so is the path of a picture.
    pub record: Record,
}

/// Texts to embed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextList {
    items: Vec<Item<String>>,
}

/// Names of fields that texts stand in, the likeliest first.
const TEXT_FIELDS: [&str; 4] = ["text", "caption", "title", "label"];

impl TextList {
    /// A list of these texts.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateId`] for an id of two texts.
    pub fn new(items: Vec<Item<String>>) -> Result<Self> {
        check_ids("texts", &items)?;
        Ok(Self { items })
    }

    /// Reads the texts of a file: the lines of a `.txt` file, the objects of a `.jsonl` file, the rows of a `.csv` or `.tsv`
    /// file with a header, or with the feature `parquet` those of a `.parquet` file.
    ///
    /// The text stands in the field `text_field`, by default `text`, `caption`, `title` or `label`; the id in `id_field`,
    /// by default `id`, and is the number of the row where there is none. All other fields travel along.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] with file and row where something cannot be read or has no text;
    /// [`Error::DuplicateId`] for an id of two rows.
    pub fn read(path: &Path, text_field: Option<&str>, id_field: Option<&str>) -> Result<Self> {
        let mut items = Vec::new();
        for (row, record) in file_rows(path)?.enumerate() {
            let record = record?;
            let field = field(path, row, &record, text_field, &TEXT_FIELDS, "the text")?;
            let text = text_of(&record[&field]).expect("the field is text");
            items.push(Item { id: id(path, row, &record, id_field)?, content: text, record });
        }
        check_ids(&path.display().to_string(), &items)?;
        Ok(Self { items })
    }

    /// The texts.
    pub fn items(&self) -> &[Item<String>] {
        &self.items
    }
}

/// The field of a record that is asked for, or the first of the usual ones.
fn field(
    path: &Path,
    row: usize,
    record: &Record,
    asked: Option<&str>,
    usual: &[&str],
    what: &str,
) -> Result<String> {
    let has_text = |name: &str| record.get(name).and_then(text_of).is_some();
    let found = match asked {
        Some(name) => Some(name).filter(|name| has_text(name)),
        None => usual.iter().copied().find(|name| has_text(name)),
    };
    found.map(str::to_string).ok_or_else(|| {
        let expected = asked.map_or_else(|| usual.join(", "), |name| format!("{name:?}"));
        let fields: Vec<&String> = record.keys().collect();
        Error::format(path, format!("row {row}: expected {what} in {expected}, found the fields {fields:?}"))
    })
}

/// The id of a record, or its number.
fn id(path: &Path, row: usize, record: &Record, asked: Option<&str>) -> Result<String> {
    match record.get(asked.unwrap_or("id")) {
        Some(Value::String(id)) => Ok(id.clone()),
        Some(Value::Number(id)) if id.is_u64() || id.is_i64() => Ok(id.to_string()),
        None if asked.is_none() => Ok(row.to_string()),
        found => {
            let detail = format!(
                "row {row}: expected text or a whole number in {:?}, found {}",
                asked.unwrap_or("id"),
                found.unwrap_or(&Value::Null)
            );
            Err(Error::format(path, detail))
        }
    }
}

/// Refuses two items of one id.
fn check_ids<T>(what: &str, items: &[Item<T>]) -> Result<()> {
    let mut seen = HashMap::with_capacity(items.len());
    for (row, item) in items.iter().enumerate() {
        if let Some(first) = seen.insert(item.id.as_str(), row) {
            let (what, id) = (what.to_string(), item.id.clone());
            return Err(Error::DuplicateId { what, id, first, second: row });
        }
    }
    Ok(())
}

/// Where the bytes of a picture are.
#[cfg(feature = "image")]
#[derive(Clone, Debug, PartialEq)]
pub enum PicturePlace {
    /// A file.
    File(PathBuf),
    /// Some bytes of an archive: the place of the archive among those of the list, the first byte, and their number.
    Archive(usize, u64, u64),
}

/// Pictures to embed: files, or members of tars.
#[cfg(feature = "image")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PictureList {
    items: Vec<Item<PicturePlace>>,
    archives: Vec<PathBuf>,
}

/// Names of fields that the paths of pictures stand in, the likeliest first.
#[cfg(feature = "image")]
const PATH_FIELDS: [&str; 6] = ["image", "path", "image_path", "file_name", "file", "filename"];

/// Endings of the names of pictures.
#[cfg(feature = "image")]
const EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "jfif"];

#[cfg(feature = "image")]
impl PictureList {
    /// Finds pictures, in this order:
    ///
    /// * a folder has all pictures in it and in its folders, by the endings of their names, in natural order (`2.jpg` before
    ///   `10.jpg`); an id is the path from the folder;
    /// * a pattern such as `photos/*.jpg` has the files of these names; an id is the path;
    /// * a `.txt` file names a picture a line, and a `.jsonl`, `.csv`, `.tsv` or `.parquet` file one a row, in the field `path_field` (by
    ///   default `image`, `path`, `image_path`, `file_name`, `file` or `filename`); paths begin at the folder of the file. The
    ///   id is that of `id_field`, by default `id`, or the path; all other fields travel along;
    /// * a `.tar` file is read as a WebDataset: `KEY.jpg` with its caption in `KEY.txt`, and fields in `KEY.json`; an id is
    ///   the key. Several tars may be named by a pattern;
    /// * any other file is a picture.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for what cannot be read; [`Error::Config`] for a pattern or folder without
    /// pictures; [`Error::DuplicateId`] for an id of two pictures.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::encoder::PictureList;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let folder = tempfile::tempdir()?;
    /// std::fs::create_dir(folder.path().join("b"))?;
    /// for name in ["a10.jpg", "a2.jpg", "b/c.png", "notes.md"] {
    ///     std::fs::write(folder.path().join(name), "")?;
    /// }
    /// let list = PictureList::find(&[folder.path().into()], None, None)?;
    /// let ids: Vec<&str> = list.items().iter().map(|item| item.id.as_str()).collect();
    /// assert_eq!(ids, ["a2.jpg", "a10.jpg", "b/c.png"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn find(places: &[PathBuf], path_field: Option<&str>, id_field: Option<&str>) -> Result<Self> {
        let mut list = Self::default();
        for place in places {
            list.add(place, path_field, id_field)?;
        }
        check_ids("pictures", &list.items)?;
        Ok(list)
    }

    /// The pictures.
    pub fn items(&self) -> &[Item<PicturePlace>] {
        &self.items
    }

    /// What is written beside the row of a picture: its record, with the path of its file.
    pub(super) fn record(item: &Item<PicturePlace>) -> Record {
        let mut record = item.record.clone();
        if let PicturePlace::File(path) = &item.content {
            record.entry("path").or_insert_with(|| Value::String(path.to_string_lossy().into_owned()));
        }
        record
    }

    /// The bytes of a picture, read into `bytes`, and what to call it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where they cannot be read, as from an archive that was longer when it was listed.
    pub fn read(&self, item: &Item<PicturePlace>, bytes: &mut Vec<u8>) -> Result<PathBuf> {
        let path = self.file(&item.content);
        let io = |source| Error::io(&path, source);
        match &item.content {
            PicturePlace::File(path) => {
                *bytes = std::fs::read(path).map_err(io)?;
                Ok(path.clone())
            }
            PicturePlace::Archive(_, offset, length) => {
                bytes.resize(*length as usize, 0);
                let file = std::fs::File::open(&path).map_err(io)?;
                crate::embedding::positioned::read_at(&file, bytes, *offset).map_err(io)?;
                Ok(path.join(&item.id))
            }
        }
    }

    /// The file that a picture is, or is in.
    fn file(&self, place: &PicturePlace) -> PathBuf {
        match place {
            PicturePlace::File(path) => path.clone(),
            PicturePlace::Archive(archive, ..) => self.archives[*archive].clone(),
        }
    }

    fn add(&mut self, place: &Path, path_field: Option<&str>, id_field: Option<&str>) -> Result<()> {
        if place.is_dir() {
            let mut found = Vec::new();
            walk(place, &mut found)?;
            if found.is_empty() {
                let detail = format!(
                    "{}: no picture in it, by the endings {}",
                    place.display(),
                    EXTENSIONS.join(", ")
                );
                return Err(Error::config("images", detail));
            }
            found.sort_by(|a, b| alphanumeric_sort::compare_path(a, b));
            for path in found {
                let id = path.strip_prefix(place).unwrap_or(&path).to_string_lossy().into_owned();
                self.push_file(id, path, Record::new());
            }
            return Ok(());
        }
        if !place.exists() {
            let pattern = place.to_string_lossy();
            let found = glob::glob(&pattern)
                .map_err(|error| Error::config("images", format!("{pattern}: {error}")))?;
            let mut found: Vec<PathBuf> = found
                .collect::<Result<_, _>>()
                .map_err(|error| Error::io(error.path(), std::io::Error::from(error.error().kind())))?;
            if found.is_empty() {
                return Err(Error::io(place, std::io::Error::from(std::io::ErrorKind::NotFound)));
            }
            found.sort_by(|a, b| alphanumeric_sort::compare_path(a, b));
            return found.iter().try_for_each(|path| self.add(path, path_field, id_field));
        }
        let extension = place.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "tar" => self.add_archive(place),
            "txt" | "jsonl" | "csv" | "tsv" | "parquet" => self.add_rows(place, path_field, id_field),
            _ => {
                self.push_file(place.to_string_lossy().into_owned(), place.to_path_buf(), Record::new());
                Ok(())
            }
        }
    }

    fn push_file(&mut self, id: String, path: PathBuf, record: Record) {
        self.items.push(Item { id, content: PicturePlace::File(path), record });
    }

    fn add_rows(&mut self, place: &Path, path_field: Option<&str>, id_field: Option<&str>) -> Result<()> {
        let base = place.parent().unwrap_or(Path::new(""));
        // A line of a list is a path.
        let is_list = place.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt"));
        for (row, record) in file_rows(place)?.enumerate() {
            let mut record = record?;
            let (name, asked) = match is_list {
                true => ("text".to_string(), None),
                false => {
                    (field(place, row, &record, path_field, &PATH_FIELDS, "the path of a picture")?, id_field)
                }
            };
            let path = text_of(&record[&name]).expect("the field is text");
            let id = match asked.is_some() || record.contains_key("id") {
                true => id(place, row, &record, asked)?,
                false => path.clone(),
            };
            if is_list {
                record.clear();
            }
            self.push_file(id, base.join(&path), record);
        }
        Ok(())
    }

    /// The pictures of a WebDataset, and what stands beside them under the same key.
    fn add_archive(&mut self, place: &Path) -> Result<()> {
        let io = |source| Error::io(place, source);
        let damaged = |error: std::io::Error| Error::format(place, format!("not a tar: {error}"));
        let archive = self.archives.len();
        self.archives.push(place.to_path_buf());
        let file = std::fs::File::open(place).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut tar = tar::Archive::new(file);
        let mut current: Option<Item<Option<PicturePlace>>> = None;
        for entry in tar.entries_with_seek().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            // The key ends at the first point of the file's name.
            let start = name.rfind('/').map_or(0, |at| at + 1);
            let Some(point) = name[start..].find('.').filter(|point| *point > 0) else { continue };
            let (key, extension) = (&name[..start + point], name[start + point + 1..].to_lowercase());
            if current.as_ref().is_some_and(|item| item.id != key) {
                self.finish(&mut current);
            }
            let item = current.get_or_insert_with(|| Item {
                id: key.to_string(),
                content: None,
                record: Record::new(),
            });
            let (size, start_of_bytes) = (entry.size(), entry.raw_file_position());
            if start_of_bytes.checked_add(size).is_none_or(|end| end > length) {
                let detail =
                    format!("{name:?}: expected {size} bytes, and the archive ends before: it was cut off");
                return Err(Error::format(place, detail));
            }
            match extension.as_str() {
                extension if EXTENSIONS.contains(&extension) => {
                    item.content = Some(PicturePlace::Archive(archive, start_of_bytes, size));
                }
                "txt" | "caption" | "json" => {
                    const LONGEST: u64 = 1 << 20;
                    if size > LONGEST {
                        let detail = format!(
                            "{name:?}: expected at most {LONGEST} bytes beside a picture, found {size}"
                        );
                        return Err(Error::format(place, detail));
                    }
                    let mut text = Vec::new();
                    std::io::Read::read_to_end(&mut entry, &mut text).map_err(damaged)?;
                    let text = String::from_utf8_lossy(&text);
                    if extension == "json" {
                        let fields: Record = serde_json::from_str(&text)
                            .map_err(|error| Error::format(place, format!("{name:?}: {error}")))?;
                        item.record.extend(fields.into_iter().filter(|(field, _)| field != "id"));
                    } else {
                        item.record.insert("caption".to_string(), Value::String(text.trim().to_string()));
                    }
                }
                _ => {}
            }
        }
        self.finish(&mut current);
        Ok(())
    }

    /// Takes in a key of an archive, where it has a picture.
    fn finish(&mut self, current: &mut Option<Item<Option<PicturePlace>>>) {
        if let Some(Item { id, content: Some(content), record }) = current.take() {
            self.items.push(Item { id, content, record });
        }
    }
}

/// All pictures in a folder and in its folders.
#[cfg(feature = "image")]
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| Error::io(folder, source);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if is_hidden {
            continue;
        } else if path.is_dir() {
            // Links between folders may lead in a circle.
            if !path.is_symlink() {
                walk(&path, found)?;
            }
        } else if EXTENSIONS.contains(&extension.as_str()) {
            found.push(path);
        }
    }
    Ok(())
}
