//! Fitting on stores and aligning them to files: the official results, the same whatever the threads, shards and
//! interruptions, and everything beside the rows kept.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use burn_revision::alignment::stream::{
    ApplyOptions, Compute, ConvertOptions, FitOptions, apply, apply_images, convert, fit, fit_centroid,
    fit_moments,
};
use burn_revision::alignment::{C3Variant, Method, ReAlignConfig, Statistics};
use burn_revision::embedding::{
    EmbeddingTable, FloatType, Format, NonFinite, Progress, Store, StoreOptions, read_table, write_table,
};
use burn_revision::{Error, Result};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tempfile::TempDir;

const DIM: usize = 24;

fn c3(sigma: f64) -> Method {
    Method::C3 { sigma, variant: C3Variant::Shifted }
}

fn realign() -> Method {
    "realign".parse().unwrap()
}

fn table(rows: usize, centre: f32, seed: u64) -> EmbeddingTable {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let values =
        (0..rows * DIM).map(|i| rng.random::<f32>() - 0.5 + centre * ((i % DIM) as f32 / DIM as f32));
    let ids = (0..rows).map(|row| format!("sample {row}")).collect();
    EmbeddingTable::new(ids, values.collect(), DIM).unwrap()
}

/// A folder with `text/`, three shards, and `image.npy`.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder };
        std::fs::create_dir(world.path("text")).unwrap();
        let text = table(1500, 1.0, 1);
        for (shard, rows) in [(0, 0..700), (1, 700..701), (2, 701..1500)] {
            let part = text.select(&rows.collect::<Vec<_>>()).unwrap();
            write_table(&part, world.path(&format!("text/part-{shard}.npy"))).unwrap();
        }
        write_table(&text, world.path("text.safetensors")).unwrap();
        write_table(&table(900, -1.0, 2), world.path("image.npy")).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self, name: &str) -> Store {
        Store::open(self.path(name)).unwrap()
    }

    fn fit(&self, method: Method) -> Statistics {
        fit(&method, &self.store("text"), &self.store("image.npy"), &FitOptions::default()).unwrap().0
    }
}

