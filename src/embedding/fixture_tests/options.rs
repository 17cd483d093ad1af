//! What the options change.

use super::*;

#[test]
fn shards_that_repeat_ids_have_two_ways_out() {
    let error = refusal("shards", &StoreOptions::default());
    assert!(error.contains("0.npy and ") && error.contains("2.npy") && error.contains("shard"), "{error}");
    let ids = StoreOptions { ids: Ids::Shard, ..StoreOptions::default() };
    let named: Vec<String> =
        (0..3).map(|id| format!("0/{id}")).chain((0..4).map(|id| format!("2/{id}"))).collect();
    assert_reads("shards", &ids, &named);
    let rows = StoreOptions { ids: Ids::Rows, ..StoreOptions::default() };
    assert_reads("shards", &rows, &numbers());
    // Also where there are no ids, or none that are wanted.
    let named: Vec<String> = (0..ROWS).map(|row| format!("fortran/{row}")).collect();
    assert_reads("fortran.npy", &ids, &named);
    assert_reads("stored.npz", &rows, &numbers());
    assert_reads("webdataset.tar", &rows, &numbers());
}

#[test]
fn stores_that_are_read_in_another_way_have_another_fingerprint() {
    let of = |options: StoreOptions| {
        StoreLookup::open(&open("int8.npy", &options).unwrap()).unwrap().fingerprint()
    };
    let scale = |scale: f64| StoreOptions { scale: Some(scale), ..StoreOptions::default() };
    assert_eq!(of(scale(0.5)), of(scale(0.5)));
    assert_ne!(of(scale(0.5)), of(scale(0.25)));
    assert_ne!(of(scale(0.5)), of(StoreOptions { ids: Ids::Shard, ..scale(0.5) }));
}

#[test]
fn a_member_or_list_of_ids_is_named() {
    let keys = StoreOptions { id_column: Some("ids".to_string()), ..StoreOptions::default() };
    assert_reads("stored.npz", &keys, &images());
    assert_reads("dict.pt", &keys, &images());
    let urls = StoreOptions { id_column: Some("url".to_string()), ..StoreOptions::default() };
    let expected: Vec<String> = images().iter().map(|id| format!("https://example.org/{id}")).collect();
    assert_reads("webdataset.tar", &urls, &expected);
}

#[cfg(feature = "parquet")]
#[test]
fn a_column_of_ids_is_named_or_told() {
    let store = open("image_id.parquet", &StoreOptions::default()).unwrap();
    assert_eq!(store.report().numbered.unwrap().fields, ["image_id"]);
    let note = store.report().notes().remove(0);
    assert!(
        note.contains("no \"id\"") && note.contains("`id-column`") && note.contains("image_id"),
        "{note}"
    );
    let named = StoreOptions { id_column: Some("image_id".to_string()), ..StoreOptions::default() };
    assert_reads("image_id.parquet", &named, &images());
    assert!(open("image_id.parquet", &named).unwrap().report().notes().is_empty());
}
