//! What the files of the corpus hold, and why those that are refused are.

use std::io::Write;

use serde_json::{Value as Json, json};

use super::*;
use crate::Error;
use crate::embedding::pickle::PickleShard;

fn records(name: &str) -> Vec<Json> {
    let shard = PickleShard::open(&folder().join(name).with_extension("pkl")).unwrap();
    shard.records().unwrap().map(|record| record.unwrap().into()).collect()
}

fn caption(row: usize) -> String {
    format!("caption of row {row}: grün, 緑")
}

fn usual_records() -> Vec<Json> {
    (0..3).map(|row| json!({"id": format!("sample-{row}"), "caption": caption(row)})).collect()
}

#[test]
fn every_version_of_numpy_and_pickle_gives_the_same_rows() {
    for numpy in [1, 2] {
        for protocol in [3, 4, 5] {
            for pickler in ["c", "py"] {
                let name = format!("np{numpy}_p{protocol}_{pickler}");
                let path = folder().join(&name).with_extension("pkl");
                let shard = PickleShard::open(&path).unwrap();
                assert_eq!((shard.rows(), shard.dim(), shard.float()), (3, 4, FloatType::F16), "{name}");
                let bytes = std::fs::read(&path).unwrap();
                let index = index(&bytes).unwrap();
                assert_eq!(shard.offsets(), index.table.offsets, "{name}");
                assert_eq!(vectors(&bytes, &index), [vector(0), vector(1), vector(2)], "{name}");
                assert_eq!(records(&name), usual_records(), "{name}");
            }
        }
    }
}

#[test]
fn the_window_need_not_hold_the_file() {
    for (name, bytes) in corpus_files() {
        let whole = index(&bytes).map(|index| index.table.offsets);
        for window in [256, 257, 300, 411] {
            let parts = index_through(&bytes, window).map(|index| index.table.offsets);
            assert_eq!(parts, whole, "{name} through {window} bytes");
        }
    }
}

#[test]
fn other_float_types_and_rows_of_a_matrix() {
    for (name, float) in
        [("f32_paths", FloatType::F32), ("f32_paths_p3", FloatType::F32), ("f64", FloatType::F64)]
    {
        let bytes = corpus_bytes(name);
        let index = index(&bytes).unwrap();
        assert_eq!(index.table.float, float);
        assert_eq!(vectors(&bytes, &index), [vector(0), vector(1), vector(2)], "{name}");
    }
    let row = |row: i32| json!({"id": row - 1, "image_path": format!("images/{row}.png")});
    assert_eq!(records("f32_paths"), [row(0), row(1), row(2)]);
}

#[test]
fn read_only_arrays_of_protocol_5_are_plain_bytes() {
    let bytes = corpus_bytes("frozen");
    assert_eq!(vectors(&bytes, &index(&bytes).unwrap()), [vector(0), vector(1), vector(2)]);
    assert_eq!(records("frozen"), usual_records());
}

#[test]
fn records_hold_all_plain_values() {
    let expected = [
        json!({"id": "sample-0", "caption": caption(0), "score": 0.1, "width": 640, "tiny": -(1_i64 << 40),
            "last": i64::MAX, "first": i64::MIN}),
        json!({"id": "sample-1", "caption": caption(1), "ok": true, "bad": false, "nothing": null, "nan": null,
            "long": "x".repeat(300)}),
        json!({"id": 1_i64 << 62, "caption": "id", "zero": 0, "score": -2.5}),
    ];
    assert_eq!(records("fields"), expected);
}

#[test]
fn keys_may_be_objects_of_every_row_and_texts_may_be_shared() {
    let row = |row: usize| json!({"id": format!("sample-{row}"), "caption": caption(row), "extra key": row, "source": "a shared source"});
    assert_eq!(records("own_keys"), [row(0), row(1), row(2)]);
    assert_eq!(records("own_keys_p3"), [row(0), row(1), row(2)]);
    let mut expected = usual_records();
    expected[0]["caption"] = "word".into();
    expected[1]["word"] = "a value".into();
    assert_eq!(records("shared"), expected);
    let bytes = corpus_bytes("shared");
    assert_eq!(vectors(&bytes, &index(&bytes).unwrap()), [vector(0), vector(1), vector(0)]);
}

