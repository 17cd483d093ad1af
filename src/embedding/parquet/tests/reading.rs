use super::*;

#[test]
fn every_list_type_and_codec_gives_the_same_values() {
    use FloatType::{F16, F32, F64};
    for (name, float) in [
        ("list_f16", F16),
        ("list_f32", F32),
        ("list_f64", F64),
        ("large_list_f64", F64),
        ("fixed_f16", F16),
        ("fixed_f32", F32),
        ("fixed_f64_split", F64),
        ("only_embedding", F32),
        ("numbered", F32),
        ("two_lists", F64),
        ("kinds", F32),
        ("pandas", F64),
    ] {
        let shard = open(name);
        assert_eq!((shard.float(), shard.rows(), shard.dim()), (float, ROWS, DIM), "{name}");
        for first in 0..=ROWS {
            let values: Vec<f64> = (first..ROWS).flat_map(expected).collect();
            for n in [1, 2, 3, 100] {
                assert_eq!(
                    decode(float, &bytes_from(&shard, first, n).unwrap()),
                    values,
                    "{name}: {n} from {first}"
                );
            }
        }
    }
}

#[test]
fn reading_takes_as_many_rows_as_asked_for_until_the_end() {
    let mut rows = open("fixed_f32").rows_from(1).unwrap();
    let mut bytes = vec![1, 2, 3];
    let counts = [4, 0, 4, 4].map(|n| rows.read(n, &mut bytes).unwrap());
    assert_eq!(counts, [4, 0, 2, 0]);
    assert!(bytes.is_empty());
}

#[test]
fn a_start_past_the_end_is_an_error() {
    let shard = open("fixed_f32");
    assert!(matches!(shard.rows_from(8), Err(Error::Mismatch { expected: 7, actual: 8, .. })));
}

#[test]
fn the_embedding_is_found_by_name_or_as_the_only_list() {
    let image = ParquetShard::open(&corpus("two_lists"), &StoreOptions::key("image")).unwrap();
    assert_eq!(image.float(), FloatType::F32);
    assert_eq!(decode(image.float(), &bytes_from(&image, 6, 1).unwrap()), expected(6));
    let names = |shard: &ParquetShard| {
        shard.extras_schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&image), ["id", "caption", "embed"]);
    assert_eq!(names(&open("two_lists")), ["id", "caption", "image"]);
    assert_eq!(names(&open("large_list_f64")), ["id", "caption"]);
}

#[test]
fn ids_are_there_or_not() {
    assert!(open("list_f32").has_ids());
    assert!(open("numbered").has_ids());
    assert!(!open("only_embedding").has_ids());
    let ids: Vec<Value> =
        records(&open("numbered")).unwrap().iter().map(|record| record["id"].clone()).collect();
    assert_eq!(ids, (100..107).map(Value::from).collect::<Vec<_>>());
}

#[test]
fn a_fixed_length_is_known_without_rows() {
    let shard = open("no_rows_fixed");
    assert_eq!((shard.rows(), shard.dim()), (0, DIM));
    assert!(bytes_from(&shard, 0, 5).unwrap().is_empty());
    assert!(records(&shard).unwrap().is_empty());
}

#[test]
fn a_list_of_any_length_without_rows_has_none() {
    let shard = open("no_rows_list");
    assert_eq!((shard.rows(), shard.dim()), (0, 0));
}

#[test]
fn lists_of_pictures_and_texts_leave_bytes_and_floats_out() {
    use crate::embedding::parquet::ParquetTable;
    let table = ParquetTable::open(&corpus("kinds")).unwrap();
    let whole: Vec<_> = table.records().unwrap().map(Result::unwrap).collect();
    let short: Vec<_> = table.readable().unwrap().map(Result::unwrap).collect();
    assert_eq!((whole.len(), short.len()), (ROWS, ROWS));
    for (mut whole, short) in whole.into_iter().zip(short) {
        for column in ["raw", "hash", "embedding"] {
            assert!(whole.remove(column).is_some(), "{column}");
        }
        assert_eq!(whole, short);
    }
}
