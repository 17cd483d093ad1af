//! `burn-revision gap`: the report of a modality gap, checked against an independent reference where Python is there.

mod shell;
#[path = "../../../tests/skipped/mod.rs"]
mod skipped;

use std::path::{Path, PathBuf};
use std::process::Command;

use burn_revision::alignment::Method;
use burn_revision::embedding::{EmbeddingTable, write_table};
use burn_revision::report::GapReport;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde_json::json;
use shell::Shell;

const GAP: &str = "gap --text text.npy --image image.npy --output";

/// Rows about a centre, with a spectrum that falls off; a text and its image share most of what varies.
fn rows(n: usize, dim: usize, centre: f32, seed: u64) -> Vec<f32> {
    let mut shared = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut own = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..n * dim)
        .map(|at| {
            let k = at % dim;
            let noise = (shared.random::<f32>() - 0.5) + 0.5 * (own.random::<f32>() - 0.5);
            noise / (1.0 + k as f32).sqrt() + if k.is_multiple_of(3) { centre } else { 0.1 }
        })
        .collect()
}

impl Shell {
    /// Writes rows under ids, with more fields for each record.
    fn store(&self, name: &str, rows: Vec<f32>, dim: usize, fields: impl Fn(usize) -> serde_json::Value) {
        let n = rows.len() / dim;
        let ids = (0..n).map(|row| format!("{row}")).collect();
        write_table(&EmbeddingTable::new(ids, rows, dim).unwrap(), self.path(name)).unwrap();
        let lines: String = (0..n)
            .map(|row| {
                let mut record = fields(row);
                if record.get("id").is_none() {
                    record["id"] = json!(row.to_string());
                }
                format!("{record}\n")
            })
            .collect();
        std::fs::write(self.path(name).with_extension("jsonl"), lines).unwrap();
    }

    /// Pairs with captions, two domains, and two images for every third text.
    fn pairs(&self, n: usize, dim: usize) {
        let words = |row: usize| vec!["word"; 1 + row % 9].join(" ");
        self.store("text.npy", rows(n, dim, 0.4, 2), dim, |row| json!({ "text": words(row) }));
        let images = rows(n + n / 3, dim, -0.3, 3);
        self.store("image.npy", images, dim, |row| {
            let text = if row < n { row } else { 3 * (row - n) };
            let domain = if row % 5 < 2 { "photo" } else { "drawing" };
            json!({ "id": format!("image {row}"), "of": text.to_string(), "source": domain })
        });
    }

    fn report(&self, folder: &str) -> GapReport {
        GapReport::load(self.path(folder).join("report.json")).unwrap()
    }
}

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("REFERENCE_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    Command::new(&python).arg("--version").output().is_ok().then_some(python)
}

/// Recomputes a report from its samples, with SciPy and scikit-learn; skips where they are missing.
#[track_caller]
fn agrees_with_the_reference(folder: &Path) {
    let Some(python) = python() else {
        skipped::skipped("gap reports against their reference", "python", "Python 3");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/geometry.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(77) {
        let remedy = "pip install -r tests/reference/requirements.txt";
        skipped::skipped("gap reports against their reference", "python", remedy);
        return;
    }
    let failed: Vec<&str> = said.lines().filter(|line| !line.starts_with("ok")).collect();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{error}", failed.join("\n"));
}

#[test]
fn a_report_says_what_the_reference_finds() {
    let shell = Shell::new();
    shell.pairs(420, 24);
    shell
        .run(&format!("{GAP} paired --paired --pair-by of --domain-by source --samples --cosine-pairs 3000"));
    let report = shell.report("paired");
    assert_eq!(report.domains.as_ref().unwrap().names, ["drawing", "photo"]);
    assert_eq!(report.lengths.as_ref().unwrap().slices.len(), 4);
    assert_eq!(report.data.pairs.map(|pairs| pairs.fit + pairs.held_out), Some(560));
    agrees_with_the_reference(&shell.path("paired"));
    shell.run(&format!("{GAP} unpaired --samples --probe 150 --k 7 --energy 0.6 --ridge 0.01 --seed 3"));
    assert_eq!(shell.report("unpaired").data.text.probe, 150);
    agrees_with_the_reference(&shell.path("unpaired"));
}

#[test]
fn the_report_of_real_pictures_is_what_the_reference_finds() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/clipart");
    if !data.exists() {
        skipped::skipped("the gap report of real pictures", "clipart", "embeddings beside the repository");
        return;
    }
    let shell = Shell::new();
    let (text, image) = (data.join("texts.safetensors"), data.join("images.safetensors"));
    let stores = format!("--text {} --image {}", text.display(), image.display());
    shell.run(&format!("gap {stores} --output real --paired --pair-by text_id --domain-by source --samples"));
    agrees_with_the_reference(&shell.path("real"));
    let report = shell.report("real");
    let gap = |name: &str| report.methods.iter().find(|method| method.name == name).unwrap().gap;
    assert!(gap("realign") < gap("mean_shift") && gap("mean_shift") < gap("identity"));
    shell.run(&format!(
        "gap {stores} --output test --paired --pair-by text_id --only split=test --methods realign"
    ));
    let report = shell.report("test");
    assert_eq!(report.data.text.fit + report.data.text.held_out, 538);
    assert_eq!(report.data.text.read, 538);
}

