//! Files of all types of values, and the parts of a model, with some bytes changed. An error is fine, a panic is not.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::weights::gguf::GgufFile;
use crate::weights::gguf::testing::{Saved, cases};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf").join(name)
}

fn read_all(path: &Path) {
    if let Ok(file) = GgufFile::open(path) {
        for tensor in file.tensors() {
            if let Ok(values) = file.read(tensor.name()) {
                assert_eq!(values.len(), tensor.shape().iter().product::<usize>());
            }
        }
    }
}

type Changes = Vec<(prop::sample::Index, u8)>;

fn changed(mut bytes: Vec<u8>, changes: Changes, end: usize) -> Vec<u8> {
    for (place, value) in changes {
        let place = place.index(end.min(bytes.len()));
        bytes[place] = value;
    }
    bytes
}

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(200)))]

    #[test]
    fn changed_blocks_never_panic(changes in changes(), header in any::<bool>()) {
        let bytes = std::fs::read(fixture("blocks.gguf")).unwrap();
        let end = if header { 2048 } else { bytes.len() };
        read_all(&Saved::new(&changed(bytes, changes, end)).path);
    }

    #[test]
    fn changed_parts_never_panic(changes in changes(), part in 1..=3, opened in 1..=3) {
        let folder = tempfile::tempdir().unwrap();
        let name = |part| format!("split-0000{part}-of-00003.gguf");
        for number in 1..=3 {
            let mut bytes = std::fs::read(fixture(&name(number))).unwrap();
            if number == part {
                let end = bytes.len();
                bytes = changed(bytes, changes.clone(), end);
            }
            std::fs::write(folder.path().join(name(number)), bytes).unwrap();
        }
        read_all(&folder.path().join(name(opened)));
    }
}
