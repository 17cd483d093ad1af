//! Files that are not what they say: each is an error that names file and cause, and never a panic.

use std::path::{Path, PathBuf};

use burn_revision::Error;
use burn_revision::alignment::stream::{FitOptions, fit};
use burn_revision::embedding::{EmbeddingTable, NonFinite, Store, StoreOptions, write_table};
use proptest::prelude::*;
use tempfile::TempDir;

/// A `.npy` file with any header.
fn npy(version: u8, header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((header.len() as u16).to_le_bytes()),
        _ => bytes.extend((header.len() as u32).to_le_bytes()),
    }
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

fn header(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn safetensors(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[track_caller]
fn assert_refused(path: &Path, cause: &str) {
    match Store::open(path).and_then(|store| store.read_table()) {
        Err(error @ (Error::Format { .. } | Error::Io { .. } | Error::DuplicateId { .. })) => {
            let text = error.to_string();
            assert!(text.contains(cause), "expected {cause:?} in {text:?}");
            assert!(text.contains(path.file_stem().unwrap().to_str().unwrap()), "{text}");
        }
        other => panic!("expected {cause:?}, found {other:?}"),
    }
}

#[test]
fn npy_files_of_every_version_and_type_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<u8> = [1.0_f32, -2.0, 0.5, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let double: Vec<u8> = [1.0_f64, -2.0, 0.5, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let half: Vec<u8> = [0x3C00_u16, 0xC000, 0x3800, 0x4400].iter().flat_map(|v| v.to_le_bytes()).collect();
    for version in [1, 2, 3] {
        for (descr, values) in [("<f4", &values), ("<f8", &double), ("<f2", &half)] {
            let path = write(&folder, "rows.npy", &npy(version, &header(descr, "False", "(2, 2)"), values));
            assert_eq!(Store::open(&path).unwrap().read_table().unwrap().rows(), [1.0, -2.0, 0.5, 4.0]);
        }
    }
    // What NumPy of Python 2 wrote, and a matrix of one row, which has no order.
    for shape in ["(2L, 2L)", "(1, 4)"] {
        let fortran = if shape == "(1, 4)" { "True" } else { "False" };
        let path = write(&folder, "rows.npy", &npy(1, &header("<f4", fortran, shape), &values));
        assert_eq!(Store::open(&path).unwrap().read_table().unwrap().rows().len(), 4);
    }
}

#[test]
fn npy_files_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plain = |shape: &str| header("<f4", "False", shape);
    let cases = [
        (npy(1, &plain("(3, 2)"), &[0; 16]), "3 rows of 2 f32 values take 24 bytes, found 16"),
        (npy(1, &plain("(1, 2)"), &[0; 16]), "take 8 bytes, found 16"),
        (npy(1, &plain("(9999999999, 9999999999)"), &[0; 16]), "more than 2^64"),
        (npy(1, &plain("(4,)"), &[0; 16]), "expected a matrix"),
        (npy(1, &plain("(0,)"), &[]), "there is no row"),
        (npy(1, &plain("()"), &[0; 4]), "expected a matrix"),
        (npy(1, &plain("(2, 1, 2)"), &[0; 16]), "expected a matrix"),
        (npy(1, &plain("(2, 0)"), &[]), "0 dimensions"),
        (npy(1, &plain("(0, 2)"), &[]), "there is no row"),
        (npy(1, &plain("(2, -2)"), &[0; 16]), "tuple of sizes"),
        (npy(1, &header("|i1", "False", "(2, 2)"), &[0; 4]), "`scale`"),
        (npy(1, &header("|u1", "False", "(2, 2)"), &[0; 4]), "`scale`"),
        (npy(1, &header("|V2", "False", "(2, 2)"), &[0; 8]), "`dtype_in` bf16"),
        (npy(1, &header(">f4", "False", "(2, 2)"), &[0; 16]), "big-endian"),
        (npy(1, &header("|O", "False", "(2, 2)"), &[0; 16]), "Python objects"),
        (npy(1, &header("<i4", "False", "(2, 2)"), &[0; 16]), "expected values of type"),
        (npy(9, &plain("(2, 2)"), &[0; 16]), "version"),
        (
            npy(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", &[0; 16]),
            "named columns",
        ),
        (npy(1, "{'descr': '<f4', 'shape': (2, 2), }", &[0; 16]), "fortran_order"),
        (npy(1, "import os", &[0; 16]), "expected '{'"),
        (npy(1, &(plain("(2, 2)") + "more"), &[0; 16]), "after the dictionary"),
        (b"\x93NUMPX\x01\x00 and so on".to_vec(), "not a .npy file"),
        (npy(2, "", &[])[..10].to_vec(), "ends within"),
        ([b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes()].concat(), "in a file of 12 bytes"),
    ];
    for (bytes, cause) in cases {
        assert_refused(&write(&folder, "rows.npy", &bytes), cause);
    }
    let whole = npy(1, &plain("(2, 2)"), &[0; 16]);
    for length in 0..whole.len() {
        let path = write(&folder, "rows.npy", &whole[..length]);
        assert!(matches!(Store::open(&path), Err(Error::Format { .. })), "{length} bytes");
    }
}

#[test]
fn safetensors_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |dtype: &str, shape: &str, end: usize| {
        format!("{{\"rows\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}")
    };
    let cases = [
        (safetensors(&entry("F32", "[3,2]", 16), &[0; 16]), "header"),
        (safetensors(&entry("F32", "[2,2]", 16), &[0; 15]), "expected a file of"),
        (safetensors(&entry("F32", "[2,2]", 16), &[0; 17]), "expected a file of"),
        (safetensors(&entry("I32", "[2,2]", 16), &[0; 16]), "expected a matrix"),
        (safetensors(&entry("I8", "[2,2]", 4), &[0; 4]), "`scale`"),
        (safetensors(&entry("F32", "[4]", 16), &[0; 16]), "expected a matrix"),
        (safetensors(&entry("F32", "[4,0]", 0), &[]), "0 dimensions"),
        (safetensors("{}", &[]), "expected a matrix"),
        (safetensors("[1]", &[]), "header"),
        ([u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(), "a header of 18446744073709551615 bytes"),
        (b"abc".to_vec(), "ends within its header"),
    ];
    for (bytes, cause) in cases {
        assert_refused(&write(&folder, "rows.safetensors", &bytes), cause);
    }
    let path = write(&folder, "rows.safetensors", &safetensors(&entry("F32", "[2,2]", 16), &[0; 16]));
    assert_eq!(Store::open(&path).unwrap().len(), 2, "the only matrix needs no name");
    assert!(
        Store::open_with(&path, &StoreOptions::key("other")).unwrap_err().to_string().contains("\"rows\"")
    );
}

#[test]
fn shards_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let table = |ids: [&str; 2], dim: usize| {
        EmbeddingTable::new(ids.map(String::from).to_vec(), vec![1.0; 2 * dim], dim).unwrap()
    };
    let place = |name: &str| folder.path().join(name);
    write_table(&table(["a", "b"], 2), place("0.npy")).unwrap();
    write_table(&table(["c", "a"], 2), place("1.npy")).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let error = store.check_ids().unwrap_err();
    assert!(matches!(&error, Error::DuplicateId { id, first: 0, second: 1, .. } if id == "a"), "{error}");
    assert!(error.to_string().contains("0.npy and ") && error.to_string().contains("1.npy"), "{error}");
    assert!(store.read_table().is_err());
    write_table(&table(["d", "e"], 3), place("1.npy")).unwrap();
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("1.npy: rows of 3 dimensions, but") && error.contains("rows of 2"), "{error}");
    std::fs::remove_file(place("1.npy")).unwrap();
    write_table(&table(["d", "e"], 2), place("2.safetensors")).unwrap();
    assert!(Store::open(folder.path()).unwrap_err().to_string().contains("a safetensors file beside"));
    assert_eq!(Store::open(place("*.npy")).unwrap().len(), 2);
    for nothing in ["*.parquet", "none.npy", "empty"] {
        if nothing == "empty" {
            std::fs::create_dir(place(nothing)).unwrap();
        }
        assert!(Store::open(place(nothing)).is_err(), "{nothing}");
    }
    for (lines, cause) in [
        ("{\"id\":\"a\"}\n", "expected 2 ids"),
        ("{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n", "expected 2 ids"),
        ("{\"id\":\"a\"}\n{\"caption\":\"b\"}\n", "line 2"),
        ("{\"id\":\"a\"}\n{\"id\":1.5}\n", "found 1.5"),
        ("{\"id\":\"a\"}\n[]\n", "line 2"),
        ("{\"id\":\"a\"}\n{\"id\":\"a\"}\n", "at row 0 and again at row 1"),
    ] {
        std::fs::write(place("0.jsonl"), lines).unwrap();
        assert_refused(&place("0.npy"), cause);
    }
}

#[test]
fn bad_rows_are_named_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |at: usize, value: f32| {
        let mut rows = vec![1.0; 600 * 2];
        rows[at] = value;
        EmbeddingTable::numbered(rows, 2).unwrap()
    };
    let place = |name: &str| folder.path().join(name);
    write_table(&rows(0, 1.0), place("good.npy")).unwrap();
    write_table(&rows(2 * 517 + 1, f32::NEG_INFINITY), place("bad.npy")).unwrap();
    let (good, bad) = (Store::open(place("good.npy")).unwrap(), Store::open(place("bad.npy")).unwrap());
    let options = FitOptions::default();
    let error = fit(&"realign".parse().unwrap(), &bad, &good, &options).unwrap_err();
    assert!(
        matches!(&error, Error::NonFinite { what, row: 517, column: 1, .. } if what.ends_with("bad.npy")),
        "{error}"
    );
    let options = FitOptions { policy: NonFinite::Skip, ..options };
    let (statistics, _) = fit(&"realign".parse().unwrap(), &bad, &good, &options).unwrap();
    assert_eq!((statistics.text().count(), statistics.report().text.skipped), (599, 1));
}

#[test]
fn pickles_are_rows_with_fields_and_run_nothing() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pickle");
    let table = Store::open(corpus.join("np2_p4_c.pkl")).unwrap().read_table().unwrap();
    assert_eq!((table.len(), table.dim()), (3, 4));
    assert_refused(&corpus.join("bomb_p4.pkl"), "STACK_GLOBAL at byte");
    assert_refused(&corpus.join("eval.pkl"), "eval");
    assert_refused(&corpus.join("mixed_dims.pkl"), "row");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Headers with any bytes changed are read or refused.
    #[test]
    fn damaged_headers_never_panic(
        changes in prop::collection::vec((0_usize..200, any::<u8>()), 1..6),
        which in 0_usize..2,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (name, mut bytes) = match which {
            0 => ("rows.npy", npy(1, &header("<f4", "False", "(2, 2)"), &[0; 16])),
            _ => {
                let header = "{\"e\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}";
                ("rows.safetensors", safetensors(header, &[0; 16]))
            }
        };
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let path = write(&folder, name, &bytes);
        let _ = Store::open(&path).and_then(|store| store.read_table());
    }
}
