use std::io::Cursor;

use proptest::prelude::*;
use serde_json::json;

use super::super::ParquetWriter;
use super::*;

fn writer(float: FloatType, dim: usize) -> ParquetWriter<Cursor<Vec<u8>>> {
    ParquetWriter::new(Cursor::new(Vec::new()), Path::new("out.parquet"), float, dim, None).unwrap()
}

fn objects(value: Value) -> Vec<Map<String, Value>> {
    serde_json::from_value(value).unwrap()
}

fn reopen(writer: ParquetWriter<Cursor<Vec<u8>>>) -> (tempfile::TempDir, ParquetShard) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    std::fs::write(&path, writer.finish().unwrap().into_inner()).unwrap();
    let shard = ParquetShard::open(&path, &StoreOptions::default()).unwrap();
    (folder, shard)
}

#[test]
fn columns_are_those_of_the_first_records() {
    let mut writer = writer(FloatType::F32, 1);
    let first = json!([
        {"z": 1.5, "id": 7, "a": true, "deep": {"y": 1, "x": [1, 2]}},
        {"id": "eight", "z": null},
    ]);
    writer.write(&[0; 8], &objects(first)).unwrap();
    writer.write(&[0; 4], &objects(json!([{"id": "nine", "a": false}]))).unwrap();
    let (_folder, shard) = reopen(writer);
    let expected = json!([
        {"id": "7", "a": true, "deep": {"x": [1, 2], "y": 1}, "z": 1.5},
        {"id": "eight", "a": null, "deep": null, "z": null},
        {"id": "nine", "a": false, "deep": null, "z": null},
    ]);
    assert_eq!(records(&shard).unwrap(), objects(expected));
    let schema = shard.extras_schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "a", "deep", "z"]);
    assert_eq!(shard.rows(), 3);
}

#[test]
fn no_rows_make_a_file_too() {
    let (_folder, shard) = reopen(writer(FloatType::F16, 3));
    assert_eq!((shard.rows(), shard.dim(), shard.float(), shard.has_ids()), (0, 3, FloatType::F16, true));
}

#[test]
fn records_without_members_make_a_file_of_embeddings() {
    let mut writer = writer(FloatType::F64, 1);
    writer.write(&1.5_f64.to_le_bytes(), &[Map::new()]).unwrap();
    let (_folder, shard) = reopen(writer);
    assert_eq!(bytes_from(&shard, 0, 1).unwrap(), 1.5_f64.to_le_bytes());
    assert!(shard.extras_schema().fields().is_empty());
}

#[test]
fn a_record_that_does_not_fit_is_refused_and_the_file_stays_incomplete() {
    for (record, named) in [
        (json!([{"id": "c", "n": 1, "new": 2}]), "new"),
        (json!([{"n": 1}]), "id"),
        (json!([{"id": "c", "n": "many"}]), "many"),
        (json!([{"id": ["c"], "n": 1}]), "id"),
    ] {
        let mut writer = writer(FloatType::F32, 1);
        writer.write(&[0; 8], &objects(json!([{"id": "a", "n": 1}, {"id": "b"}]))).unwrap();
        let path = Path::new("out.parquet");
        let error = cause(path, writer.write(&[0; 4], &objects(record)).unwrap_err());
        assert!(error.contains("rows 2 to 2") && error.contains(named), "{named}: {error}");
        assert!(
            cause(path, writer.write(&[0; 4], &objects(json!([{"id": "c"}]))).unwrap_err())
                .contains("earlier")
        );
        assert!(cause(path, writer.finish().unwrap_err()).contains("earlier"));
    }
}

#[test]
fn bytes_and_records_must_agree() {
    let mut writer = writer(FloatType::F32, 2);
    let records = objects(json!([{"id": "a"}]));
    assert!(matches!(writer.write(&[0; 4], &records), Err(Error::Mismatch { expected: 8, actual: 4, .. })));
    assert!(matches!(writer.write(&[0; 8], &[]), Err(Error::Mismatch { expected: 0, actual: 8, .. })));
    writer.write(&[0; 8], &records).unwrap();
}

#[test]
fn a_second_embedding_column_is_refused() {
    let path = corpus("two_lists");
    let shard = ParquetShard::open(&path, &StoreOptions::key("image")).unwrap();
    let schema = open("list_f32").extras_schema();
    let named = |name: &str| {
        let mut fields = schema.fields().to_vec();
        fields[1] = fields[1].as_ref().clone().with_name(name).into();
        std::sync::Arc::new(arrow_schema::Schema::new(fields))
    };
    let make = |extras| ParquetWriter::new(Cursor::new(Vec::new()), &path, shard.float(), 4, Some(extras));
    assert!(make(named("other")).is_ok());
    assert!(cause(&path, make(named("embedding")).unwrap_err()).contains("embedding"));
    assert!(make(shard.extras_schema()).is_ok());
}

