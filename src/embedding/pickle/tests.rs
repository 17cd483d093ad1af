//! Files that NumPy has written, and files that it never would.
//!
//! The corpus in `tests/corpus/pickle` comes from `tests/corpus/make_pickles.py`; values follow one rule, so that the
//! tests need no second copy of them.

mod corpus;
mod hostile;
mod mutated;

use std::io::Cursor;
use std::path::PathBuf;

use super::builder::{self, Index};
use crate::embedding::FloatType;
use crate::pickle::{Fault, Source};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pickle")
}

fn corpus_bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name).with_extension("pkl")).unwrap()
}

/// All files of the corpus, in order of their names.
fn corpus_files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() > 50, "{} files", files.len());
    files
}

fn index(bytes: &[u8]) -> Result<Index, String> {
    index_through(bytes, 1 << 17)
}

fn index_through(bytes: &[u8], window: usize) -> Result<Index, String> {
    let source = Source::with_window(Cursor::new(bytes), window).unwrap();
    builder::read(source).map_err(|fault| match fault {
        Fault::Format(detail) => detail,
        other => panic!("{other:?}"),
    })
}

fn error(bytes: &[u8]) -> String {
    match index(bytes) {
        Ok(index) => panic!("read {} rows", index.table.offsets.len()),
        Err(detail) => detail,
    }
}

/// The vectors at the offsets of a file.
fn vectors(bytes: &[u8], index: &Index) -> Vec<Vec<f64>> {
    let size = index.table.float.size();
    let offsets = index.table.offsets.iter().map(|offset| *offset as usize);
    let rows = offsets.map(|offset| bytes[offset..offset + index.table.dim * size].chunks_exact(size));
    rows.map(|row| row.map(|value| decode(value, index.table.float)).collect()).collect()
}

fn decode(bytes: &[u8], float: FloatType) -> f64 {
    match float {
        FloatType::F16 => {
            let bits = u16::from_le_bytes(bytes.try_into().unwrap());
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
            match exponent {
                0 => sign * fraction * 2_f64.powi(-14),
                _ => sign * (1.0 + fraction) * 2_f64.powi(exponent - 15),
            }
        }
        FloatType::F32 => f32::from_le_bytes(bytes.try_into().unwrap()).into(),
        FloatType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
        FloatType::BF16 => panic!("NumPy has no bf16"),
    }
}

/// The values that `make_pickles.py` gives a row.
fn vector(row: usize) -> Vec<f64> {
    (0..4).map(|column| row as f64 + f64::from(column) / 4.0 - 1.0).collect()
}
