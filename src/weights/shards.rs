use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::WeightSource;
use super::safetensors::SafetensorsFile;
use super::torch::TorchFile;
use crate::{Error, Result};

/// The file of a whole model and the index of its shards, in the order in which `transformers` looks for them.
const FILES: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// The weights of a Hugging Face folder: `model.safetensors`, or shards and their index, or the same as PyTorch saves
/// them, `pytorch_model.bin`. Values are read when they are asked for.
pub(crate) struct Shards {
    folder: PathBuf,
    files: Vec<ShardFile>,
    /// The file of each weight, by its place in `files`.
    by_name: HashMap<String, usize>,
}

enum ShardFile {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

impl ShardFile {
    fn open(path: &Path) -> Result<Self> {
        match path.extension().is_some_and(|extension| extension == "safetensors") {
            true => SafetensorsFile::open(path).map(Self::Safetensors),
            false => TorchFile::open(path).map(Self::Torch),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Torch(file) => file.path(),
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(file) => file.names(),
            Self::Torch(file) => file.names(),
        }
    }

    fn shape(&self, name: &str) -> Result<Vec<usize>> {
        match self {
            Self::Safetensors(file) => file.shape(name).map(<[usize]>::to_vec),
            Self::Torch(file) => file.shape(name),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<f32>> {
        match self {
            Self::Safetensors(file) => Ok(file.read(name)?.values),
            Self::Torch(file) => Ok(file.read(name)?.values),
        }
    }
}

/// Whether a checkpoint holds this under its name although it is no weight: rotary frequencies, which follow from the
/// configuration, and masks of causal attention, that older versions of `transformers` saved.
pub(crate) fn is_derived(name: &str) -> bool {
    [".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"].iter().any(|ending| name.ends_with(ending))
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Opens the files of a folder and compares their headers with the index, where there is one. What [`is_derived`] may
    /// be missing on either side.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file; [`Error::Format`] for a damaged one, for an index that names files outside the
    /// folder, and where index and files do not hold the same weights.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let mut shards = Self { folder: folder.to_path_buf(), files: Vec::new(), by_name: HashMap::new() };
        for (single, index) in FILES {
            let (single, index) = (folder.join(single), folder.join(index));
            if single.exists() {
                shards.add(&single)?;
                return Ok(shards);
            }
            if index.exists() {
                shards.add_indexed(&index)?;
                return Ok(shards);
            }
        }
        let names = FILES.map(|(single, index)| format!("{single} or {index}")).join(", ");
        let none = format!("expected weights in {names}, found none of these files");
        Err(Error::io(folder.join(FILES[0].0), std::io::Error::new(std::io::ErrorKind::NotFound, none)))
    }

    /// Opens one file: `.safetensors`, or what `torch.save` wrote under another ending.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for a file that is missing or damaged.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let mut shards = Self { folder: path.to_path_buf(), files: Vec::new(), by_name: HashMap::new() };
        shards.add(path)?;
        Ok(shards)
    }

