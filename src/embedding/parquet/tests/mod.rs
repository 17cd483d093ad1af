mod damaged;
mod paging;
mod reading;
mod refusing;
mod travelling;
mod writing;

use std::path::{Path, PathBuf};

use half::f16;
use serde_json::{Map, Value};

use super::ParquetShard;
use crate::embedding::{FloatType, StoreOptions};
use crate::{Error, Result};

/// Rows and values of a row of every file of the corpus.
const ROWS: usize = 7;
const DIM: usize = 4;

fn corpus(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/parquet");
    folder.join(name).with_extension("parquet")
}

fn open(name: &str) -> ParquetShard {
    ParquetShard::open(&corpus(name), &StoreOptions::default()).unwrap()
}

/// What the corpus holds at row `row`.
fn expected(row: usize) -> Vec<f64> {
    (0..DIM).map(|i| row as f64 + i as f64 / 8.0).collect()
}

fn decode(float: FloatType, bytes: &[u8]) -> Vec<f64> {
    let value = |bytes: &[u8]| match float {
        FloatType::F16 => f16::from_le_bytes(bytes.try_into().unwrap()).to_f64(),
        FloatType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        FloatType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
        FloatType::BF16 => panic!("Parquet has no bf16"),
    };
    bytes.chunks_exact(float.size()).map(value).collect()
}

/// All embeddings from row `first` on, read `n` rows at a time.
fn bytes_from(shard: &ParquetShard, first: usize, n: usize) -> Result<Vec<u8>> {
    let (mut all, mut bytes) = (Vec::new(), Vec::new());
    let mut rows = shard.rows_from(first)?;
    while rows.read(n, &mut bytes)? > 0 {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

fn records(shard: &ParquetShard) -> Result<Vec<Map<String, Value>>> {
    shard.records()?.collect()
}

/// The cause that a format error gives, after a check that it names `path`.
fn cause(path: &Path, error: Error) -> String {
    match error {
        Error::Format { path: named, detail } => {
            assert_eq!(named, path);
            detail
        }
        other => panic!("expected a format error, found {other:?}"),
    }
}
