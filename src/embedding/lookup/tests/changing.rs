//! Files that are not any more what they were.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::*;

const DIM: usize = 64;

/// A store of one file of each format in a folder of its own, opened, of which row 3 was read.
fn opened() -> impl Iterator<Item = (tempfile::TempDir, std::path::PathBuf, Store, StoreLookup)> {
    kinds().into_iter().filter(|kind| kind.1 == FloatType::F16).map(|(format, float)| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("rows.{format}"));
        write(&path, float, Some(&names("a", 50)), &values(1, 50, DIM), DIM);
        let store = Store::open(&path).unwrap();
        // A cache would answer from memory.
        let lookup = StoreLookup::open(&store).unwrap().with_cache(0);
        lookup.read(&[3], &mut [0.0; DIM]).unwrap();
        (folder, path, store, lookup)
    })
}

fn assert_refused(path: &Path, store: &Store, lookup: &StoreLookup) {
    let detail_of_row = detail(lookup.read(&[40, 20], &mut [0.0; 2 * DIM]), path);
    assert!(detail_of_row.contains("row 20") && detail_of_row.contains("has changed"), "{detail_of_row}");
    assert!(detail(StoreLookup::open(store), path).contains("has changed"));
}

#[test]
fn files_cut_off_are_refused() {
    for (_folder, path, store, lookup) in opened() {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        // Even the rows before the cut: nobody knows what happened to the file.
        assert_refused_or_damaged(&path, &store, &lookup);
        let refused = detail(lookup.read(&[0], &mut [0.0; DIM]), &path);
        assert!(refused.contains("row 0") && refused.contains("bytes and now has"), "{refused}");
    }
}

/// A Parquet file without its end cannot even be looked at.
fn assert_refused_or_damaged(path: &Path, store: &Store, lookup: &StoreLookup) {
    match Format::of(path) {
        Some(Format::Parquet) => drop(detail(StoreLookup::open(store), path)),
        _ => assert_refused(path, store, lookup),
    }
}

#[test]
fn files_written_again_are_refused() {
    for (_folder, path, store, lookup) in opened() {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        assert_refused(&path, &store, &lookup);
    }
}

#[test]
fn a_file_that_is_replaced_is_refused_or_still_the_old_one() {
    for (folder, path, _, lookup) in opened() {
        let other = folder.path().join("other").with_extension(path.extension().unwrap());
        write(&other, FloatType::F16, None, &values(2, 60, DIM), DIM);
        let mut before = [0.0; DIM];
        lookup.read(&[7], &mut before).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let mut after = [0.0; DIM];
        match lookup.read(&[7], &mut after) {
            Ok(()) => assert_eq!(after, before),
            Err(error) => assert!(error.to_string().contains("has changed"), "{error}"),
        }
    }
}

#[test]
fn a_read_beyond_the_end_names_file_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    write(&path, FloatType::F16, None, &values(1, 50, DIM), DIM);
    let store = Store::open(&path).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    // As if it were cut between the check and the read.
    file.set_len(1000).unwrap();
    let mut bytes = Vec::new();
    assert!(detail(store.shards()[0].read_rows(&file, 20..21, &mut bytes), &path).contains("row 21"));
}

#[test]
fn files_that_are_gone_are_errors_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    write(&path, FloatType::F16, None, &values(1, 5, DIM), DIM);
    let store = Store::open(&path).unwrap();
    let lookup = StoreLookup::open(&store).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(
        matches!(lookup.read(&[1], &mut [0.0; DIM]), Err(Error::Io { path: named, .. }) if named == path)
    );
    assert!(matches!(StoreLookup::open(&store), Err(Error::Io { .. })));
}
