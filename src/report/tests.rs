//! Tables and aligners of the caller are measured as stores and methods are.

use approx::assert_relative_eq;
use burn::tensor::Device;
use rand::RngExt;

use super::sections::MethodReport;
use super::{GapReport, Measurement, ReportConfig, measure};
use crate::alignment::{Identity, Method};
use crate::embedding::{EmbeddingTable, Store, write_table};
use crate::random::seeded_rng;

const DIM: usize = 6;

fn table(rows: usize, mean: f32, seed: u64) -> EmbeddingTable {
    let mut rng = seeded_rng(seed, &[]);
    let values = (0..rows * DIM).map(|_| mean + rng.random::<f32>() - 0.5).collect();
    EmbeddingTable::numbered(values, DIM).unwrap()
}

fn config() -> ReportConfig {
    let methods = vec![Method::Identity, "realign".parse().unwrap(), Method::GrClip];
    ReportConfig { methods, paired: true, k: 5, cosine_pairs: 500, draws: 2, ..ReportConfig::default() }
}

/// A report without what depends on time and place.
fn numbers(mut report: GapReport) -> GapReport {
    report.seconds.clear();
    report.data.text.place.clear();
    report.data.image.place.clear();
    report
}

#[test]
fn a_table_is_measured_as_the_store_that_holds_it() {
    let (text, image, device) = (table(90, 0.2, 1), table(80, -0.2, 2), Device::default());
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str, table: &EmbeddingTable| {
        let path = folder.path().join(name);
        write_table(table, &path).unwrap();
        Store::open(path).unwrap()
    };
    let (text_store, image_store) = (store("text.safetensors", &text), store("image.safetensors", &image));
    let of_stores = measure(&config(), &text_store, &image_store, &device, &()).unwrap();
    let of_tables = Measurement::new(&config()).of_tables(&text, &image, &device, &()).unwrap();
    assert_eq!(of_tables.data.pairs.map(|pairs| pairs.fit + pairs.held_out), Some(80));
    assert_eq!(of_tables.data.text.place, "text table");
    assert_eq!(numbers(of_tables), numbers(of_stores));
}

#[test]
fn an_aligner_of_the_caller_has_the_numbers_of_the_same_method() {
    let (text, image, device) = (table(90, 0.2, 1), table(80, -0.2, 2), Device::default());
    let (config, own, folder) = (config(), Identity::new(DIM), tempfile::tempdir().unwrap());
    let measurement = Measurement::new(&config).with_aligner("own", &own).with_samples(folder.path());
    let report = measurement.of_tables(&text, &image, &device, &()).unwrap();
    let [identity, _, _, own] = &report.methods[..] else { panic!("{:?}", report.methods.len()) };
    let named = MethodReport { name: "own".into(), source: own.source.clone(), ..identity.clone() };
    assert_eq!(&named, own);
    assert_eq!(report.projection.methods[3].text, report.projection.methods[0].text);
    let curves: Vec<&str> = report.sample_efficiency.iter().map(|curve| curve.method.as_str()).collect();
    assert_eq!(curves, ["realign"]);
    let samples = std::fs::read(folder.path().join("samples.safetensors")).unwrap();
    let samples = safetensors::SafeTensors::deserialize(&samples).unwrap();
    assert_eq!(samples.tensor("own/text").unwrap().data(), samples.tensor("identity/text").unwrap().data());
    assert!(folder.path().join("samples.json").exists());

    let path = folder.path().join("report.json");
    report.save(&path).unwrap();
    let loaded = GapReport::load(&path).unwrap();
    assert_eq!((&loaded.data, &loaded.settings.methods), (&report.data, &report.settings.methods));
    assert_relative_eq!(loaded.methods[1].gap, report.methods[1].gap, max_relative = 1e-12);
    let printed = report.to_string();
    let rows: Vec<&str> = printed.lines().skip_while(|line| !line.starts_with("held out")).skip(1).collect();
    assert_eq!(rows.len(), report.methods.len());
    assert!(rows[3].starts_with("own ") && rows[0][13..] == rows[3][13..], "{printed}");
}

#[test]
fn aligners_under_a_name_twice_or_for_other_rows_are_refused() {
    let (text, image, device) = (table(40, 0.2, 1), table(40, -0.2, 2), Device::default());
    let (config, own, wide) = (config(), Identity::new(DIM), Identity::new(DIM + 1));
    let refused = |measurement: Measurement<'_>, words: &str| {
        let error = measurement.of_tables(&text, &image, &device, &()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(Measurement::new(&config).with_aligner("gr_clip", &own), "gr_clip is named twice");
    let twice = Measurement::new(&config).with_aligner("own", &own).with_aligner("own", &own);
    refused(twice, "own is named twice");
    refused(Measurement::new(&config).with_aligner("wide", &wide), "expected 7, found 6");
    let none = ReportConfig { methods: Vec::new(), ..config.clone() };
    refused(Measurement::new(&none), "expected at least one method");
    let by_field = ReportConfig { domain: Some("source".into()), ..config.clone() };
    refused(Measurement::new(&by_field), "no record has a field \"source\"");
}

/// Saved and loaded, a report is itself: measured numbers have all digits that a float64 has.
#[test]
fn a_report_comes_back_from_its_file_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    for seed in 0..3 {
        let (text, image) = (table(90, 0.2, seed), table(80, -0.2, seed + 10));
        let config = ReportConfig { sigma: 0.02 / 11.0, ridge: 1e-3 / 7.0, seed, ..config() };
        let report = Measurement::new(&config).of_tables(&text, &image, &Device::default(), &()).unwrap();
        report.save(&path).unwrap();
        assert_eq!(GapReport::load(&path).unwrap(), report);
    }
}

#[test]
fn a_report_of_before_the_distribution_gap_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let (text, image) = (table(90, 0.2, 1), table(80, -0.2, 2));
    let mut report = Measurement::new(&config()).of_tables(&text, &image, &Device::default(), &()).unwrap();
    assert!(report.to_string().contains(" distrib "));
    let mut json = serde_json::to_value(&report).unwrap();
    for (method, json) in report.methods.iter_mut().zip(json["methods"].as_array_mut().unwrap()) {
        let gap = json["pairs"].as_object_mut().unwrap().remove("distribution_gap").unwrap();
        assert_eq!(method.pairs.as_mut().unwrap().distribution_gap.take(), gap.as_f64());
    }
    std::fs::write(&path, json.to_string()).unwrap();
    let loaded = GapReport::load(&path).unwrap();
    assert!(loaded == report && !loaded.to_string().contains("distrib"));
}