    fn add_indexed(&mut self, index_path: &Path) -> Result<()> {
        let wrong = |detail: String| Error::format(index_path, detail);
        let json = std::fs::read(index_path).map_err(|source| Error::io(index_path, source))?;
        let index: Index = serde_json::from_slice(&json).map_err(|source| wrong(source.to_string()))?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        for name in names {
            // The index comes from the network: it must not lead out of the folder.
            if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) {
                return Err(wrong(format!("expected the name of a file in the folder, found {name:?}")));
            }
            self.add(&self.folder.join(name))?;
        }
        for (weight, file) in &index.weight_map {
            let found = self.by_name.get(weight).map(|file| self.files[*file].path());
            match found.and_then(Path::file_name) {
                Some(found) if found == file.as_str() => {}
                Some(found) => {
                    return Err(wrong(format!("{weight:?}: expected in {file:?}, found in {found:?}")));
                }
                None if is_derived(weight) => {}
                None => return Err(wrong(format!("{weight:?}: expected in {file:?}, found none"))),
            }
        }
        let is_unknown = |name: &&String| !index.weight_map.contains_key(*name) && !is_derived(name);
        match self.by_name.keys().find(is_unknown) {
            Some(name) => Err(wrong(format!("a shard holds {name:?}, which the index does not name"))),
            None => Ok(()),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = ShardFile::open(path)?;
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
        file.read(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::FloatType;
    use crate::weights::array::ArrayView;
    use crate::weights::{safetensors, torch};

    type WriteFile = fn(&Path, &[ArrayView<'_>], FloatType) -> Result<()>;

    /// Both kinds of shards, by the ending of their names, with their index.
    const KINDS: [(&str, &str, WriteFile); 2] =
        [("safetensors", FILES[0].1, safetensors::write), ("bin", FILES[1].1, torch::write)];

    /// What is read from two shards, of the weights `one` and `two` and of this one, and this index of weights and files.
    fn open(second: &str, index: &[(&str, &str)], kind: (&str, &str, WriteFile)) -> Result<Vec<f32>> {
        let (ending, index_name, write) = kind;
        let folder = tempfile::tempdir().unwrap();
        let array = |name: &str, values| ArrayView { name: name.into(), shape: vec![2], values };
        for (file, arrays) in [
            ("a", vec![array("one", &[1.0; 2]), array("two", &[2.0; 2])]),
            ("b", vec![array(second, &[3.0; 2])]),
        ] {
            write(&folder.path().join(format!("{file}.{ending}")), &arrays, FloatType::F16).unwrap();
        }
        let map: BTreeMap<_, _> = index
            .iter()
            .map(|(name, file)| (name, file.replace(".safetensors", &format!(".{ending}"))))
            .collect();
        let json = serde_json::json!({ "weight_map": map }).to_string();
        std::fs::write(folder.path().join(index_name), json).unwrap();
        let shards = Shards::open(folder.path())?;
        let wrong = shards.read(second, &[1, 2]).unwrap_err().to_string();
        assert!(wrong.contains(&format!("b.{ending}")) && wrong.contains("[1, 2], found [2]"), "{wrong}");
        assert!(shards.read("four", &[2]).unwrap_err().to_string().contains("no weight \"four\""));
        Ok(["one", "two", second].map(|name| shards.read(name, &[2]).unwrap()).concat())
    }

    #[test]
    fn index_and_shards_hold_the_same_weights() {
        let [one, two] = ["one", "two"].map(|name| (name, "a.safetensors"));
        let three = ("three", "b.safetensors");
        for kind in KINDS {
            let values = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
            assert_eq!(open("three", &[one, two, three], kind).unwrap(), values);
            for (index, expected) in [
                (&[one, three][..], "\"two\", which the index does not name"),
                (&[one, two, ("three", "a.safetensors")], "\"three\": expected in \"a.ENDING\", found none"),
                (&[one, ("two", "b.safetensors"), three], "\"two\": expected in \"b.ENDING\", found in"),
                (
                    &[one, two, three, ("four", "b.safetensors")],
                    "\"four\": expected in \"b.ENDING\", found none",
                ),
                (&[one, two, ("three", "c.safetensors")], "c.ENDING"),
                (&[one, two, ("three", "../b.safetensors")], "found \"../b.ENDING\""),
            ] {
                let error = open("three", index, kind).unwrap_err().to_string();
                assert!(error.contains(&expected.replace("ENDING", kind.0)), "{error}");
            }
            let twice = open("two", &[one, two, ("three", "b.safetensors")], kind).unwrap_err().to_string();
            assert!(twice.contains("\"two\": expected in one file, found in"), "{twice}");
        }
    }

    #[test]
    fn what_is_derived_may_be_missing_on_either_side() {
        let [one, two] = ["one", "two"].map(|name| (name, "a.safetensors"));
        for kind in KINDS {
            for derived in ["l.0.rotary_emb.inv_freq", "h.0.attn.bias", "h.0.attn.masked_bias"] {
                assert!(is_derived(derived));
                // Named by the index and not there, and there without being named.
                let three = ("three", "b.safetensors");
                open("three", &[one, two, three, (derived, "b.safetensors")], kind).unwrap();
                let index = [one, two, ("l.1.rotary_emb.inv_freq", "b.safetensors")];
                open(derived, &index, kind).unwrap();
            }
        }
        assert!(!is_derived("model.layers.0.self_attn.q_proj.bias"));
    }

    #[test]
    fn safetensors_come_before_what_pytorch_saved() {
        let folder = tempfile::tempdir().unwrap();
        let error = Shards::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("model.safetensors") && error.contains("pytorch_model.bin.index.json"),
            "{error}"
        );
        let array = |values| [ArrayView { name: "one".into(), shape: vec![2], values }];
        let values = || Shards::open(folder.path()).unwrap().read("one", &[2]).unwrap();
        torch::write(&folder.path().join("pytorch_model.bin"), &array(&[1.0; 2]), FloatType::F32).unwrap();
        assert_eq!(values(), [1.0; 2]);
        safetensors::write(&folder.path().join("model.safetensors"), &array(&[2.0; 2]), FloatType::F32)
            .unwrap();
        assert_eq!(values(), [2.0; 2]);
    }
}
