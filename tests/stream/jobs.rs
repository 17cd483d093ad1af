//! Long jobs: interrupted, gone on with, refused.

use super::*;

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