#[test]
fn the_same_seed_gives_the_same_report_and_the_page_names_every_method() {
    let shell = Shell::new();
    let said = shell.run(&format!("{GAP} one --quiet --json"));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    shell.run(&format!("{GAP} two"));
    shell.run(&format!("{GAP} three --seed 1"));
    let without_times = |folder: &str| GapReport { seconds: Vec::new(), ..shell.report(folder) };
    assert_eq!(without_times("one"), without_times("two"));
    assert_ne!(without_times("one").methods, without_times("three").methods);
    assert_eq!(said["report"]["methods"][0]["gap"], json!(shell.report("one").methods[0].gap));
    let page = std::fs::read_to_string(shell.path("one/report.html")).unwrap();
    for name in Method::NAMES {
        assert!(page.contains(&name.replace('-', "_")), "{name}");
    }
    shell.refused(&format!("{GAP} one"), 2, "report.json is there already");
    shell.run(&format!("{GAP} one --overwrite --methods realign,identity"));
    let names: Vec<String> = shell.report("one").methods.into_iter().map(|method| method.name).collect();
    assert_eq!(names, ["realign", "identity"]);
    // What is not asked for is not there.
    let report = shell.report("one");
    assert!(report.domains.is_none() && report.lengths.is_none() && report.gap.residual.is_none());
}

/// NaN would be written as null, and a report with null for a number does not load.
#[test]
fn odd_data_makes_a_report_without_nan() {
    let shell = Shell::new();
    let plain = |_: usize| json!({});
    // Fewer rows than dimensions.
    shell.store("text.npy", rows(70, 128, 0.4, 2), 128, plain);
    shell.store("image.npy", rows(70, 128, -0.3, 3), 128, plain);
    shell.run(&format!("{GAP} few --paired --k 5"));
    let report = shell.report("few");
    assert!(report.notes.iter().any(|note| note.contains("rank 34 of 128")), "{:?}", report.notes);
    assert_eq!(report.geometry.text.spectrum.condition.retained_rank, 34);
    // One modality without spread.
    shell.store("text.npy", rows(1, 8, 0.4, 2).repeat(60), 8, plain);
    shell.store("image.npy", rows(60, 8, -0.3, 3), 8, plain);
    for pairing in ["", "--paired"] {
        shell.run(&format!("{GAP} same --overwrite --k 5 {pairing}"));
        let report = shell.report("same");
        assert_eq!((report.geometry.text.spectrum.rank, report.geometry.text.trace), (0, 0.0));
        assert!(report.notes.iter().any(|note| note.starts_with("blockwise cannot be fitted")));
        let page = std::fs::read_to_string(shell.path("same/report.html")).unwrap();
        assert!(!page.contains("NaN"));
    }
    // Neither has any.
    shell.store("image.npy", rows(1, 8, -0.3, 3).repeat(60), 8, plain);
    shell.refused(&format!("{GAP} none --k 5"), 3, "all rows are alike");
    // One dimension: every unit row is 1 or -1.
    let signs = |turn: usize| (0..60).map(|row| if row % turn == 0 { -1.0 } else { 2.0 }).collect();
    shell.store("text.npy", signs(3), 1, plain);
    shell.store("image.npy", signs(4), 1, plain);
    shell.run(&format!("{GAP} line --k 5 --paired"));
    assert_eq!(shell.report("line").geometry.frame.rank, 1);
}

#[test]
fn what_cannot_be_measured_is_refused_with_its_place() {
    let shell = Shell::new();
    shell.refused(&format!("{GAP} out --k 200"), 3, "needs at least 201 rows, found 150");
    shell.refused(&format!("{GAP} out --k 0"), 2, "k: expected at least 1");
    shell.refused(&format!("{GAP} out --paired"), 3, "texts that an image belongs to");
    shell.refused(&format!("{GAP} out --pair-by of"), 2, "--paired");
    shell.refused(
        &format!("{GAP} out --paired --pair-by of"),
        2,
        "no record of image.npy has a field \"of\"",
    );
    shell.refused(&format!("{GAP} out --methods realign,procrustes"), 2, "procrustes");
    shell.refused(&format!("{GAP} out --methods realign,realign"), 2, "twice");
    shell.refused(&format!("{GAP} out --only source"), 2, "FIELD=VALUE");
    shell.refused(&format!("{GAP} out --domain-by source"), 2, "no record has a field \"source\"");
    shell.refused(&format!("{GAP} out --caption words"), 2, "no record of text.npy has a field \"words\"");
    shell.refused(&format!("{GAP} out --probe 10"), 3, "(--k and --probe)");
    shell.refused(&format!("{GAP} out --energy 1.5"), 2, "1.5");
    shell.refused("gap --text text.npy --image missing.npy --output out", 4, "missing.npy");
    shell.store("small.npy", rows(50, 16, 0.1, 2), 16, |_| json!({}));
    shell.refused("gap --text text.npy --image small.npy --output out", 3, "expected 16, found 32");
    let mut spoiled = rows(60, 32, 0.1, 2);
    spoiled[17 * 32 + 4] = f32::NAN;
    spoiled[23 * 32..24 * 32].fill(0.0);
    shell.store("nan.npy", spoiled, 32, |_| json!({}));
    let with_nan = "gap --text nan.npy --image image.npy --k 5 --output";
    shell.refused(&format!("{with_nan} out"), 3, "nan.npy: row 17, column 4 is NaN");
    shell.run(&format!("{with_nan} skip --non-finite skip"));
    assert_eq!(shell.report("skip").data.text.left_out, 2);
    shell.run(&format!("{with_nan} zero --non-finite zero"));
    assert_eq!(shell.report("zero").data.text.left_out, 1);
    shell.store("twice.npy", rows(60, 32, 0.1, 2), 32, |row| json!({ "id": (row / 2).to_string() }));
    shell.refused("gap --text twice.npy --image image.npy --output out", 3, "twice.npy");
    assert!(!shell.path("out/report.json").exists());
}