/// Every file of a folder, by name; without the record of the job.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - f64::from(*expected)).abs();
        assert!(difference <= tolerance, "value {at}: {found} and {expected}");
    }
}

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
fn statistics_of_files_are_those_of_the_table() {
    let world = World::new();
    let (text, image) = (read_table(world.path("text.safetensors")), read_table(world.path("image.npy")));
    let expected = ReAlignConfig::new().fit(&text.unwrap(), &image.unwrap()).unwrap();
    let whole =
        fit(&realign(), &world.store("text.safetensors"), &world.store("image.npy"), &FitOptions::default());
    let (whole, bytes) = whole.unwrap();
    let means: Vec<f32> = whole.text().mean().iter().map(|&mean| mean as f32).collect();
    assert_eq!(means, expected.text_mean(), "to the last bit");
    for (found, expected) in whole.centroids()[0].iter().zip(&expected.centroids()[0]) {
        assert!((found - f64::from(*expected)).abs() < 1e-7);
    }
    assert_eq!(bytes.read, ((1500 * 2 + 900) * DIM * 4) as u64);
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

/// Stops a job after so many rows.
struct After(AtomicUsize);

impl Progress for After {
    fn advance(&self, rows: usize) {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(rows), Ordering::SeqCst);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn an_interrupted_job_goes_on_to_the_same_bytes() {
    let world = World::new();
    // Some rows without direction, so that rows move under the policy `skip`.
    let mut rows = table(1500, 1.0, 3).rows().to_vec();
    for row in [3, 4, 600, 1100] {
        rows[row * DIM..(row + 1) * DIM].fill(0.0);
    }
    let ids = (0..1500).map(|row| row.to_string()).collect();
    write_table(&EmbeddingTable::new(ids, rows, DIM).unwrap(), world.path("holes.safetensors")).unwrap();
    for (input, policy, float) in [
        ("text", NonFinite::Error, FloatType::F32),
        ("text", NonFinite::Skip, FloatType::F16),
        ("holes.safetensors", NonFinite::Skip, FloatType::F32),
        ("holes.safetensors", NonFinite::Zero, FloatType::F64),
    ] {
        let store = world.store(input);
        let options = FitOptions { policy, ..FitOptions::default() };
        let (statistics, _) = fit(&realign(), &store, &world.store("image.npy"), &options).unwrap();
        let (whole, parts) = (world.path("whole"), world.path("parts"));
        let options = ApplyOptions { float, ..ApplyOptions::default() };
        for folder in [&whole, &parts] {
            std::fs::create_dir_all(folder).unwrap();
        }
        apply(&statistics, &store, &whole, &options).unwrap();
        let mut interruptions = 0;
        for rows in (64..).step_by(320) {
            let progress = After(AtomicUsize::new(rows));
            let options = ApplyOptions {
                resume: true,
                checkpoint: Duration::ZERO,
                progress: &progress,
                ..options.clone()
            };
            match apply(&statistics, &store, &parts, &options) {
                Err(Error::Interrupted) => interruptions += 1,
                done => {
                    done.unwrap();
                    break;
                }
            }
        }
        assert!(interruptions >= 3, "{interruptions} interruptions");
        assert_eq!(contents(&parts), contents(&whole), "{input} {policy} {float}");
        for folder in [whole, parts] {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

#[test]
fn another_job_is_not_gone_on_with() {
    let world = World::new();
    let statistics = world.fit(realign());
    let (store, out) = (world.store("text"), world.path("out"));
    let progress = After(AtomicUsize::new(500));
    let options = ApplyOptions { checkpoint: Duration::ZERO, progress: &progress, ..ApplyOptions::default() };
    assert!(matches!(apply(&statistics, &store, &out, &options), Err(Error::Interrupted)));
    let resume = ApplyOptions { resume: true, ..ApplyOptions::default() };
    let other = ApplyOptions { float: FloatType::F16, ..resume.clone() };
    let error = apply(&statistics, &store, &out, &other).unwrap_err().to_string();
    assert!(error.contains("dtype was \"f32\", and is \"f16\" now"), "{error}");
    let error = apply(&world.fit(Method::MeanShift), &store, &out, &resume).unwrap_err().to_string();
    assert!(error.contains("another job: method"), "{error}");
    let report = apply(&statistics, &store, &out, &resume).unwrap();
    assert_eq!(report.rows.kept, 1500);
    let written = report.bytes.written as usize;
    assert!(written > 0 && written < 1500 * DIM * 4, "only what was missing is written: {written}");
}

#[test]
fn output_is_neither_an_input_nor_replaced_unasked() {
    let world = World::new();
    let statistics = world.fit(realign());
    let before = contents(&world.path("text"));
    let options = ApplyOptions { overwrite: true, ..ApplyOptions::default() };
    for place in ["text", "text/../text/"] {
        let refused = apply(&statistics, &world.store("text"), &world.path(place), &options);
        assert!(refused.unwrap_err().to_string().contains("is an input"));
    }
    assert_eq!(contents(&world.path("text")), before);
    let one = world.store("text/part-0.npy");
    let out = world.path("one.npy");
    apply(&statistics, &one, &out, &ApplyOptions::default()).unwrap();
    let again = apply(&statistics, &one, &out, &ApplyOptions::default());
    assert!(again.unwrap_err().to_string().contains("is there already"));
    apply(&statistics, &one, &out, &options).unwrap();
    let folder = apply(&statistics, &world.store("text"), &out.with_extension("safetensors"), &options);
    assert!(folder.unwrap_err().to_string().contains("name a folder"));
    // Neither somebody's notes nor the shards of another store are lost or mixed in.
    std::fs::write(world.path("notes.jsonl"), "mine").unwrap();
    let notes = apply(&statistics, &one, &world.path("notes.npy"), &ApplyOptions::default());
    assert!(notes.unwrap_err().to_string().contains("notes.jsonl is there already"));
    assert_eq!(std::fs::read(world.path("notes.jsonl")).unwrap(), b"mine");
    std::fs::create_dir(world.path("mixed")).unwrap();
    std::fs::copy(world.path("image.npy"), world.path("mixed/image.npy")).unwrap();
    let mixed = apply(&statistics, &world.store("text"), &world.path("mixed"), &options);
    assert!(mixed.unwrap_err().to_string().contains("image.npy is there, and would be taken for a part"));
    apply(&statistics, &one, &world.path("mixed"), &ApplyOptions::default()).unwrap();
}

#[test]
fn statistics_of_many_machines_merge_to_those_of_one() {
    let world = World::new();
    let image = world.store("image.npy");
    let options = FitOptions::default();
    let expected = world.fit(realign());
    let parts = ["text/part-0.npy", "text/part-[12].npy"].map(|pattern| world.store(pattern));
    let path = world.path("merged.safetensors");
    let mut merged = fit_moments(&realign(), Some(&parts[0]), None, &options).unwrap().0;
    merged.merge(&fit_moments(&realign(), Some(&parts[1]), None, &options).unwrap().0).unwrap();
    merged.merge(&fit_moments(&realign(), None, Some(&image), &options).unwrap().0).unwrap();
    merged.save(&path).unwrap();
    assert!(merged.closed_form().is_err(), "the centroid is missing");
    let passes = parts.each_ref().map(|part| {
        let mut statistics = Statistics::load(&path).unwrap();
        fit_centroid(&mut statistics, part, &options).unwrap();
        assert!(statistics.missing_centroid().is_some());
        statistics
    });
    let [mut merged, other] = passes;
    merged.merge(&other).unwrap();
    assert_eq!(merged.missing_centroid(), None);
    assert_eq!(merged.text().count(), expected.text().count());
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-15);
    assert!(close(merged.text().mean(), expected.text().mean()));
    assert!(close(&merged.centroids()[0], &expected.centroids()[0]));
    assert!((merged.text().trace() - expected.text().trace()).abs() < 1e-15);
    assert!(merged.merge(&other).is_err(), "the same rows twice");
}

/// A setting that came back with another last digit would be another method, which does not merge with its own file.
#[test]
fn statistics_with_any_settings_come_back_as_they_were() {
    let world = World::new();
    let path = world.path("statistics.safetensors");
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config::with_cases(64));
    runner
        .run(&(0.0_f64..1.0, 1e-12_f64..1e-3), |(sigma, eps)| {
            for method in [c3(sigma / 11.0), Method::ReAlign { eps: eps / 3.0, centroid_passes: 1 }] {
                let statistics = Statistics::new(method, NonFinite::Error, 4);
                statistics.save(&path).unwrap();
                let back = Statistics::load(&path).unwrap();
                proptest::prop_assert_eq!(back.fingerprint(), statistics.fingerprint());
                proptest::prop_assert_eq!(back, statistics);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn statistics_come_back_from_their_file_bit_for_bit() {
    let world = World::new();
    for method in [realign(), Method::MeanShift, c3(0.07), Method::Identity] {
        let statistics = world.fit(method);
        let path = world.path("statistics.safetensors");
        statistics.save(&path).unwrap();
        let back = Statistics::load(&path).unwrap();
        assert_eq!(back, statistics);
        assert_eq!(back.fingerprint(), statistics.fingerprint());
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(Statistics::load(&path), Err(Error::Format { .. })), "{length} bytes");
        }
    }
}

#[test]
fn host_and_device_agree() -> Result<()> {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    let device = Compute::Device(Device::default());
    for (number, method) in [
        realign(),
        Method::ReAlign { eps: 1e-10, centroid_passes: 3 },
        Method::MeanShift,
        c3(0.1),
        Method::Identity,
    ]
    .into_iter()
    .enumerate()
    {
        let rows = [Compute::Host, device.clone()].map(|compute| {
            let options = FitOptions { compute: compute.clone(), ..FitOptions::default() };
            let (statistics, _) = fit(&method, &text, &image, &options).unwrap();
            let out = world.path(&format!("{number} {}", compute.name()));
            let options = ApplyOptions { compute, seed: 9, ..ApplyOptions::default() };
            apply(&statistics, &text, &out, &options).unwrap();
            read_table(&out).unwrap()
        });
        assert_eq!(rows[0].ids(), rows[1].ids());
        assert_close(rows[0].rows(), rows[1].rows(), 1e-6);
    }
    Ok(())
}

#[test]
fn a_sample_of_the_centroid_pass_is_close_to_all_rows() {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    let sampled = |size| {
        let options = FitOptions { centroid_sample: Some(size), ..FitOptions::default() };
        fit(&realign(), &text, &image, &options).unwrap().0
    };
    let all = world.fit(realign());
    let distance = |statistics: &Statistics| {
        let pairs = statistics.centroids()[0].iter().zip(&all.centroids()[0]);
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    assert!(distance(&sampled(1500)) < 1e-14, "every row is in a sample of all");
    let error = distance(&sampled(300));
    assert!(error > 0.0 && error < 3.0 * (all.text().trace() / 300.0).sqrt(), "{error}");
    assert_eq!(sampled(300), sampled(300));
}

#[test]
fn a_sample_of_the_centroid_pass_that_cannot_be_drawn_is_refused() {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    for (size, policy) in
        [(0, NonFinite::Error), (text.len() + 1, NonFinite::Error), (usize::MAX, NonFinite::Skip)]
    {
        let options = FitOptions { centroid_sample: Some(size), policy, ..FitOptions::default() };
        let error = fit(&realign(), &text, &image, &options).unwrap_err();
        assert!(matches!(&error, Error::Config { key, .. } if key == "centroid-sample"), "{error}");
        let (from, found) = (format!("1 to {}", text.len()), format!("found {size}"));
        assert!(error.to_string().contains(&from) && error.to_string().contains(&found), "{error}");
    }
    // A sample whose rows are all left out has no mean.
    let mut rows = read_table(world.path("text.safetensors")).unwrap().rows().to_vec();
    rows[DIM..].fill(f32::NAN);
    rows.rotate_left(DIM);
    write_table(&EmbeddingTable::numbered(rows, DIM).unwrap(), world.path("bad.npy")).unwrap();
    let (bad, policy) = (world.store("bad.npy"), NonFinite::Skip);
    let options = FitOptions { centroid_sample: Some(1), policy, ..FitOptions::default() };
    let mut statistics = fit_moments(&realign(), Some(&text), Some(&image), &options).unwrap().0;
    let error = fit_centroid(&mut statistics, &bad, &options).unwrap_err();
    assert!(matches!(error, Error::TooFewRows { .. }), "{error}");
}

#[test]
fn a_sample_over_many_machines_is_drawn_from_all_of_them() {
    let world = World::new();
    let image = world.store("image.npy");
    let options = FitOptions { centroid_sample: Some(300), ..FitOptions::default() };
    let parts = ["text/part-0.npy", "text/part-[12].npy"].map(|pattern| world.store(pattern));
    let mut moments = fit_moments(&realign(), Some(&parts[0]), Some(&image), &options).unwrap().0;
    moments.merge(&fit_moments(&realign(), Some(&parts[1]), None, &options).unwrap().0).unwrap();
    let path = world.path("moments.safetensors");
    let [mut merged, other] = parts.each_ref().map(|part| {
        let mut statistics = moments.clone();
        fit_centroid(&mut statistics, part, &options).unwrap();
        // Through a file, as between machines.
        statistics.save(&path).unwrap();
        let statistics = Statistics::load(&path).unwrap();
        assert_eq!(statistics.missing_centroid(), Some((part.len(), 1500)), "one machine is not all of them");
        statistics
    });
    merged.merge(&other).unwrap();
    assert_eq!(merged.missing_centroid(), None);
    let all = world.fit(realign());
    let pairs = merged.centroids()[0].iter().zip(&all.centroids()[0]);
    let error = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    assert!(error > 0.0 && error < 3.0 * (all.text().trace() / 300.0).sqrt(), "{error}");
    // Another sample does not go on with the pass of this one.
    let mut begun = other.clone();
    let whole = FitOptions::default();
    assert!(fit_centroid(&mut begun, &parts[0], &whole).unwrap_err().to_string().contains("300 rows"));
}

#[test]
fn statistics_with_more_centroids_than_passes_are_refused() {
    let world = World::new();
    let Method::ReAlign { eps, .. } = realign() else { unreachable!() };
    let statistics = world.fit(Method::ReAlign { eps, centroid_passes: 2 });
    let path = world.path("statistics.safetensors");
    statistics.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let place = |what: &[u8]| bytes.windows(what.len()).position(|part| part == what).unwrap();
    let passes = place(br#"centroid_passes\":2"#) + br#"centroid_passes\":"#.len();
    let mut changed = bytes.clone();
    changed[passes] = b'1';
    std::fs::write(&path, changed).unwrap();
    let error = Statistics::load(&path).unwrap_err().to_string();
    assert!(error.contains("expected at most 1, found 2"), "{error}");
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

/// A file of `tests/reference/make_embedding_fixtures.py`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embeddings").join(name)
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

#[test]
fn a_store_that_is_read_in_another_way_is_another_job() {
    let world = World::new();
    let open = |scale: f64| {
        let options = StoreOptions { scale: Some(scale), ..StoreOptions::default() };
        Store::open_with(fixture("int8.npy"), &options).unwrap()
    };
    let (out, resume) =
        (world.path("int8.npy"), ConvertOptions { resume: true, ..ConvertOptions::default() });
    convert(&open(0.125), &out, &resume).unwrap();
    convert(&open(0.125), &out, &resume).unwrap();
    let error = convert(&open(0.25), &out, &resume).unwrap_err().to_string();
    assert!(error.contains("another job: input"), "{error}");
    assert_eq!(read_table(&out).unwrap().row(6)[3], 5.375);
}

/// The name of the matrix is a part of the job.
#[test]
fn another_matrix_of_the_same_file_is_another_job() {
    let world = World::new();
    let resume = ConvertOptions { resume: true, ..ConvertOptions::default() };
    let two = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/matrices/two.safetensors");
    let open_two = |key: &str| Store::open_with(&two, &StoreOptions::key(key)).unwrap();
    let out = world.path("two.npy");
    convert(&open_two("embeddings"), &out, &resume).unwrap();
    assert!(convert(&open_two("other"), &out, &resume).unwrap_err().to_string().contains("another job"));
}

#[test]
fn records_of_the_input_are_not_given_other_ids_in_place() {
    let world = World::new();
    for name in ["sidecar_without.npy", "sidecar_without.jsonl"] {
        std::fs::copy(fixture(name), world.path(name)).unwrap();
    }
    let before = std::fs::read(world.path("sidecar_without.jsonl")).unwrap();
    let to = world.path("sidecar_without.safetensors");
    let named = StoreOptions { id_column: Some("image_id".to_string()), ..StoreOptions::default() };
    for options in [StoreOptions::default(), named.clone()] {
        let store = Store::open_with(world.path("sidecar_without.npy"), &options).unwrap();
        let error = convert(&store, &to, &ConvertOptions::default()).unwrap_err().to_string();
        assert!(error.contains("name another folder"), "{error}");
    }
    assert_eq!(std::fs::read(world.path("sidecar_without.jsonl")).unwrap(), before);
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    let store = Store::open_with(world.path("sidecar_without.npy"), &named).unwrap();
    let to = world.path("elsewhere/rows.safetensors");
    convert(&store, &to, &ConvertOptions::default()).unwrap();
    assert_eq!(read_table(&to).unwrap().ids()[6], "image 6");
}
