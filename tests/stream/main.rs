//! Fitting on stores and aligning them to files: the official results, the same whatever the threads, shards and
//! interruptions, and everything beside the rows kept.

mod covariances;
mod fitting;
mod jobs;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use burn_revision::alignment::stream::{
    ApplyOptions, Compute, ConvertOptions, FitOptions, apply, apply_images, convert, fit, fit_centroid,
    fit_moments,
};
use burn_revision::alignment::{C3Variant, Method, ReAlignConfig, Statistics};
use burn_revision::embedding::{
    EmbeddingTable, FloatType, Format, NonFinite, Progress, Store, StoreOptions, read_table, write_table,
};
use burn_revision::{Error, Result};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tempfile::TempDir;

const DIM: usize = 24;

fn c3(sigma: f64) -> Method {
    Method::C3 { sigma, variant: C3Variant::Shifted }
}

fn realign() -> Method {
    "realign".parse().unwrap()
}

fn table(rows: usize, centre: f32, seed: u64) -> EmbeddingTable {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let values =
        (0..rows * DIM).map(|i| rng.random::<f32>() - 0.5 + centre * ((i % DIM) as f32 / DIM as f32));
    let ids = (0..rows).map(|row| format!("sample {row}")).collect();
    EmbeddingTable::new(ids, values.collect(), DIM).unwrap()
}

/// A folder with `text/`, three shards, and `image.npy`.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder };
        std::fs::create_dir(world.path("text")).unwrap();
        let text = table(1500, 1.0, 1);
        for (shard, rows) in [(0, 0..700), (1, 700..701), (2, 701..1500)] {
            let part = text.select(&rows.collect::<Vec<_>>()).unwrap();
            write_table(&part, world.path(&format!("text/part-{shard}.npy"))).unwrap();
        }
        write_table(&text, world.path("text.safetensors")).unwrap();
        write_table(&table(900, -1.0, 2), world.path("image.npy")).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self, name: &str) -> Store {
        Store::open(self.path(name)).unwrap()
    }

    fn fit(&self, method: Method) -> Statistics {
        fit(&method, &self.store("text"), &self.store("image.npy"), &FitOptions::default()).unwrap().0
    }
}

/// Every file of a folder, by name; without the record of the job.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - f64::from(*expected)).abs();
        assert!(difference <= tolerance, "value {at}: {found} and {expected}");
    }
}

/// A file of `tests/reference/make_embedding_fixtures.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embeddings").join(name)
}
