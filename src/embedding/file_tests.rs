use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{EMBEDDINGS_KEY, EmbeddingTable, StoreOptions, read_table, read_table_with, write_table};
use crate::Error;

fn table() -> EmbeddingTable {
    let ids = ["a", "b \"quoted\"", "ü"].map(String::from).to_vec();
    EmbeddingTable::new(ids, vec![1.0, f32::MIN_POSITIVE, -0.0, 3.4e38, 0.1, -7.25], 2).unwrap()
}

fn assert_format_error(path: &Path) {
    match read_table(path) {
        Err(Error::Format { path: named, detail }) => {
            assert_eq!(named.file_stem(), path.file_stem());
            assert!(!detail.is_empty());
        }
        other => panic!("expected a format error, found {other:?}"),
    }
}

#[test]
fn ids_of_another_table_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.safetensors");
    let table = |ids: [&str; 2]| {
        EmbeddingTable::new(ids.map(String::from).to_vec(), vec![1.0, 2.0, 3.0, 4.0], 2).unwrap()
    };
    write_table(&table(["a", "b"]), &path).unwrap();
    let ids = std::fs::read(path.with_extension("jsonl")).unwrap();
    write_table(&table(["b", "a"]), &path).unwrap();
    assert_eq!(read_table(&path).unwrap(), table(["b", "a"]));
    std::fs::write(path.with_extension("jsonl"), ids).unwrap();
    assert!(read_table(&path).unwrap_err().to_string().contains("not the ids"));
}

#[test]
fn a_table_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.safetensors");
    write_table(&table(), &path).unwrap();
    let back = read_table(&path).unwrap();
    assert_eq!(back.ids(), table().ids());
    let bits = |table: &EmbeddingTable| table.rows().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(&table()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no partial file is left");
    std::fs::remove_file(path.with_extension("jsonl")).unwrap();
    assert_eq!(read_table(&path).unwrap().ids(), ["0", "1", "2"]);
    assert!(matches!(read_table_with(&path, &StoreOptions::key("other")), Err(Error::Format { .. })));
}

#[test]
fn every_float_type_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let values = [1.0_f64, -0.5, 0.25, 1024.0];
    let kinds = [
        (Dtype::F16, DType::F16),
        (Dtype::BF16, DType::BF16),
        (Dtype::F32, DType::F32),
        (Dtype::F64, DType::F64),
    ];
    for (stored, dtype) in kinds {
        let data = TensorData::new(values.to_vec(), [2, 2]).convert_dtype(dtype);
        let view = TensorView::new(stored, vec![2, 2], data.as_bytes()).unwrap();
        let path = folder.path().join("rows.safetensors");
        std::fs::write(&path, safetensors::serialize([(EMBEDDINGS_KEY, view)], None).unwrap()).unwrap();
        assert_eq!(read_table(&path).unwrap().rows(), values.map(|v| v as f32));
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.safetensors");
    write_table(&table(), &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_format_error(&path);
    }
}

/// A file that is cut off in what stands behind its last row may still be read; then it is the whole.
#[test]
fn files_of_other_tools_cut_off_anywhere_are_an_error_or_whole() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embeddings");
    let mut names = vec![
        "stored.npz",
        "deflated.npz",
        "dict.pt",
        "slice.pth",
        "webdataset.tar",
        "fortran.npy",
        "int8.npy",
    ];
    if cfg!(feature = "parquet") {
        names.extend([
            "stream.arrow",
            "file.arrow",
            "plain.feather",
            "views.arrow",
            "texts.parquet",
            "nulls.parquet",
        ]);
    }
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let options = StoreOptions {
            key: (name == "deflated.npz").then(|| "image".to_string()),
            scale: Some(0.125),
            null_as_nan: true,
            ..StoreOptions::default()
        };
        let (whole, path) = (std::fs::read(fixtures.join(name)).unwrap(), folder.path().join(name));
        let expected = read_table_with(fixtures.join(name), &options).unwrap();
        // Every byte of headers and of what follows them; tar files are long and mostly zeros.
        let step = if whole.len() > 10_000 { 37 } else { 1 };
        for length in (0..whole.len()).step_by(step) {
            std::fs::write(&path, &whole[..length]).unwrap();
            match read_table_with(&path, &options) {
                Err(Error::Format { path: named, .. }) => assert_eq!(named, path, "{name}, {length} bytes"),
                Ok(found) => {
                    let bits =
                        |table: &EmbeddingTable| table.rows().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert_eq!(
                        (found.ids(), bits(&found)),
                        (expected.ids(), bits(&expected)),
                        "{name}, {length} bytes"
                    );
                }
                Err(other) => panic!("{name}, {length} bytes: {other}"),
            }
        }
    }
}

#[test]
fn ids_that_do_not_fit_are_an_error_that_names_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.safetensors");
    write_table(&table(), &path).unwrap();
    let ids = path.with_extension("jsonl");
    for lines in
        ["{\"id\": 1}\n{\"id\": \"b\"}\n", "{\"id\": 1}\nnot json\n{\"id\": 3}\n", "{\"id\": 1}\n{}\n{}\n"]
    {
        std::fs::write(&ids, lines).unwrap();
        assert_format_error(&path);
    }
    // A matrix by other hands has no fingerprint.
    let data = TensorData::new(table().rows().to_vec(), [3, table().dim()]);
    let view = TensorView::new(Dtype::F32, vec![3, table().dim()], data.as_bytes()).unwrap();
    std::fs::write(&path, safetensors::serialize([(EMBEDDINGS_KEY, view)], None).unwrap()).unwrap();
    std::fs::write(&ids, "{\"id\": 1, \"text\": \"a cat\"}\n{\"id\": \"b\"}\n{\"id\": 3}\n").unwrap();
    assert_eq!(read_table(&path).unwrap().ids(), ["1", "b", "3"]);
    assert!(matches!(read_table(folder.path().join("none.safetensors")), Err(Error::Io { .. })));
}
