use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::WeightSource;
use super::safetensors::SafetensorsFile;
use crate::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights of a Hugging Face folder: `model.safetensors`, or shards and their index. Values are read when they are
/// asked for.
#[derive(Debug)]
pub(crate) struct Shards {
    folder: PathBuf,
    files: Vec<SafetensorsFile>,
    /// The file of each weight, by its place in `files`.
    by_name: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Opens the files of a folder and compares their headers with the index, where there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file; [`Error::Format`] for a damaged one, for an index that names files outside the
    /// folder, and where index and files do not hold the same weights.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let mut shards = Self { folder: folder.to_path_buf(), files: Vec::new(), by_name: HashMap::new() };
        let index_path = folder.join(INDEX);
        if !index_path.exists() {
            shards.add(&folder.join(SINGLE))?;
            return Ok(shards);
        }
        let wrong = |detail: String| Error::format(&index_path, detail);
        let json = std::fs::read(&index_path).map_err(|source| Error::io(&index_path, source))?;
        let index: Index = serde_json::from_slice(&json).map_err(|source| wrong(source.to_string()))?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        for name in names {
            // The index comes from the network: it must not lead out of the folder.
            if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) {
                return Err(wrong(format!("expected the name of a file in the folder, found {name:?}")));
            }
            shards.add(&folder.join(name))?;
        }
        for (weight, file) in &index.weight_map {
            let found = shards.by_name.get(weight).map(|file| shards.files[*file].path());
            match found.and_then(Path::file_name) {
                Some(found) if found == file.as_str() => {}
                Some(found) => {
                    return Err(wrong(format!("{weight:?}: expected in {file:?}, found in {found:?}")));
                }
                None => return Err(wrong(format!("{weight:?}: expected in {file:?}, found none"))),
            }
        }
        match shards.by_name.keys().find(|name| !index.weight_map.contains_key(*name)) {
            Some(name) => Err(wrong(format!("a shard holds {name:?}, which the index does not name"))),
            None => Ok(shards),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = SafetensorsFile::open(path)?;
        for name in file.names() {
            if let Some(other) = self.by_name.insert(name.clone(), self.files.len()) {
                let other = self.files[other].path().display();
                return Err(Error::format(
                    path,
                    format!("{name:?}: expected in one file, found in {other} too"),
                ));
            }
        }
        self.files.push(file);
        Ok(())
    }
}

impl WeightSource for Shards {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(file) = self.by_name.get(name).map(|file| &self.files[*file]) else {
            return Err(Error::format(&self.folder, format!("no weight {name:?}")));
        };
        let found = file.shape(name)?;
        if found != shape {
            let detail = format!("{name:?}: expected shape {shape:?}, found {found:?}");
            return Err(Error::format(file.path(), detail));
        }
        Ok(file.read(name)?.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::FloatType;
    use crate::weights::array::ArrayView;
    use crate::weights::safetensors;

    /// What is read from two shards, of the weights `one` and `two` and of this one, and this index of weights and files.
    fn open(second: &str, index: &[(&str, &str)]) -> Result<Vec<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let array = |name: &str, values| ArrayView { name: name.into(), shape: vec![2], values };
        for (file, arrays) in [
            ("a.safetensors", vec![array("one", &[1.0; 2]), array("two", &[2.0; 2])]),
            ("b.safetensors", vec![array(second, &[3.0; 2])]),
        ] {
            safetensors::write(&folder.path().join(file), &arrays, FloatType::F16).unwrap();
        }
        let map: BTreeMap<_, _> = index.iter().copied().collect();
        let json = serde_json::json!({ "weight_map": map }).to_string();
        std::fs::write(folder.path().join(INDEX), json).unwrap();
        let shards = Shards::open(folder.path())?;
        let wrong = shards.read(second, &[1, 2]).unwrap_err().to_string();
        assert!(wrong.contains("b.safetensors") && wrong.contains("[1, 2], found [2]"), "{wrong}");
        assert!(shards.read("four", &[2]).unwrap_err().to_string().contains("no weight \"four\""));
        Ok(["one", "two", second].map(|name| shards.read(name, &[2]).unwrap()).concat())
    }

    #[test]
    fn index_and_shards_hold_the_same_weights() {
        let [one, two] = ["one", "two"].map(|name| (name, "a.safetensors"));
        let three = ("three", "b.safetensors");
        assert_eq!(open("three", &[one, two, three]).unwrap(), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        for (index, expected) in [
            (&[one, three][..], "\"two\", which the index does not name"),
            (&[one, two, ("three", "a.safetensors")], "\"three\": expected in \"a.safetensors\", found none"),
            (&[one, ("two", "b.safetensors"), three], "\"two\": expected in \"b.safetensors\", found in"),
            (
                &[one, two, three, ("four", "b.safetensors")],
                "\"four\": expected in \"b.safetensors\", found none",
            ),
            (&[one, two, ("three", "c.safetensors")], "c.safetensors"),
            (&[one, two, ("three", "../b.safetensors")], "found \"../b.safetensors\""),
        ] {
            let error = open("three", index).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let twice = open("two", &[one, two, ("three", "b.safetensors")]).unwrap_err().to_string();
        assert!(twice.contains("\"two\": expected in one file, found in"), "{twice}");
    }
}
