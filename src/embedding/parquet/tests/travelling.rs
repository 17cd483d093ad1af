use std::io::Cursor;

use serde_json::json;

use super::super::ParquetWriter;
use super::*;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("expected an object, found {other}"),
    }
}

#[test]
fn records_say_every_column_with_nulls() {
    let records = records(&open("list_f32")).unwrap();
    assert_eq!(records.len(), ROWS);
    assert_eq!(records[0], object(json!({"id": "id-0", "caption": "caption \"0\" ü"})));
    assert_eq!(records[2], object(json!({"id": "id-2", "caption": null})));
}

#[test]
fn a_file_of_nothing_but_embeddings_has_empty_records() {
    assert_eq!(records(&open("only_embedding")).unwrap(), vec![Map::new(); ROWS]);
}

#[test]
fn every_kind_of_column_is_told() {
    let records = records(&open("kinds")).unwrap();
    let told = object(json!({
        "id": "id-2",
        "big": i64::MAX - 2,
        "biggest": u64::MAX - 2,
        "byte": -2,
        "double": 0.1 + 0.2 + 2.0,
        "single": 0.2,
        "flag": true,
        "label": "label 0",
        "date": "2024-03-02",
        "time": "23:59:58.123456",
        "local": "2024-03-02T23:59:58.123456",
        "nanos": "2024-02-29T23:59:58.123456791",
        "instant": "2024-03-02T23:59:58.123Z",
        "duration": 2_000_001,
        "price": "12345678901234567892.12",
        "raw": "00ff02",
        "hash": "0210",
        "tags": ["t2", null],
        "box": {"x": 0.2, "name": "n"},
        "counts": {"b": 2, "a": null},
        "nothing": null,
    }));
    for (name, value) in &told {
        assert_eq!(&records[2][name], value, "{name}");
    }
    assert_eq!(records[2].len(), told.len());
    let id = Value::from("id-1");
    assert!(records[1].iter().all(|(name, value)| value == if name == "id" { &id } else { &Value::Null }));
}

#[test]
fn a_pandas_frame_keeps_its_index() {
    let shard = open("pandas");
    let records = records(&shard).unwrap();
    let told = json!({
        "id": 20, "score": 2.0 / 3.0, "kind": "kind 0", "when": "2024-01-03T00:00:00Z", "name": "row 2",
    });
    assert_eq!(records[2], object(told));
    assert_eq!(records[1]["score"], Value::Null);
    assert!(shard.extras_schema().metadata().contains_key("pandas"));
}

/// Writes `shard` anew, `n` rows at a time.
fn copy(shard: &ParquetShard, n: usize) -> Vec<u8> {
    let (out, path) = (Cursor::new(Vec::new()), Path::new("copy.parquet"));
    let mut writer =
        ParquetWriter::new(out, path, shard.float(), shard.dim(), Some(shard.extras_schema())).unwrap();
    let (mut rows, mut records) = (shard.rows_from(0).unwrap(), shard.records().unwrap());
    let mut bytes = Vec::new();
    loop {
        let read = rows.read(n, &mut bytes).unwrap();
        if read == 0 {
            assert!(records.next().is_none());
            return writer.finish().unwrap().into_inner();
        }
        let records: Vec<_> = records.by_ref().take(read).map(Result::unwrap).collect();
        writer.write(&bytes, &records).unwrap();
    }
}

#[test]
fn all_columns_reach_a_copy_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["list_f16", "fixed_f32", "large_list_f64", "only_embedding", "kinds", "pandas", "no_rows_fixed"];
    for name in names {
        let shard = open(name);
        let path = folder.path().join(name);
        std::fs::write(&path, copy(&shard, 3)).unwrap();
        let back = ParquetShard::open(&path, &StoreOptions::default()).unwrap();
        assert_eq!(back.extras_schema(), shard.extras_schema(), "{name}");
        assert_eq!(
            (back.float(), back.dim(), back.rows()),
            (shard.float(), shard.dim(), shard.rows()),
            "{name}"
        );
        assert_eq!(records(&back).unwrap(), records(&shard).unwrap(), "{name}");
        assert_eq!(bytes_from(&back, 0, 2).unwrap(), bytes_from(&shard, 0, 2).unwrap(), "{name}");
        assert_eq!(copy(&back, 3), std::fs::read(&path).unwrap(), "{name}: a copy of a copy differs");
    }
}
