//! Archives and pickles that no PyTorch would write.

mod archives;
mod mutated;
mod pickles;
mod views;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::embedding::FloatType;
use crate::embedding::torch::{Element, Entry, Item, Storage, Tensor, View, builder};
use crate::weights::array::NamedArray;
use crate::{Error, Result};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/projector_file").join(name)
}

/// The dict that a pickle holds.
fn entries(pickle: &[u8]) -> Result<Vec<Entry>, String> {
    builder::read(pickle)?.entries()
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn text(text: &str) -> Vec<u8> {
    join(&[b"X", &(text.len() as u32).to_le_bytes(), text.as_bytes()])
}

fn int(value: i64) -> Vec<u8> {
    join(&[&[0x8a, 8], &value.to_le_bytes()])
}

fn sizes(sizes: &[i64]) -> Vec<u8> {
    join(&[b"(", &sizes.iter().flat_map(|size| int(*size)).collect::<Vec<u8>>(), b"t"])
}

/// A view of storage `key` of `count` values.
fn tensor(class: &str, key: &str, count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n");
    let storage =
        join(&[b"(", &text("storage"), class.as_bytes(), &text(key), &text("cpu"), &int(count), b"tQ"]);
    let view = join(&[&int(offset), &sizes(shape), &sizes(strides)]);
    join(&[b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage, &view, b"\x89}tR"])
}

/// A dict with these values under `0.weight`, `0.bias` and so on.
fn dict(values: &[Vec<u8>]) -> Vec<u8> {
    let names = ["0.weight", "0.bias", "2.weight", "2.bias"];
    let items: Vec<u8> =
        names.iter().zip(values).flat_map(|(name, value)| join(&[&text(name), value])).collect();
    join(&[b"\x80\x02}(", &items, b"u."])
}

fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::DEFAULT.compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The arrays of a projector in a checkpoint, or else all arrays.
fn select(names: &[&str]) -> Vec<usize> {
    let marked: Vec<usize> = (0..names.len()).filter(|at| names[*at].contains("mm_projector.")).collect();
    if marked.is_empty() { (0..names.len()).collect() } else { marked }
}

fn read(bytes: &[u8]) -> Result<Vec<NamedArray>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.bin");
    fs::write(&path, bytes).unwrap();
    super::read(&path, |names| Ok(select(names)))
}

fn error_of(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(Error::Format { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

/// An archive of this pickle and a storage "0" of six float32 values, 0 to 5.
fn with_storage(pickle: &[u8]) -> Vec<u8> {
    let storage: Vec<u8> = (0..6).flat_map(|value| (value as f32).to_le_bytes()).collect();
    archive(&[("a/data.pkl", pickle), ("a/data/0", &storage)], CompressionMethod::Stored)
}
