//! Writes small GGUF files for tests.

use std::path::PathBuf;

use tempfile::TempDir;

use super::value::put_string;
use super::{Array, GgufFile, Strings, TensorType, Value};
use crate::Result;

/// A tensor to be written.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    /// The size along which values follow each other last.
    pub(crate) shape: Vec<u64>,
    pub(crate) dtype: TensorType,
    pub(crate) bytes: Vec<u8>,
    /// Where the tensor is said to be instead of where it is.
    pub(crate) offset: Option<u64>,
}

/// A file to be written.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) alignment: usize,
    pub(crate) keys: Vec<(String, Value)>,
    pub(crate) tensors: Vec<Stored>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { version: 3, alignment: 32, keys: Vec::new(), tensors: Vec::new() }
    }

    /// Sets a key, instead of the value it has.
    pub(crate) fn key(&mut self, key: &str, value: Value) -> &mut Self {
        self.without_key(key);
        self.keys.push((key.to_string(), value));
        self
    }

    pub(crate) fn without_key(&mut self, key: &str) -> &mut Self {
        self.keys.retain(|(name, _)| name != key);
        self
    }

    pub(crate) fn tensor(
        &mut self,
        name: &str,
        shape: &[u64],
        dtype: TensorType,
        bytes: Vec<u8>,
    ) -> &mut Self {
        let (name, shape) = (name.to_string(), shape.to_vec());
        self.tensors.push(Stored { name, shape, dtype, bytes, offset: None });
        self
    }

    pub(crate) fn f32(&mut self, name: &str, shape: &[u64], values: &[f32]) -> &mut Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, TensorType::F32, bytes)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            put_string(key, &mut bytes);
            bytes.extend(value.code().to_le_bytes());
            value.put(&mut bytes);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            put_string(&tensor.name, &mut bytes);
            bytes.extend((tensor.shape.len() as u32).to_le_bytes());
            bytes.extend(tensor.shape.iter().rev().flat_map(|size| size.to_le_bytes()));
            bytes.extend(tensor.dtype.0.to_le_bytes());
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            bytes.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
        }
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(data);
        bytes
    }

    pub(crate) fn save(&self) -> Saved {
        Saved::new(&self.bytes())
    }

    pub(crate) fn open(&self) -> Result<GgufFile> {
        GgufFile::open(&self.save().path)
    }
}

/// A file that lives as long as this.
pub(crate) struct Saved {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Saved {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.gguf");
        std::fs::write(&path, bytes).unwrap();
        Self { _folder: folder, path }
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_string())
}

pub(crate) fn texts<S: AsRef<str>>(texts: &[S]) -> Value {
    Value::Array(Array::String(texts.iter().map(|text| text.as_ref()).collect::<Strings>()))
}

/// The message of an error, which always names the file.
pub(crate) fn message<T>(result: Result<T>) -> String {
    let message = result.err().expect("the file is refused").to_string();
    assert!(message.contains("small.gguf"), "{message}");
    message
}

/// Checks that a message says all that it should.
#[track_caller]
pub(crate) fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
}

/// The number of cases of a test by mutation: `FUZZ_CASES`, to look longer.
pub(crate) fn cases(default: u32) -> u32 {
    std::env::var("FUZZ_CASES").map_or(default, |text| text.parse().expect("FUZZ_CASES is a number"))
}
