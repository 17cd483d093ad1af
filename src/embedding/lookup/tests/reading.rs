//! Rows come back by their ids.

use proptest::prelude::*;

use super::*;

#[test]
fn every_format_reads_back_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    for (format, float) in kinds() {
        let path = folder.path().join(format!("{float}.{format}"));
        write(&path, float, Some(&names("image ", 70)), &values(1, 70, 5), 5);
        assert_reads_as_a_table(&path);
    }
}

#[test]
fn pickles_of_every_type_read_back() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pickle");
    let folder = tempfile::tempdir().unwrap();
    for name in ["f32_paths", "np2_p5_c"] {
        std::fs::copy(
            corpus.join(name).with_extension("pkl"),
            folder.path().join(name).with_extension("pkl"),
        )
        .unwrap();
    }
    assert_reads_as_a_table(folder.path());
    for name in ["f64", "np1_p3_py", "own_keys", "shared"] {
        assert_reads_as_a_table(&corpus.join(name).with_extension("pkl"));
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_files_by_other_writers_read_back() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/parquet");
    for name in ["fixed_f16", "fixed_f64_split", "large_list_f64", "list_f32", "pandas", "only_embedding"] {
        assert_reads_as_a_table(&corpus.join(name).with_extension("parquet"));
    }
}

#[test]
fn bits_stay_as_they_are_whatever_the_values() {
    let folder = tempfile::tempdir().unwrap();
    let odd = [f32::NAN, f32::INFINITY, -0.0, 0.0, f32::MIN_POSITIVE / 2.0, f32::MAX];
    let path = folder.path().join("odd.npy");
    write(&path, FloatType::F32, None, &odd, 2);
    let mut out = [1.0; 6];
    open(&path).unwrap().read(&[0, 1, 2], &mut out).unwrap();
    assert_eq!(out.map(f32::to_bits), odd.map(f32::to_bits));
}

#[test]
fn without_ids_the_numbers_of_rows_are_the_ids() {
    let folder = tempfile::tempdir().unwrap();
    for format in kinds().into_iter().filter(|kind| kind.1 == FloatType::F16).map(|kind| kind.0) {
        let place = folder.path().join(format.extension());
        std::fs::create_dir(&place).unwrap();
        for (shard, rows) in [3, 1, 8].into_iter().enumerate() {
            let path = place.join(format!("{shard}.{format}"));
            write(&path, FloatType::F16, None, &values(shard as u64, rows, 2), 2);
        }
        assert_reads_as_a_table(&place);
        let lookup = open(&place).unwrap();
        assert_eq!(lookup.ids.bytes(), 0, "numbers need no index");
        for other in ["12", "-1", "01", "+1", "", "1.0"] {
            assert_eq!(lookup.position(other), None, "{other:?}");
        }
    }
}

#[test]
fn shards_with_and_without_ids_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("0.npy"), FloatType::F32, Some(&names("a", 2)), &values(1, 2, 3), 3);
    write(&folder.path().join("1.npy"), FloatType::F32, None, &values(2, 4, 3), 3);
    assert_reads_as_a_table(folder.path());
    let ids = ["b".to_string(), "5".to_string()];
    write(&folder.path().join("2.npy"), FloatType::F32, Some(&ids), &values(3, 2, 3), 3);
    // Row 5 of the store is row 3 of the shard without ids.
    match open(folder.path()).unwrap_err() {
        Error::DuplicateId { what, id, first: 3, second: 1 } => {
            assert_eq!(id, "5");
            assert!(what.contains("1.npy") && what.contains("2.npy"), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn double_ids_name_both_places() {
    let folder = tempfile::tempdir().unwrap();
    for format in kinds().into_iter().filter(|kind| kind.1 == FloatType::F32).map(|kind| kind.0) {
        let mut ids = names("a", 9);
        (ids[7], ids[8]) = (ids[2].clone(), ids[0].clone());
        let path = folder.path().join(format!("double.{format}"));
        write(&path, FloatType::F32, Some(&ids), &values(1, 9, 2), 2);
        match open(&path).unwrap_err() {
            Error::DuplicateId { what, id, first: 2, second: 7 } => {
                assert_eq!((what.as_str(), id.as_str()), (path.to_str().unwrap(), "a2"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ids_of_another_number_of_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    let sidecar = path.with_extension("jsonl");
    write(&path, FloatType::F32, Some(&names("a", 3)), &values(1, 3, 2), 2);
    for lines in ["{\"id\": 1}\n{\"id\": 2}\n", "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n{\"id\": 4}\n"] {
        std::fs::write(&sidecar, lines).unwrap();
        assert!(detail(open(&path), &sidecar).contains("expected 3 ids"));
    }
    std::fs::write(&sidecar, "{\"id\": 1}\nnot json\n{\"id\": 3}\n").unwrap();
    assert!(detail(open(&path), &sidecar).contains("line 2"));
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    write(&path, FloatType::F32, None, &values(1, 3, 2), 2);
    let lookup = open(&path).unwrap();
    let error = lookup.read(&[0, 1], &mut [0.0; 3]).unwrap_err();
    assert!(matches!(error, Error::Mismatch { expected: 4, actual: 3, .. }), "{error}");
    let error = lookup.read(&[0, 3], &mut [0.0; 4]).unwrap_err();
    assert!(matches!(error, Error::TooFewRows { needed: 4, actual: 3, .. }), "{error}");
    lookup.read(&[], &mut []).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_store_reads_as_its_table(
        kind in prop::sample::select(kinds()),
        shards in prop::collection::vec((0_usize..40, any::<bool>()), 1..5),
        dim in 1_usize..20,
        seed: u64,
    ) {
        prop_assume!(shards.iter().any(|(rows, _)| *rows > 0));
        let (folder, (format, float)) = (tempfile::tempdir().unwrap(), kind);
        for (number, (rows, has_ids)) in shards.into_iter().enumerate() {
            let path = folder.path().join(format!("{number}.{format}"));
            let ids = names(&format!("shard {number} row "), rows);
            let values = values(seed.wrapping_add(number as u64), rows, dim);
            write(&path, float, has_ids.then_some(ids.as_slice()), &values, dim);
        }
        assert_reads_as_a_table(folder.path());
    }
}
