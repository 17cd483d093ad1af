//! Random blocks of every type, against the values that the `gguf` package of Python computes of them.
//!
//! `tests/reference/make_gguf_fixtures.py` made the file: for each type a tensor `blk.TYPE` and its values as float32.

use std::path::Path;

use super::{READABLE, is_readable};
use crate::weights::gguf::GgufFile;

#[test]
fn values_are_those_of_the_gguf_package_to_the_bit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/blocks.gguf");
    let file = GgufFile::open(path).unwrap();
    let mut types = Vec::new();
    for tensor in file.tensors().iter().filter(|tensor| !tensor.name().ends_with(".values")) {
        let name = tensor.name();
        let bits =
            |name: &str| -> Vec<u32> { file.read(name).unwrap().into_iter().map(f32::to_bits).collect() };
        let (found, expected) = (bits(name), bits(&format!("{name}.values")));
        assert!(expected.iter().any(|bits| *bits != expected[0]), "{name}: values that are all alike");
        assert!(found == expected, "{name}");
        types.push(tensor.dtype.name());
    }
    types.sort_unstable();
    let mut readable: Vec<_> =
        READABLE.split([',', ' ']).filter(|name| !["", "or", "F32"].contains(name)).collect();
    readable.sort_unstable();
    assert_eq!(types, readable);
    assert!(file.tensors().iter().all(|tensor| is_readable(tensor.dtype)));
}