#[test]
fn refused_files_say_what_and_where() {
    let cases = [
        (
            "np1_p2_c",
            "TUPLE at byte 306, row 0: the values of an array are written as text, as protocol 2 does",
        ),
        ("np2_p2_py", "save the file again with protocol 3 or higher"),
        ("bomb_p3", "GLOBAL at byte 5: asks for posix.system"),
        ("bomb_p4", "STACK_GLOBAL at byte 30: asks for posix.system"),
        ("bomb_in_row", "STACK_GLOBAL at byte 262, row 1: asks for posix.system"),
        ("eval", "STACK_GLOBAL at byte 263, row 1: asks for builtins.eval"),
        ("instance", "STACK_GLOBAL at byte 264, row 1: asks for __main__.Plain"),
        ("nested_list", "EMPTY_LIST at byte 245, row 1: a second list"),
        (
            "dict_in_row",
            "row 2: field \"caption\": expected text, a number, a truth value or None, found a dict",
        ),
        ("set_in_row", "EMPTY_SET at byte 245, row 1: "),
        ("pair_in_row", "SETITEMS at byte 293, row 1: field \"caption\": expected text"),
        ("tuple_in_row", "TUPLE3 at byte 259, row 1: a tuple of 3 values"),
        ("bytes_in_row", "field \"caption\": expected text, a number, a truth value or None, found bytes"),
        ("array_in_row", "field \"caption\": expected text, a number, a truth value or None, found an array"),
        ("numpy_id", "row 1: asks for numpy._core.multiarray.scalar"),
        ("none_id", "row 1: field \"id\": expected text or a whole number, found None"),
        ("float_id", "row 1: field \"id\": expected text or a whole number, found a floating-point number"),
        ("huge_id", "LONG1 at byte 232, row 1: a whole number of 9 bytes"),
        ("missing_id", "row 1: no field \"id\""),
        ("missing_embed", "row 1: no field \"embed\""),
        ("list_embed", "EMPTY_LIST at byte 278, row 1: a second list"),
        ("text_embed", "row 1: field \"embed\": expected a NumPy vector of floats, found text"),
        ("object_array", "TUPLE3 at byte 308, row 1: dtype \"O8\""),
        ("int_array", "dtype \"i4\", expected f2, f4 or f8"),
        ("void_array", "dtype \"V2\", expected f2, f4 or f8"),
        ("big_endian_p3", "row 1: byte order '>': expected little-endian values"),
        ("big_endian_p5", "row 1: byte order '>': expected little-endian values"),
        ("two_vectors_p3", "row 1: an array of shape (2, 4), expected one vector: (d,) or (1, d)"),
        ("two_vectors_p5", "row 1: an array of shape (2, 4), expected one vector: (d,) or (1, d)"),
        ("cube", "TUPLE3 at byte"),
        ("scalar_array", "EMPTY_TUPLE at byte"),
        ("no_values", "row 1: an array of 0 values"),
        ("mixed_dims", "row 1: field \"embed\": expected 4 values as in row 0, found 5"),
        ("mixed_types", "row 1: field \"embed\": expected f16 as in row 0, found f32"),
        ("number_key", "row 0: a whole number as a key, expected text"),
        ("field_twice", "a dict that holds a field twice"),
        ("dict_on_top", "EMPTY_DICT at byte 11: expected a list of dicts, found a dict"),
        ("array_on_top", "an array of shape (2, 4)"),
        ("text_on_top", "STOP at byte 18: expected a list of dicts, found text"),
        ("tuple_on_top", "EMPTY_DICT at byte 11: expected a list of dicts, found a dict"),
        ("empty", "the list is empty"),
        ("protocol_1", "no pickle of protocol 2 or higher: it starts with the byte 0x5d"),
        ("cut_off", "the file ends"),
        ("more_bytes", "STOP at byte 408: bytes after the end of the pickle: 1"),
    ];
    for (name, expected) in cases {
        let error = error(&corpus_bytes(name));
        assert!(error.contains(expected), "{name}: expected {expected:?}, found {error:?}");
    }
}

#[test]
fn errors_name_the_file() {
    let path = folder().join("bomb_p3.pkl");
    assert!(matches!(PickleShard::open(&path), Err(Error::Format { path: named, .. }) if named == path));
    let path = folder().join("no such file.pkl");
    assert!(matches!(PickleShard::open(&path), Err(Error::Io { path: named, .. }) if named == path));
}

#[test]
fn a_file_that_changes_is_noticed() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes = corpus_bytes("fields");
    file.write_all(&bytes).unwrap();
    let shard = PickleShard::open(file.path()).unwrap();
    std::fs::write(file.path(), vec![0; bytes.len()]).unwrap();
    let errors: Vec<_> = shard.records().unwrap().map(|record| record.unwrap_err().to_string()).collect();
    assert_eq!(errors.len(), 3);
    assert!(errors.iter().all(|error| error.contains("has changed")), "{errors:?}");
    std::fs::write(file.path(), b"short").unwrap();
    assert!(shard.records().err().unwrap().to_string().contains("it had 829 bytes and now has 5"));
}

#[test]
fn every_beginning_of_a_file_is_an_error() {
    for (name, bytes) in corpus_files() {
        if index(&bytes).is_ok() {
            for length in 0..bytes.len() {
                let error = error(&bytes[..length]);
                assert!(
                    error.contains("the file ends") || error == "the file is empty",
                    "{name} to {length}: {error}"
                );
            }
        }
    }
}
