//! Mutated files: whatever the bytes are, the readers of matrices and of records return a result.
//!
//! A short run is a test like any other. For a long one say how many seconds:
//! `FUZZ_SECONDS=600 cargo test --lib --features parquet damaged_ -- --nocapture`

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::records::{self, Tally};
use super::{FloatType, Store, StoreLookup, StoreOptions, npy, tensors};
use crate::json::{self, Lines};

/// Options under which as much as possible is read.
fn options() -> StoreOptions {
    StoreOptions { scale: Some(0.5), dtype_in: Some(FloatType::BF16), ..StoreOptions::default() }
}

fn corpus(extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    corpus_in("tests/corpus/matrices", extension)
}

fn corpus_in(folder: &str, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Bytes changed, dropped, repeated and taken from another file.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Xoshiro256PlusPlus) {
    const TOKENS: [&[u8]; 14] = [
        b"'shape'",
        b"(",
        b")",
        b"{",
        b"}",
        b"[",
        b"\"",
        b"99999999999999999999",
        b"<f4",
        b"null",
        b"\xFF",
        b"-1",
        b"\\ud83d",
        b"NaN",
    ];
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..bytes.len().max(1)).min(bytes.len());
        let end = (at + rng.random_range(0..12)).min(bytes.len());
        match rng.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] = rng.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let from = rng.random_range(0..other.len());
                let to = (from + 12).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
}

/// Runs the reader on mutants until the time is over; it says whether it took a file.
fn fuzz(extension: &str, seed: u64, read: impl Fn(&[u8]) -> bool) {
    fuzz_files(extension, &corpus(extension), seed, 1000, read);
}

/// As [`fuzz`], on whole files of a form, which are read by rows, ids and records.
fn fuzz_stores(extension: &str, seed: u64) {
    let files = corpus_in("tests/fixtures/embeddings", extension);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutant").with_extension(extension);
    let read = |path: &Path, options: &StoreOptions| -> crate::Result<()> {
        let store = Store::open_with(path, options)?;
        store.check_ids()?;
        let table = store.read_table()?;
        assert_eq!(table.len(), store.len());
        let lookup = StoreLookup::open(&store)?;
        lookup.read(&[store.len() - 1], &mut vec![0.0; store.dim()])?;
        store.records().try_for_each(|record| record.map(|_| ()))
    };
    fuzz_files(extension, &files, seed, 20, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        [None, Some("image"), Some("img")].into_iter().any(|key| {
            let options = StoreOptions { key: key.map(String::from), null_as_nan: true, ..options() };
            read(&path, &options).is_ok()
        })
    });
}

fn fuzz_files(
    extension: &str,
    files: &[(PathBuf, Vec<u8>)],
    seed: u64,
    batch: usize,
    read: impl Fn(&[u8]) -> bool,
) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    assert!(!files.is_empty());
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut tried, mut taken) = (0_u64, 0_u64);
    while Instant::now() < end {
        for _ in 0..batch {
            let mut bytes = files[rng.random_range(0..files.len())].1.clone();
            let other = &files[rng.random_range(0..files.len())].1;
            mutate(&mut bytes, other, &mut rng);
            tried += 1;
            taken += u64::from(read(&bytes));
        }
    }
    println!(".{extension}: {tried} mutants in {seconds} s, of which {taken} were read");
    assert!(taken > 0, "no mutant was read: the mutations are too wild to test anything");
}

#[test]
fn damaged_npy_headers_are_results() {
    fuzz("npy", 1, |bytes| {
        let path = Path::new("mutant.npy");
        let Ok(matrix) = npy::read_header(path, &mut Cursor::new(bytes), bytes.len() as u64, &options())
        else {
            return false;
        };
        assert_eq!(matrix.end(), bytes.len() as u64, "a matrix beyond its file");
        true
    });
}

#[test]
fn damaged_safetensors_headers_are_results() {
    fuzz("safetensors", 2, |bytes| {
        let (path, length) = (Path::new("mutant.safetensors"), bytes.len() as u64);
        match tensors::read_header(path, &mut Cursor::new(bytes), length, &options()) {
            Ok((matrix, _)) => {
                assert!(matrix.end() <= length, "a matrix beyond its file");
                true
            }
            Err(_) => false,
        }
    });
}

#[test]
fn damaged_records_are_results() {
    fuzz("jsonl", 3, |bytes| {
        let found: Vec<_> =
            records::read_lines(Path::new("mutant.jsonl"), bytes, &Tally::default(), |line, mended| {
                records::parse_with_id(line, "id", mended)
            })
            .collect();
        for record in found.iter().flatten() {
            assert!(records::id(record).is_some());
        }
        found.iter().all(Result::is_ok)
    });
}

#[test]
fn damaged_npz_files_are_results() {
    fuzz_stores("npz", 4);
}

#[test]
fn damaged_torch_files_are_results() {
    fuzz_stores("pt", 5);
}

#[test]
fn damaged_tar_files_are_results() {
    fuzz_stores("tar", 6);
}

#[cfg(feature = "parquet")]
#[test]
fn damaged_arrow_files_are_results() {
    fuzz_stores("arrow", 7);
}

#[cfg(feature = "parquet")]
#[test]
fn damaged_columns_of_bytes_and_texts_are_results() {
    fuzz_stores("parquet", 8);
}

#[test]
fn damaged_json_lines_are_results() {
    fuzz("jsonl", 9, |bytes| {
        let (mut lines, mut sound) = (Lines::new(bytes), true);
        while let Some((_, line, mended)) = lines.next() {
            let value = line.ok().map(|line| json::parse::<serde_json::Value>(line.as_bytes(), mended));
            sound &= matches!(value, Some(Ok(_)));
        }
        sound
    });
}

#[test]
fn the_corpus_is_read_or_refused_as_it_should_be() {
    for (path, bytes) in corpus("npy") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let sound = name.contains("_v") || name == "fortran";
        let read =
            npy::read_header(&path, &mut Cursor::new(&bytes), bytes.len() as u64, &StoreOptions::default());
        assert_eq!(read.is_ok(), sound, "{name}: {read:?}");
        if sound {
            let table = super::read_table(&path).unwrap();
            let expected: Vec<f32> = (0..12).map(|i| i as f32 / 4.0 - 1.0).collect();
            assert_eq!((table.rows(), table.dim()), (expected.as_slice(), 4), "{name}");
        }
    }
}
