//! Matrices and what stands beside them in other files.

use super::*;

#[test]
fn records_as_python_writes_them() {
    assert_reads("sidecar_python.npy", &StoreOptions::default(), &images());
    let store = open("sidecar_python.npy", &StoreOptions::default()).unwrap();
    let records: Vec<_> = store.records().map(Result::unwrap).collect();
    assert_eq!(records[1]["caption"], "cut in two: \u{fffd}");
    assert!(records[2]["score"].is_null() && records[3]["score"].is_null() && records[4]["score"] == 4.0);
    let mended = store.report().mended;
    assert_eq!((mended.byte_order_marks, mended.surrogates, mended.not_numbers), (1, 1, 2));
    // Reading again finds the same, and not twice as much.
    assert_eq!(store.records().count(), ROWS);
    assert_eq!(store.report().mended, mended);
    assert!(store.report().notes()[0].contains("1 lone surrogates"), "{:?}", store.report().notes());
}

#[test]
fn ids_that_pandas_made_floats() {
    assert_reads("sidecar_pandas.npy", &StoreOptions::default(), &numbers());
    assert_eq!(open("sidecar_pandas.npy", &StoreOptions::default()).unwrap().report().numbered, None);
}

#[test]
fn records_without_ids_are_told_and_do_not_end_it() {
    assert_reads("sidecar_without.npy", &StoreOptions::default(), &numbers());
    let store = open("sidecar_without.npy", &StoreOptions::default()).unwrap();
    let numbered = store.report().numbered.unwrap();
    assert_eq!(
        (numbered.path, numbered.fields),
        (fixture("sidecar_without.jsonl"), vec!["image_id".to_string()])
    );
    assert_eq!(store.record("4").unwrap()["image_id"], "image 4");
    let named = StoreOptions { id_column: Some("image_id".to_string()), ..StoreOptions::default() };
    assert_reads("sidecar_without.npy", &named, &images());
    assert_eq!(open("sidecar_without.npy", &named).unwrap().report().numbered, None);
}

#[cfg(feature = "parquet")]
mod tables {
    use super::*;

    fn of(modality: Option<Modality>, id_column: Option<&str>) -> StoreOptions {
        StoreOptions { modality, id_column: id_column.map(String::from), ..StoreOptions::default() }
    }

    #[test]
    fn folders_of_clip_retrieval() {
        let jpegs: Vec<String> = images().iter().map(|id| format!("{id}.jpg")).collect();
        let image = of(Some(Modality::Image), Some("image_path"));
        assert_reads("clip_retrieval", &image, &jpegs);
        let text = read("clip_retrieval", &of(Some(Modality::Text), Some("image_path")));
        assert_eq!((text.row(4)[0], &text.ids()[4]), (-3.0, &jpegs[4]));
        // A half by its own name, and without a word on which column holds the ids.
        assert_reads("clip_retrieval/img_emb", &of(None, None), &numbers());
        let store = open("clip_retrieval/img_emb/img_emb_1.npy", &of(None, None)).unwrap();
        let numbered = store.report().numbered.unwrap();
        assert_eq!(numbered.path, fixture("clip_retrieval/metadata/metadata_1.parquet"));
        assert!(numbered.fields.contains(&"image_path".to_string()), "{:?}", numbered.fields);
        assert_eq!(store.record("3").unwrap()["caption"], "caption 6");
    }

    /// The folders of LAION have other names than those of clip-retrieval.
    #[test]
    fn metadata_in_a_folder_whose_name_ends_so() {
        let place = tempfile::tempdir().unwrap();
        for (from, to) in
            [("img_emb/img_emb_1.npy", "images"), ("metadata/metadata_1.parquet", "laion-metadata")]
        {
            let folder = place.path().join(to);
            std::fs::create_dir(&folder).unwrap();
            let name = Path::new(from).file_name().unwrap();
            std::fs::copy(fixture("clip_retrieval").join(from), folder.join(name)).unwrap();
        }
        let open = || Store::open_with(place.path().join("images"), &of(None, Some("image_path"))).unwrap();
        assert_eq!(open().read_table().unwrap().ids()[3], "image 6.jpg");
        // Two of them leave open which is meant.
        std::fs::create_dir(place.path().join("other-metadata")).unwrap();
        assert_eq!(open().read_table().unwrap().ids()[3], "3");
    }

    #[test]
    fn pairs_by_number_and_by_name() {
        assert_reads("numbered", &of(None, None), &images());
        assert_reads("numbered/*.npy", &of(None, None), &images());
        let keys: Vec<String> = (0..ROWS).map(|row| format!("{row:09}")).collect();
        assert_reads("pair.npy", &of(None, Some("key")), &keys);
    }

    #[test]
    fn another_number_of_rows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("pair.npy"), folder.path().join("a.npy")).unwrap();
        std::fs::copy(fixture("numbered/meta_0.parquet"), folder.path().join("a.parquet")).unwrap();
        let error = Store::open(folder.path().join("a.npy")).unwrap_err().to_string();
        assert!(error.contains("a.parquet: expected 7 rows") && error.contains("found 3"), "{error}");
    }

    #[test]
    fn a_table_with_embeddings_of_its_own_is_no_table_of_another_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("pair.npy"), folder.path().join("text_0.npy")).unwrap();
        std::fs::copy(fixture("image_id.parquet"), folder.path().join("image_0.parquet")).unwrap();
        let ids = Store::open(folder.path().join("text_0.npy")).unwrap().read_table().unwrap();
        assert_eq!(ids.ids(), numbers());
        let error = Store::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("beside"), "{error}");
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn tables_need_the_feature() {
    let options = StoreOptions { modality: Some(Modality::Image), ..StoreOptions::default() };
    let error = refusal("clip_retrieval", &options);
    assert!(error.contains("metadata_0.parquet") && error.contains("feature `parquet`"), "{error}");
    assert!(refusal("stream.arrow", &options).contains("feature `parquet`"));
}