#[test]
fn a_row_needs_a_length() {
    let make = |dim| ParquetWriter::new(Vec::new(), Path::new("x"), FloatType::F32, dim, None);
    assert!(matches!(make(0), Err(Error::Config { .. })));
    assert!(matches!(make(1 << 31), Err(Error::Config { .. })));
}

#[test]
fn what_cannot_be_written_is_an_error_of_the_file() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut writer = ParquetWriter::new(Full, Path::new("full"), FloatType::F32, 1, None).unwrap();
    let outcome =
        writer.write(&[0; 4], &objects(json!([{"id": "a"}]))).and_then(|()| writer.finish().map(drop));
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
}

#[test]
fn several_row_groups_are_read_from_any_row() {
    let (dim, rows) = (1024, 13_000);
    let mut writer = writer(FloatType::F32, dim);
    let value = |row: usize, i: usize| (row * dim + i) as f32;
    for first in (0..rows).step_by(1000) {
        let bytes: Vec<u8> = (first..first + 1000)
            .flat_map(|row| (0..dim).flat_map(move |i| value(row, i).to_le_bytes()))
            .collect();
        let records: Vec<_> =
            (first..first + 1000).map(|row| Map::from_iter([("id".to_string(), Value::from(row))])).collect();
        writer.write(&bytes, &records).unwrap();
    }
    let (_folder, shard) = reopen(writer);
    assert_eq!(shard.rows(), rows);
    let mut bytes = Vec::new();
    for first in [0, 1, 999, 6143, 6144, 6145, 12_287, 12_288, 12_999] {
        shard.rows_from(first).unwrap().read(2, &mut bytes).unwrap();
        let found = decode(FloatType::F32, &bytes);
        assert_eq!(
            (found[0], found[dim - 1]),
            (value(first, 0).into(), value(first, dim - 1).into()),
            "{first}"
        );
        assert_eq!(found.len(), dim * 2.min(rows - first));
    }
    let ids = records(&shard).unwrap();
    assert!(ids.iter().enumerate().all(|(row, record)| record["id"].as_str() == Some(&row.to_string())));
}

#[test]
fn long_extras_end_a_row_group_early() {
    let mut writer = writer(FloatType::F32, 1);
    // Text that does not compress: digits of a recurrence.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        format!("{state:020}")
    };
    for row in 0..100 {
        let text: String = (0..100_000).map(|_| noise()).collect();
        writer.write(&[0; 4], &objects(json!([{"id": row, "text": text}]))).unwrap();
    }
    let (_folder, shard) = reopen(writer);
    assert_eq!(shard.rows(), 100);
    assert!(shard.row_groups() > 1);
}

proptest! {
    /// Whatever the bits, they come back, NaN included; and the same calls make the same file.
    #[test]
    fn bits_and_records_come_back(
        rows in prop::collection::vec((prop::array::uniform3(any::<u64>()), any::<f64>(), any::<f32>(), any::<i64>(), ".{0,6}"), 1..40),
        float in prop::sample::select(vec![FloatType::F16, FloatType::F32, FloatType::F64]),
        split in 1_usize..40,
    ) {
        let bytes: Vec<u8> = rows
            .iter()
            .flat_map(|row| row.0)
            .flat_map(|bits| bits.to_le_bytes()[..float.size()].to_vec())
            .collect();
        let given: Vec<Map<String, Value>> = rows
            .iter()
            .enumerate()
            .map(|(id, (_, double, single, whole, text))| {
                let record = json!({"id": id.to_string(), "d": double, "s": f64::from(*single), "t": text, "w": whole});
                serde_json::from_value(record).unwrap()
            })
            .collect();
        let make = || {
            let mut writer = writer(float, 3);
            for (rows, records) in bytes.chunks(split * 3 * float.size()).zip(given.chunks(split)) {
                writer.write(rows, records).unwrap();
            }
            writer
        };
        prop_assert_eq!(make().finish().unwrap().into_inner(), make().finish().unwrap().into_inner());
        let (_folder, shard) = reopen(make());
        prop_assert_eq!(bytes_from(&shard, 0, 7).unwrap(), bytes);
        prop_assert_eq!(records(&shard).unwrap(), given);
    }
}
