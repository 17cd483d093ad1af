mod bounded;
mod changing;
mod identity;
mod reading;

use std::path::Path;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::StoreLookup;
use crate::embedding::output::{MatrixOutput, write_sidecar};
use crate::embedding::{FloatType, Format, Store, encode, records};
use crate::random::seeded_rng;
use crate::{Error, Result};

fn open(place: impl AsRef<Path>) -> Result<StoreLookup> {
    StoreLookup::open(&Store::open(place)?)
}

/// Every pair of a format and a type that this crate writes.
fn kinds() -> Vec<(Format, FloatType)> {
    let mut kinds = Vec::new();
    for float in [FloatType::F16, FloatType::F32, FloatType::F64] {
        kinds.extend([(Format::Npy, float), (Format::Safetensors, float)]);
        #[cfg(feature = "parquet")]
        kinds.push((Format::Parquet, float));
    }
    kinds.push((Format::Safetensors, FloatType::BF16));
    kinds
}

/// `rows` random rows of values that each type holds.
fn values(seed: u64, rows: usize, dim: usize) -> Vec<f32> {
    let mut rng = seeded_rng(seed, &[]);
    (0..rows * dim).map(|_| f32::from(rng.random_range(-128..128_i16)) / 32.0).collect()
}

fn names(prefix: &str, rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("{prefix}{row}")).collect()
}

/// Writes a shard as the rest of the crate does.
fn write(path: &Path, float: FloatType, ids: Option<&[String]>, values: &[f32], dim: usize) {
    let mut bytes = Vec::new();
    encode(values, float, &mut bytes);
    let record = |id: &String| {
        let mut record = records::of_id(id.clone());
        record.insert("caption".to_string(), format!("what {id} shows").into());
        record
    };
    match Format::of(path).unwrap() {
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            use crate::embedding::parquet::ParquetWriter;
            let out = std::fs::File::create(path).unwrap();
            let none = std::sync::Arc::new(arrow_schema::Schema::empty());
            let extras = ids.is_none().then_some(none);
            let mut writer = ParquetWriter::new(out, path, float, dim, extras).unwrap();
            let records: Vec<_> = match ids {
                Some(ids) => ids.iter().map(record).collect(),
                None => vec![records::Record::new(); values.len() / dim],
            };
            writer.write(&bytes, &records).unwrap();
            writer.finish().unwrap();
        }
        format => {
            let output = MatrixOutput::create(path, format, float, dim, false).unwrap();
            output.write(0, &bytes).unwrap();
            let ids = ids.map(|ids| write_sidecar(path, ids.iter().map(|id| Ok(record(id)))).unwrap());
            output.finish(values.len() / dim, ids.as_deref(), false).unwrap();
        }
    }
}

/// Checks that every row of a store is found by its id and read as [`Store::read_table`] reads it, in random order
/// and with repetitions, by two threads.
fn assert_reads_as_a_table(place: &Path) {
    let store = Store::open(place).unwrap();
    let (lookup, table) = (StoreLookup::open(&store).unwrap(), store.read_table().unwrap());
    drop(store);
    assert_eq!((lookup.len(), lookup.dim()), (table.len(), table.dim()));
    for (row, id) in table.ids().iter().enumerate() {
        assert_eq!(lookup.position(id), Some(row), "{id}");
    }
    assert_eq!(lookup.position("no such id"), None);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (lookup, table) = (&lookup, &table);
            scope.spawn(move || {
                let mut rng = seeded_rng(seed, &[1]);
                let mut rows: Vec<usize> = (0..table.len()).chain(0..table.len().min(3)).collect();
                rows.shuffle(&mut rng);
                for rows in rows.chunks(rng.random_range(1..=rows.len())) {
                    let mut out = vec![f32::NAN; rows.len() * table.dim()];
                    lookup.read(rows, &mut out).unwrap();
                    let expected: Vec<u32> =
                        rows.iter().flat_map(|row| table.row(*row)).map(|value| value.to_bits()).collect();
                    assert_eq!(out.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected);
                }
            });
        }
    });
}

/// What is said of a file that cannot be read.
fn detail(result: Result<impl std::fmt::Debug>, named: &Path) -> String {
    match result.unwrap_err() {
        Error::Format { path, detail } => {
            assert_eq!(path, named);
            detail
        }
        other => panic!("expected a format error, found {other:?}"),
    }
}
