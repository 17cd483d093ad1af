use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fill::WeightSource;
use crate::embedding::positioned::read_at;
use crate::embedding::tensors::read_metadata;
use crate::embedding::{FloatType, RawRows};
use crate::{Error, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights of a Hugging Face folder: `model.safetensors`, or shards and their index. Values are read when they are
/// asked for.
#[derive(Debug)]
pub(super) struct Shards {
    folder: PathBuf,
    files: Vec<(PathBuf, File)>,
    weights: HashMap<String, Weight>,
}

#[derive(Debug)]
struct Weight {
    file: usize,
    float: Option<FloatType>,
    dtype: String,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    pub fn open(folder: &Path) -> Result<Self> {
        let mut shards = Self { folder: folder.to_path_buf(), files: Vec::new(), weights: HashMap::new() };
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
                return Err(wrong(format!("{name:?} is no file name")));
            }
            shards.add(&folder.join(name))?;
        }
        for (weight, file) in &index.weight_map {
            let found = shards.weights.get(weight).map(|weight| &shards.files[weight.file].0);
            match found.and_then(|path| path.file_name()) {
                Some(found) if found == file.as_str() => {}
                Some(found) => {
                    return Err(wrong(format!("{weight:?}: expected in {file:?}, found in {found:?}")));
                }
                None => return Err(wrong(format!("{weight:?} is not in {file:?}"))),
            }
        }
        match shards.weights.keys().find(|name| !index.weight_map.contains_key(*name)) {
            Some(name) => Err(wrong(format!("a shard holds {name:?}, which the index does not name"))),
            None => Ok(shards),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let io = |source| Error::io(path, source);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let (metadata, data) = read_metadata(path, &mut BufReader::new(&file), length)?;
        for (name, info) in metadata.tensors() {
            let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let weight = Weight {
                file: self.files.len(),
                float: FloatType::from_safetensors(info.dtype),
                dtype: format!("{:?}", info.dtype),
                shape: info.shape.clone(),
                offset: data + begin,
                bytes: end - begin,
            };
            if let Some(twin) = self.weights.insert(name.clone(), weight) {
                let other = &self.files[twin.file].0;
                return Err(Error::format(path, format!("{name:?} stands in {} as well", other.display())));
            }
        }
        self.files.push((path.to_path_buf(), file));
        Ok(())
    }
}

impl WeightSource for Shards {
    fn path(&self) -> &Path {
        &self.folder
    }

    fn names(&self) -> Vec<String> {
        self.weights.keys().cloned().collect()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(weight) = self.weights.get(name) else {
            return Err(Error::format(&self.folder, format!("no weight {name:?}")));
        };
        let (path, file) = &self.files[weight.file];
        let wrong = |detail: String| Error::format(path, format!("{name:?}: {detail}"));
        if weight.shape != shape {
            return Err(wrong(format!("expected shape {shape:?}, found {:?}", weight.shape)));
        }
        let Some(float) = weight.float else {
            return Err(wrong(format!("expected f16, bf16, f32 or f64, found {}", weight.dtype)));
        };
        let width = shape.last().copied().unwrap_or(1).max(1);
        let expected = (shape.iter().product::<usize>() * float.size()) as u64;
        if weight.bytes != expected {
            return Err(wrong(format!("expected {expected} bytes, found {}", weight.bytes)));
        }
        let mut bytes = vec![0; weight.bytes as usize];
        read_at(file, &mut bytes, weight.offset).map_err(|source| Error::io(path, source))?;
        Ok(RawRows::new(&bytes, float, width)?.to_single())
    }
}
