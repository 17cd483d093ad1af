//! Rows, ids and records on their way from file to file.

use super::*;

#[test]
fn files_are_aligned_as_by_the_official_script() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = std::fs::read_dir(&root).unwrap();
    let mut seen = 0;
    for folder in folders.map(|entry| entry.unwrap().path()).filter(|folder| folder.is_dir()) {
        for extension in ["npy", "safetensors"] {
            let open = |name: &str| Store::open(folder.join(name).with_extension(extension)).unwrap();
            let (text, image) = (open("text"), open("image"));
            let options = FitOptions { policy: NonFinite::Zero, ..FitOptions::default() };
            let fitted = fit(&realign(), &text, &image, &options);
            if text.len() < 2 {
                assert!(matches!(fitted, Err(Error::TooFewRows { .. })));
                continue;
            }
            let out = tempfile::tempdir().unwrap();
            let path = out.path().join("aligned.npy");
            apply(&fitted.unwrap().0, &text, &path, &ApplyOptions::default()).unwrap();
            let expected = read_table(folder.join("aligned_text.npy")).unwrap();
            assert_close(read_table(&path).unwrap().rows(), expected.rows(), 1e-7);
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} files were compared");
}

#[test]
fn neither_threads_nor_shards_change_the_result() {
    let world = World::new();
    let image = world.store("image.npy");
    let mut results = Vec::new();
    for threads in [1, 2, 5] {
        let options = FitOptions { threads: Some(threads), ..FitOptions::default() };
        let (statistics, _) = fit(&realign(), &world.store("text"), &image, &options).unwrap();
        let out = world.path(&format!("out-{threads}"));
        let options = ApplyOptions { threads: Some(threads), ..ApplyOptions::default() };
        apply(&statistics, &world.store("text"), &out, &options).unwrap();
        results.push((statistics, contents(&out)));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    let (sharded, _) = &results[0];
    let (whole, _) =
        fit(&realign(), &world.store("text.safetensors"), &image, &FitOptions::default()).unwrap();
    let (a, b) = (sharded.text().mean().iter(), whole.text().mean());
    assert!(a.zip(b).all(|(a, b)| (a - b).abs() < 1e-15), "shards change the order of summation only");
}

#[test]
fn ids_and_other_fields_travel_along() {
    let world = World::new();
    let lines =
        "{\"id\":7,\"caption\":\"a\",\"tags\":[1,2]}\n{\"id\":\"x\",\"caption\":null}\n{\"id\":\"y\"}\n";
    let rows = vec![1.0, f32::NAN, 0.5, 0.5, -1.0, 2.0];
    write_table(&EmbeddingTable::numbered(rows, 2).unwrap(), world.path("small.npy")).unwrap();
    std::fs::write(world.path("small.jsonl"), lines).unwrap();
    let small = world.store("small.npy");
    let options = FitOptions { policy: NonFinite::Skip, ..FitOptions::default() };
    let (statistics, _) = fit(&realign(), &small, &small, &options).unwrap();
    for name in ["out.npy", "out.safetensors"] {
        let report = apply(&statistics, &small, &world.path(name), &ApplyOptions::default()).unwrap();
        assert_eq!((report.rows.rows, report.rows.kept, report.rows.skipped), (3, 2, 1));
        let written = std::fs::read_to_string(world.path("out.jsonl")).unwrap();
        assert_eq!(written, "{\"caption\":null,\"id\":\"x\"}\n{\"id\":\"y\"}\n");
        assert_eq!(read_table(world.path(name)).unwrap().ids(), ["x", "y"]);
        std::fs::remove_file(world.path("out.jsonl")).unwrap();
    }
}

#[test]
fn rows_without_ids_keep_their_numbers_where_others_are_left_out() {
    let world = World::new();
    let rows = vec![1.0, 0.5, 0.0, 0.0, -1.0, 2.0];
    write_table(&EmbeddingTable::numbered(rows, 2).unwrap(), world.path("bare.npy")).unwrap();
    std::fs::remove_file(world.path("bare.jsonl")).unwrap();
    let bare = world.store("bare.npy");
    let options = FitOptions { policy: NonFinite::Skip, ..FitOptions::default() };
    let (statistics, _) = fit(&realign(), &bare, &bare, &options).unwrap();
    apply(&statistics, &bare, &world.path("kept.npy"), &ApplyOptions::default()).unwrap();
    assert_eq!(read_table(world.path("kept.npy")).unwrap().ids(), ["0", "2"]);
}

/// Methods that are fitted about zero move images too, and only those.
#[test]
fn images_are_moved_as_the_method_moves_them() {
    let world = World::new();
    let images = world.store("image.npy");
    for name in ["gr-clip", "unicorn", "c3-zero-mean"] {
        let statistics = world.fit(name.parse().unwrap());
        let out = world.path(&format!("{name}.npy"));
        let report = apply_images(&statistics, &images, &out, &ApplyOptions::default()).unwrap();
        assert_eq!(report.rows.kept, images.len());
        let (written, table) = (read_table(&out).unwrap(), images.read_table().unwrap());
        assert_eq!(written.ids(), table.ids());
        let method = statistics.init(&Device::default()).unwrap();
        let expected = method.align_image(table.tensor(&Device::default())).into_data();
        assert_close(written.rows(), &expected.try_into_vec::<f32>().unwrap(), 1e-6);
        assert!(written.rows() != table.rows());
        // Moved text of the same rows is another job.
        let options = ApplyOptions { resume: true, ..ApplyOptions::default() };
        assert!(apply(&statistics, &images, &out, &options).unwrap_err().to_string().contains("another job"));
    }
    let error = apply_images(&world.fit(realign()), &images, &world.path("x.npy"), &ApplyOptions::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("realign leaves images as they are"), "{error}");
}

/// Shards are taken as people number them, and a row without an id is known by its number in the store, wherever it is
/// written.
#[test]
fn rows_without_ids_keep_their_numbers_over_shards_in_natural_order() {
    let world = World::new();
    let folder = world.path("numbered");
    std::fs::create_dir(&folder).unwrap();
    let row = |value: usize| (0..DIM).map(|at| (value * DIM + at) as f32 + 1.0).collect::<Vec<_>>();
    // Eleven shards of three rows, without sidecars; the second row of each is bad.
    for shard in 0..11 {
        let mut rows: Vec<f32> = (0..3).flat_map(|at| row(3 * shard + at)).collect();
        rows[DIM] = f32::NAN;
        let path = folder.join(format!("e_{shard}.npy"));
        write_table(&EmbeddingTable::numbered(rows, DIM).unwrap(), &path).unwrap();
        std::fs::remove_file(path.with_extension("jsonl")).unwrap();
    }
    let store = Store::open(&folder).unwrap();
    assert_eq!(store.read_table().unwrap().row(3 * 2)[1], row(6)[1], "e_2 comes before e_10");
    let statistics = world.fit(Method::Identity);
    for format in [Format::Npy, Format::Safetensors, Format::Parquet] {
        let out = world.path(&format!("out-{format}"));
        let options =
            ApplyOptions { policy: Some(NonFinite::Skip), format: Some(format), ..ApplyOptions::default() };
        apply(&statistics, &store, &out, &options).unwrap();
        let written = Store::open(&out).unwrap();
        written.check_ids().unwrap();
        let kept: Vec<String> = (0..33).filter(|row| row % 3 != 1).map(|row| row.to_string()).collect();
        assert_eq!(written.read_table().unwrap().ids(), kept, "{format}");
    }
}

#[test]
fn rows_go_through_every_format_unchanged() {
    let world = World::new();
    let text = world.store("text");
    convert(
        &text,
        &world.path("tensors"),
        &ConvertOptions { format: Some(Format::Safetensors), ..ConvertOptions::default() },
    )
    .unwrap();
    let back = ConvertOptions { format: Some(Format::Npy), ..ConvertOptions::default() };
    convert(&world.store("tensors"), &world.path("back"), &back).unwrap();
    assert_eq!(contents(&world.path("back")), contents(&world.path("text")));
    let half = ConvertOptions { float: Some(FloatType::F16), ..ConvertOptions::default() };
    convert(&world.store("tensors"), &world.path("half"), &half).unwrap();
    let (half, whole) = (read_table(world.path("half")).unwrap(), read_table(world.path("text")).unwrap());
    assert_eq!(half.ids(), whole.ids());
    assert_close(half.rows(), whole.rows(), 0.5_f64.powi(11));
    // Within a folder the records are shared, and not written again.
    let before = std::fs::read(world.path("image.jsonl")).unwrap();
    convert(&world.store("image.npy"), &world.path("image.safetensors"), &ConvertOptions::default()).unwrap();
    assert_eq!(std::fs::read(world.path("image.jsonl")).unwrap(), before);
    let tables = ["image.safetensors", "image.npy"].map(|name| read_table(world.path(name)).unwrap());
    assert_eq!(tables[0], tables[1]);
}

#[cfg(feature = "parquet")]
#[test]
fn columns_beside_a_matrix_travel_into_every_format() {
    let world = World::new();
    let options = StoreOptions { id_column: Some("image_path".to_string()), ..StoreOptions::default() };
    let store = Store::open_with(fixture("clip_retrieval/img_emb"), &options).unwrap();
    for format in [Format::Npy, Format::Safetensors, Format::Parquet] {
        let out = world.path(&format!("out-{format}"));
        convert(&store, &out, &ConvertOptions { format: Some(format), ..ConvertOptions::default() }).unwrap();
        let written = Store::open(&out).unwrap();
        assert_eq!(written.report().notes(), Vec::<String>::new(), "{format}");
        let record = written.record("image 5.jpg").unwrap();
        assert_eq!((&record["caption"], &record["width"]), (&"caption 5".into(), &640.into()), "{format}");
        assert_eq!(written.read_table().unwrap(), store.read_table().unwrap(), "{format}");
    }
    // What stands beside the rows is an input too.
    std::fs::copy(fixture("pair.npy"), world.path("pair.npy")).unwrap();
    std::fs::copy(fixture("pair.parquet"), world.path("pair.parquet")).unwrap();
    let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
    let error = convert(&world.store("pair.npy"), &world.path("pair.parquet"), &overwrite).unwrap_err();
    assert!(error.to_string().contains("is an input"), "{error}");
}

/// Parquet files without ids: rows that are left out do not shift the numbers of the others.
#[cfg(feature = "parquet")]
#[test]
fn rows_that_are_left_out_of_columns_without_ids_leave_the_numbers_of_the_others() {
    let world = World::new();
    let folder = world.path("columns");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(fixture("nulls.parquet"), folder.join("0.parquet")).unwrap();
    // Under another name, the column of ids is no column of ids.
    let options = StoreOptions {
        null_as_nan: true,
        ids: burn_revision::embedding::Ids::Rows,
        ..StoreOptions::default()
    };
    let store = Store::open_with(&folder, &options).unwrap();
    for format in [Format::Npy, Format::Parquet] {
        let out = world.path(&format!("kept-{format}"));
        let (policy, format) = (Some(NonFinite::Skip), Some(format));
        convert(&store, &out, &ConvertOptions { policy, format, ..ConvertOptions::default() }).unwrap();
        assert_eq!(read_table(&out).unwrap().ids(), ["0", "1", "3", "4", "5", "6"]);
    }
    std::fs::copy(fixture("image_id.parquet"), folder.join("0.parquet")).unwrap();
    let store = Store::open(&folder).unwrap();
    let out = world.path("image-ids");
    // The second row has no direction in its first value only: nothing is left out, and the numbers are told.
    let options = ConvertOptions { policy: Some(NonFinite::Skip), ..ConvertOptions::default() };
    convert(&store, &out, &options).unwrap();
    let written = Store::open(&out).unwrap();
    assert_eq!(written.record("3").unwrap()["image_id"], "image 3");
}
