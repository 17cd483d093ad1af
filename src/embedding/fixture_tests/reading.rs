//! Values and ids of every form.

use super::*;

fn default() -> StoreOptions {
    StoreOptions::default()
}

#[test]
fn arrays_of_numpy() {
    assert_reads("fortran.npy", &default(), &numbers());
    let scale = StoreOptions { scale: Some(0.125), ..default() };
    assert_reads("int8.npy", &scale, &numbers());
    let table = read("uint8.npy", &scale);
    assert!(
        (0..ROWS).all(|row| table
            .row(row)
            .iter()
            .zip(expected(row))
            .all(|(found, value)| *found == value + 1.0))
    );
    let bf16 = StoreOptions { dtype_in: Some(FloatType::BF16), ..default() };
    assert_reads("bfloat16.npy", &bf16, &numbers());
    assert_eq!(open("bfloat16.npy", &bf16).unwrap().shards()[0].float(), FloatType::BF16);
}

#[test]
fn archives_of_numpy() {
    assert_reads("stored.npz", &default(), &images());
    assert_reads("alone.npz", &default(), &numbers());
    let ids: Vec<String> = (100..107).map(|id| id.to_string()).collect();
    assert_reads("deflated.npz", &StoreOptions::key("image"), &ids);
    assert_eq!(read("deflated.npz", &StoreOptions::key("text")).row(3)[0], -2.0);
}

#[test]
fn tensors_of_pytorch() {
    assert_reads("tensor.pt", &default(), &numbers());
    assert_reads("transposed.pt", &default(), &numbers());
    assert_reads("slice.pth", &default(), &numbers());
    assert_reads("dict.pt", &default(), &images());
    assert_reads("two.pt", &StoreOptions::key("image"), &numbers());
    assert_reads("int8.pt", &StoreOptions { scale: Some(0.125), ..default() }, &numbers());
}

#[test]
fn files_without_a_row_are_passed_over_and_told() {
    let options = StoreOptions { ids: Ids::Rows, ..default() };
    assert_reads("shards", &options, &numbers());
    let report = open("shards", &options).unwrap().report();
    assert_eq!(report.empty_files, [fixture("shards/1.npy")]);
    assert!(report.notes()[0].contains("1.npy has no row"), "{:?}", report.notes());
}

#[test]
fn samples_of_webdataset() {
    let ids: Vec<String> = (0..ROWS).map(|row| format!("{row:06}")).collect();
    assert_reads("webdataset.tar", &default(), &ids);
    assert_reads("two_members.tar", &StoreOptions::key("img"), &ids);
    assert_reads("two_members.tar", &StoreOptions::key("img.npy"), &ids);
    let record = open("webdataset.tar", &default()).unwrap().record("000005").unwrap();
    assert_eq!(
        (&record["caption"], &record["url"]),
        (&"caption 5".into(), &"https://example.org/image 5".into())
    );
}

#[cfg(feature = "parquet")]
mod columns {
    use super::*;

    #[test]
    fn bytes_and_texts_of_parquet() {
        assert_reads("texts.parquet", &default(), &images());
        for (name, tolerance) in [("f8", 1e-8), ("f4", 1e-8), ("f2", 1e-4)] {
            let table = read(&format!("bytes_wide_{name}.parquet"), &default());
            let expected = |value: usize| (value as f64 * 0.7 + 0.3).sin() / 8.0;
            for (value, found) in table.rows().iter().enumerate() {
                assert!((f64::from(*found) - expected(value)).abs() < tolerance, "{name}, {value}: {found}");
            }
            assert_eq!((table.len(), table.dim()), (ROWS, 64), "{name}");
        }
        let half = StoreOptions { dtype_in: Some(FloatType::F16), ..default() };
        assert_reads("bytes_f16.parquet", &half, &images());
        assert_eq!(open("bytes_f16.parquet", &half).unwrap().shards()[0].float(), FloatType::F16);
    }

    #[test]
    fn nulls_are_nan_where_that_is_asked_for() {
        let options = StoreOptions { null_as_nan: true, ..default() };
        for (name, null) in [("nulls.parquet", 2), ("fixed_nulls.parquet", 2), ("first_null.parquet", 0)] {
            let table = read(name, &options);
            for row in 0..ROWS {
                if row == null {
                    assert!(table.row(row).iter().all(|value| value.is_nan()), "{name}");
                } else {
                    assert_eq!(table.row(row), expected(row), "{name}");
                }
            }
        }
    }

    #[test]
    fn streams_and_files_of_arrow() {
        for name in ["stream.arrow", "file.arrow", "fixed.arrow", "views.arrow", "plain.feather"] {
            assert_reads(name, &default(), &images());
        }
        assert_reads("saved", &default(), &images());
        let record = open("stream.arrow", &default()).unwrap().record("image 6").unwrap();
        assert_eq!(record["caption"], "caption 6");
    }
}
