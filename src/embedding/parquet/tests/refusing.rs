use super::*;

fn refusal(name: &str, column: Option<&str>) -> String {
    let path = corpus(name);
    cause(
        &path,
        ParquetShard::open(&path, &StoreOptions { key: column.map(String::from), ..StoreOptions::default() })
            .unwrap_err(),
    )
}

#[test]
fn a_missing_column_is_named_with_those_there_are() {
    let error = refusal("list_f32", Some("vector"));
    assert!(
        error.contains("\"vector\"") && error.contains("\"id\"") && error.contains("\"embedding\""),
        "{error}"
    );
}

#[test]
fn a_column_of_another_type_is_refused() {
    assert!(refusal("list_f32", Some("id")).contains("row 0: expected a list of numbers as JSON"));
    assert!(refusal("integers", Some("embedding")).contains("Int64"));
    assert!(refusal("integers", None).contains("no column is a list of floats"));
}

#[test]
fn several_candidates_are_listed() {
    let error = refusal("three_lists", None);
    assert!(["\"a\"", "\"b\"", "\"c\""].iter().all(|name| error.contains(name)), "{error}");
    assert_eq!(ParquetShard::open(&corpus("three_lists"), &StoreOptions::key("b")).unwrap().rows(), ROWS);
}

#[test]
fn rows_without_a_length_are_refused() {
    assert!(refusal("empty_lists", None).contains("0 dimensions"));
}

#[test]
fn a_bad_row_is_named() {
    for (name, what) in [
        ("ragged", "row 5: expected 4 values, found 3"),
        ("null_list", "row 5: null"),
        ("null_value", "row 5: value 2 is null"),
        ("null_fixed", "row 5: null"),
    ] {
        let shard = open(name);
        for first in [0, 3, 4, 5] {
            let error = cause(&corpus(name), bytes_from(&shard, first, 2).unwrap_err());
            assert!(error.contains("\"embedding\"") && error.contains(what), "{name} from {first}: {error}");
        }
        assert_eq!(decode(shard.float(), &bytes_from(&shard, 6, 2).unwrap()), expected(6), "{name}");
        assert_eq!(records(&shard).unwrap().len(), ROWS, "{name}");
    }
}

#[test]
fn nothing_is_read_after_an_error() {
    let (mut rows, mut bytes) = (open("ragged").rows_from(5).unwrap(), Vec::new());
    assert!(cause(&corpus("ragged"), rows.read(1, &mut bytes).unwrap_err()).contains("row 5"));
    assert!(cause(&corpus("ragged"), rows.read(1, &mut bytes).unwrap_err()).contains("earlier error"));
}

#[test]
fn a_codec_that_is_not_compiled_in_is_named() {
    assert!(refusal("brotli", None).to_lowercase().contains("brotli"));
}

#[test]
fn a_missing_file_is_an_error_of_the_system() {
    assert!(matches!(
        ParquetShard::open(Path::new("no/such.parquet"), &StoreOptions::default()),
        Err(Error::Io { .. })
    ));
    assert!(ParquetShard::open(&std::env::temp_dir(), &StoreOptions::default()).is_err());
}
