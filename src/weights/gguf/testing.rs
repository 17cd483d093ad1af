//! Writes small GGUF files for tests.

use std::path::PathBuf;

use tempfile::TempDir;

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
            put_string(&mut bytes, key);
            bytes.extend(code(value).to_le_bytes());
            put_value(&mut bytes, value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            put_string(&mut bytes, &tensor.name);
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

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn code(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => bytes.push(*value),
        Value::I8(value) => bytes.extend(value.to_le_bytes()),
        Value::U16(value) => bytes.extend(value.to_le_bytes()),
        Value::I16(value) => bytes.extend(value.to_le_bytes()),
        Value::U32(value) => bytes.extend(value.to_le_bytes()),
        Value::I32(value) => bytes.extend(value.to_le_bytes()),
        Value::F32(value) => bytes.extend(value.to_le_bytes()),
        Value::Bool(value) => bytes.push(u8::from(*value)),
        Value::String(value) => put_string(bytes, value),
        Value::Array(value) => put_array(bytes, value),
        Value::U64(value) => bytes.extend(value.to_le_bytes()),
        Value::I64(value) => bytes.extend(value.to_le_bytes()),
        Value::F64(value) => bytes.extend(value.to_le_bytes()),
    }
}

fn put_array(bytes: &mut Vec<u8>, array: &Array) {
    // The elements as values, which knows how to write any of them.
    fn elements<T: Copy>(values: &[T], value: fn(T) -> Value) -> Vec<Value> {
        values.iter().copied().map(value).collect()
    }
    let (code, values) = match array {
        Array::U8(values) => (0u32, elements(values, Value::U8)),
        Array::I8(values) => (1, elements(values, Value::I8)),
        Array::U16(values) => (2, elements(values, Value::U16)),
        Array::I16(values) => (3, elements(values, Value::I16)),
        Array::U32(values) => (4, elements(values, Value::U32)),
        Array::I32(values) => (5, elements(values, Value::I32)),
        Array::F32(values) => (6, elements(values, Value::F32)),
        Array::Bool(values) => (7, elements(values, Value::Bool)),
        Array::String(values) => (8, values.iter().map(text).collect()),
        Array::Nested(values) => (9, values.iter().cloned().map(Value::Array).collect()),
        Array::U64(values) => (10, elements(values, Value::U64)),
        Array::I64(values) => (11, elements(values, Value::I64)),
        Array::F64(values) => (12, elements(values, Value::F64)),
    };
    bytes.extend(code.to_le_bytes());
    bytes.extend((values.len() as u64).to_le_bytes());
    values.iter().for_each(|value| put_value(bytes, value));
}
