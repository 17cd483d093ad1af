//! Fingerprints of stores.

use std::time::{Duration, SystemTime};

use super::*;
use crate::embedding::StoreOptions;

fn fingerprint(place: &Path) -> String {
    open(place).unwrap().fingerprint()
}

/// Two shards, of which the first is longer than what is looked at of it.
fn store(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    write(&folder.join("0.npy"), FloatType::F32, Some(&names("a", 1000)), &values(1, 1000, 64), 64);
    write(&folder.join("1.npy"), FloatType::F32, None, &values(2, 10, 64), 64);
}

fn change(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn copies_have_the_same_one_wherever_and_whenever_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there/and/deeper"));
    store(&here);
    store(&there);
    let copy = std::fs::File::options().write(true).open(there.join("0.npy")).unwrap();
    copy.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    let expected = fingerprint(&here);
    assert_eq!(expected.len(), 16);
    assert_eq!(fingerprint(&there), expected);
    assert_eq!(fingerprint(&here.join("*.npy")), expected, "a pattern of the same files");
}

#[test]
fn every_difference_that_is_looked_for_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = std::collections::HashSet::new();
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 8] = [
        ("nothing", &|_| ()),
        ("the last byte", &|folder| change(&folder.join("0.npy"), |length| length - 1)),
        ("a byte near the start", &|folder| change(&folder.join("0.npy"), |_| 65_000)),
        ("another shard", &|folder| change(&folder.join("1.npy"), |length| length - 1)),
        ("ids", &|folder| {
            std::fs::remove_file(folder.join("0.jsonl")).unwrap();
        }),
        ("ids where there were none", &|folder| {
            write_sidecar(&folder.join("1.npy"), names("b", 10).into_iter().map(|id| Ok(records::of_id(id))))
                .unwrap();
        }),
        ("a name", &|folder| std::fs::rename(folder.join("1.npy"), folder.join("2.npy")).unwrap()),
        ("fewer files", &|folder| std::fs::remove_file(folder.join("1.npy")).unwrap()),
    ];
    for (number, (what, change)) in changes.into_iter().enumerate() {
        let place = folder.path().join(number.to_string());
        store(&place);
        change(&place);
        assert!(seen.insert(fingerprint(&place)), "{what}");
    }
}

#[test]
fn matrices_of_one_file_have_fingerprints_of_their_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let of = |name: &str, key| {
        StoreLookup::open(&Store::open_with(folder.join(name), &StoreOptions::key(key)).unwrap())
            .unwrap()
            .fingerprint()
    };
    let path = folder.join("matrices/two.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let names: Vec<String> = safetensors::SafeTensors::deserialize(&bytes)
        .unwrap()
        .names()
        .iter()
        .map(|n| n.to_string())
        .collect();
    let (first, second) = (names[0].as_str(), names[1].as_str());
    assert_ne!(of("matrices/two.safetensors", first), of("matrices/two.safetensors", second));
}
