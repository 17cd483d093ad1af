//! What is not read says what to do.

use super::*;

#[track_caller]
fn assert_says(name: &str, options: &StoreOptions, parts: &[&str]) {
    let error = refusal(name, options);
    for part in parts.iter().chain(&[name]) {
        assert!(error.contains(part), "expected {part:?} in {error:?}");
    }
}

fn ids(column: &str) -> StoreOptions {
    StoreOptions { id_column: Some(column.to_string()), ..StoreOptions::default() }
}

#[test]
fn values_without_a_type_or_a_scale() {
    let plain = StoreOptions::default();
    assert_says("int8.npy", &plain, &["int8", "`scale`"]);
    assert_says("uint8.npy", &plain, &["uint8", "`scale`"]);
    assert_says("int8.pt", &plain, &["int8", "`scale`"]);
    assert_says("int8.npy", &StoreOptions { scale: Some(f64::NAN), ..plain.clone() }, &["NaN"]);
    assert_says("bfloat16.npy", &plain, &["V2", "bfloat16", "`dtype_in` bf16"]);
    let double = StoreOptions { dtype_in: Some(FloatType::F64), ..plain };
    assert_says("bfloat16.npy", &double, &["2 bytes", "f64 has 8"]);
}

#[test]
fn several_and_none() {
    let plain = StoreOptions::default();
    assert_says("deflated.npz", &plain, &["\"image\"", "\"text\"", "name one"]);
    assert_says("two.pt", &plain, &["\"image\"", "\"text\"", "name one"]);
    assert_says("two_members.tar", &plain, &["\"img.npy\"", "\"text.npy\"", "name one"]);
    for name in ["deflated.npz", "two.pt"] {
        assert_says(name, &StoreOptions::key("other"), &["\"other\"", "\"image\""]);
    }
    assert_says("tensor.pt", &StoreOptions::key("other"), &["\"other\""]);
    assert_says("webdataset.tar", &StoreOptions::key("other"), &["7 samples", "KEY.other"]);
    assert_says("stored.npz", &ids("other"), &["\"other\"", "\"ids\""]);
    assert_says("dict.pt", &ids("other"), &["\"other\"", "\"ids\""]);
    assert_says("webdataset.tar", &ids("other"), &["\"other\"", "row 0"]);
    let error = refusal("sidecar_without.npy", &ids("other"));
    assert!(error.contains("sidecar_without.jsonl") && error.contains("image_id"), "{error}");
}

#[test]
fn halves_of_a_folder() {
    let error = refusal("clip_retrieval", &StoreOptions::default());
    assert!(error.contains("img_emb") && error.contains("text_emb"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("img_emb")).unwrap();
    let text = StoreOptions { modality: Some(Modality::Text), ..StoreOptions::default() };
    let error = Store::open_with(folder.path(), &text).unwrap_err().to_string();
    assert!(error.contains("expected a folder text_emb"), "{error}");
    // A folder of folders says what is in them.
    std::fs::create_dir_all(folder.path().join("splits/train")).unwrap();
    std::fs::copy(fixture("pair.npy"), folder.path().join("splits/train/0.npy")).unwrap();
    let error = Store::open(folder.path().join("splits")).unwrap_err().to_string();
    assert!(error.contains("\"train\""), "{error}");
}

#[cfg(feature = "parquet")]
#[test]
fn columns() {
    let plain = StoreOptions::default();
    for name in ["nulls.parquet", "fixed_nulls.parquet"] {
        assert_says(name, &plain, &["row 2", "null", "`skip`"]);
    }
    assert_says("first_null.parquet", &plain, &["row 0", "null"]);
    assert_says("bytes_f16.parquet", &plain, &["row 0", "`dtype_in`"]);
    assert_says("compressed.feather", &plain, &["compress"]);
    assert_says("stream.arrow", &StoreOptions::key("id"), &["row 0", "JSON", "image 0"]);
    for name in ["stream.arrow", "image_id.parquet"] {
        assert_says(name, &ids("other"), &["\"other\"", "\"caption\""]);
    }
}
