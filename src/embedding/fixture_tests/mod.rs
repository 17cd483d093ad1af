//! Files as the tools write them whose files people have, made by `tests/reference/make_embedding_fixtures.py`. All hold
//! the same rows.

mod joined;
mod options;
mod reading;
mod refusing;

use std::path::{Path, PathBuf};

use super::{EmbeddingTable, FloatType, Ids, Modality, Store, StoreLookup, StoreOptions};
use crate::{Error, Result};

const ROWS: usize = 7;
const DIM: usize = 4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embeddings").join(name)
}

/// What every file holds at a row.
fn expected(row: usize) -> Vec<f32> {
    (0..DIM).map(|column| row as f32 + column as f32 / 8.0 - 1.0).collect()
}

/// The ids that go with the rows.
fn images() -> Vec<String> {
    (0..ROWS).map(|row| format!("image {row}")).collect()
}

/// `0`, `1` and so on.
fn numbers() -> Vec<String> {
    (0..ROWS).map(|row| row.to_string()).collect()
}

fn open(name: &str, options: &StoreOptions) -> Result<Store> {
    Store::open_with(fixture(name), options)
}

/// Reads a file all at once and by ids, and checks that both give the same.
#[track_caller]
fn read(name: &str, options: &StoreOptions) -> EmbeddingTable {
    let store = open(name, options).unwrap();
    store.check_ids().unwrap();
    let (table, lookup) = (store.read_table().unwrap(), StoreLookup::open(&store).unwrap());
    let records: Vec<_> = store.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), table.len());
    for row in (0..table.len()).rev() {
        let mut out = vec![f32::NAN; table.dim()];
        assert_eq!(lookup.position(&table.ids()[row]), Some(row));
        assert_eq!(super::record_id(&records[row]).as_deref(), Some(table.ids()[row].as_str()));
        lookup.read(&[row], &mut out).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&out), bits(table.row(row)), "row {row}");
    }
    table
}

/// Checks the rows and ids of a file.
#[track_caller]
fn assert_reads(name: &str, options: &StoreOptions, ids: &[String]) {
    let table = read(name, options);
    assert_eq!((table.len(), table.dim()), (ROWS, DIM), "{name}");
    for row in 0..ROWS {
        assert_eq!(table.row(row), expected(row), "{name}, row {row}");
    }
    assert_eq!(table.ids(), ids, "{name}");
}

/// What is said of a file that is not read.
#[track_caller]
fn refusal(name: &str, options: &StoreOptions) -> String {
    let read = open(name, options).and_then(|store| {
        store.check_ids()?;
        store.read_table()
    });
    match read.unwrap_err() {
        error @ (Error::Format { .. } | Error::DuplicateId { .. }) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}
