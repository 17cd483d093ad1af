//! ReAlign against the output of the ReVision authors' own alignment script (NumPy, float64), on the fixtures of
//! `tests/golden`.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::Deserialize;

use super::{ReAlign, ReAlignConfig, ReAlignFit, ReAlignStatistics};
use crate::Result;
use crate::alignment::{Embeddings, align_table};
use crate::embedding::{EmbeddingTable, NonFinite, RawRows, read_table};
use crate::geometry::Moments;

#[derive(Deserialize)]
struct Golden {
    name: String,
    scale: f64,
    trace_txt: f64,
    trace_img: f64,
    resid_mean_gap: f64,
    out_trace: f64,
    text_files: Vec<usize>,
    image_files: Vec<usize>,
}

struct Fixture {
    golden: Golden,
    text: EmbeddingTable,
    image: EmbeddingTable,
    aligned: Vec<f64>,
    text_mean: Vec<f64>,
    image_mean: Vec<f64>,
    centroid: Vec<f64>,
}

impl Fixture {
    fn read(folder: &Path) -> Self {
        let golden = std::fs::read(folder.join("golden.json")).unwrap();
        Self {
            golden: serde_json::from_slice(&golden).unwrap(),
            text: read_table(folder.join("text.safetensors")).unwrap(),
            image: read_table(folder.join("image.safetensors")).unwrap(),
            aligned: read_npy(&folder.join("aligned_text.npy")),
            text_mean: read_npy(&folder.join("mu_txt.npy")),
            image_mean: read_npy(&folder.join("mu_img.npy")),
            centroid: read_npy(&folder.join("mu_hat.npy")),
        }
    }

    /// The rows of the two sets as they were spread over files.
    fn moments(&self) -> [Moments; 2] {
        [(&self.text, &self.golden.text_files), (&self.image, &self.golden.image_files)].map(
            |(table, files)| {
                let mut moments = Moments::new(table.dim());
                for rows in parts(table, files) {
                    let mut part = Moments::new(table.dim());
                    part.update_unit_rows(rows, NonFinite::Zero, "part").unwrap();
                    moments.merge(&part).unwrap();
                }
                moments
            },
        )
    }

    fn fit(&self) -> ReAlignStatistics {
        let [text, image] = self.moments();
        let mut fit = ReAlignFit::anchor_trace(&config(), &text, &image).unwrap();
        let form = fit.closed_form();
        let mut projected = Moments::new(self.text.dim());
        for rows in parts(&self.text, &self.golden.text_files) {
            let rows = Embeddings::from(RawRows::single(rows, self.text.dim()).unwrap());
            let rows = rows.with_non_finite(NonFinite::Zero);
            projected.merge(&rows.moments_under(&form, "text").unwrap()).unwrap();
        }
        fit.finish_pass(&projected).unwrap();
        fit.finish().unwrap()
    }

    /// Whether the text rows have no spread: the scale then magnifies float32 rounding by `sqrt(T_x / eps)`.
    fn is_degenerate(&self) -> bool {
        self.golden.trace_txt < 1e-12
    }
}

fn parts<'a>(table: &'a EmbeddingTable, files: &[usize]) -> Vec<&'a [f32]> {
    assert_eq!(files.iter().sum::<usize>(), table.len());
    let mut rest = table.rows();
    let mut parts = Vec::new();
    for &rows in files {
        let (part, others) = rest.split_at(rows * table.dim());
        parts.push(part);
        rest = others;
    }
    parts
}

/// The authors' script takes a single row as well.
fn config() -> ReAlignConfig {
    ReAlignConfig::new().with_min_rows(1)
}

/// The fit under the authors' treatment of bad rows.
fn fitted(config: &ReAlignConfig, fixture: &Fixture) -> Result<ReAlign> {
    let [text, image] =
        [&fixture.text, &fixture.image].map(|table| Embeddings::from(table).with_non_finite(NonFinite::Zero));
    config.fit(text, image)
}

fn fixtures() -> Vec<Fixture> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = std::fs::read_dir(&root).unwrap();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("golden.json").exists());
    folders.sort();
    assert_eq!(folders.len(), 11, "fixtures in {}", root.display());
    folders.iter().map(|folder| Fixture::read(folder)).collect()
}

/// The little-endian float32 or float64 values of a `.npy` file, version 1.
fn read_npy(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{}", path.display());
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    if header.contains("<f4") {
        return bytes[start..].as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
    }
    assert!(header.contains("<f8"), "{header}");
    bytes[start..].as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[track_caller]
fn assert_within(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what}, value {at}: {found} and {expected}");
    }
}

#[track_caller]
fn assert_relative(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found} and {expected}");
}

/// The text rows with what the policy `zero` does to NaN and infinities, for paths that take bare tensors.
fn clean(table: &EmbeddingTable) -> Vec<f64> {
    table.rows().iter().map(|&v| if v.is_finite() { f64::from(v) } else { 0.0 }).collect()
}

#[test]
fn statistics_are_those_of_the_script() {
    for fixture in fixtures() {
        let (statistics, golden) = (fixture.fit(), &fixture.golden);
        let name = &golden.name;
        assert_within(&widen(&statistics.text_mean), &fixture.text_mean, 2e-8, name);
        assert_within(&widen(&statistics.image_mean), &fixture.image_mean, 2e-8, name);
        assert_within(&statistics.centroids[0], &fixture.centroid, 3e-8, name);
        assert_relative(statistics.image_trace, golden.trace_img, 1e-12, name);
        if fixture.is_degenerate() {
            // What is left of the spread is the rounding of the mean.
            assert!(statistics.text_trace < 1e-15, "{name}");
            assert_relative(statistics.scale, golden.scale, 3e-7, name);
        } else {
            assert_relative(statistics.text_trace, golden.trace_txt, 1e-12, name);
            assert_relative(statistics.scale, golden.scale, 1e-12, name);
        }
    }
}

#[test]
fn rows_aligned_on_the_host_are_those_of_the_script() {
    for fixture in fixtures() {
        let mut rows = vec![0.0; fixture.text.rows().len()];
        let text = RawRows::single(fixture.text.rows(), fixture.text.dim()).unwrap();
        let (_, report) =
            fixture.fit().closed_form().align_into(text, NonFinite::Zero, 0, &mut rows).unwrap();
        assert_eq!(report.kept, fixture.text.len());
        assert_within(&widen(&rows), &fixture.aligned, 6e-8, &fixture.golden.name);
        let mut aligned = Moments::new(fixture.text.dim());
        aligned.update_rows(&rows).unwrap();
        let gap =
            aligned.mean().iter().zip(&fixture.image_mean).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!((gap - fixture.golden.resid_mean_gap).abs() < 1e-7, "{}: {gap}", fixture.golden.name);
        assert!((aligned.trace() - fixture.golden.out_trace).abs() < 1e-7, "{}", fixture.golden.name);
    }
}

#[test]
fn tables_are_aligned_as_by_the_script() -> Result<()> {
    let device = Device::default();
    if !device.supports_dtype(DType::F64) {
        println!("skipped: {device:?} has no float64");
        return Ok(());
    }
    for fixture in fixtures() {
        let realign = fitted(&config(), &fixture)?;
        let (aligned, _) = align_table(&realign, &fixture.text, NonFinite::Zero, 0, &device)?;
        assert_eq!(aligned.ids(), fixture.text.ids());
        assert_within(&widen(aligned.rows()), &fixture.aligned, 1e-7, &fixture.golden.name);
    }
    Ok(())
}

/// About eight float32 roundings lie between a row and its image, of up to 2^-25 each where values are near 1: with 16
/// dimensions they are, with 64 and more they are not. Rows without spread magnify rounding by the scale, and are left
/// to the float64 paths.
#[test]
fn float32_tensors_are_aligned_as_by_the_script_up_to_their_rounding() -> Result<()> {
    let device = Device::default();
    for fixture in fixtures().into_iter().filter(|fixture| !fixture.is_degenerate()) {
        let realign = fitted(&config(), &fixture)?;
        let dim = fixture.text.dim();
        let rows = clean(&fixture.text).iter().map(|value| *value as f32).collect();
        let rows =
            Tensor::<2>::from_data(TensorData::new(rows, [fixture.text.len(), dim]), (&device, DType::F32));
        let tolerance = if dim >= 64 { 1e-7 } else { 0.5_f64.powi(22) };
        // Where they lie, if the device is the host, and in tensors.
        for rows in [rows.clone(), rows.autodiff()] {
            let aligned = realign.forward(rows).into_data().try_into_vec::<f32>().unwrap();
            assert_within(&widen(&aligned), &fixture.aligned, tolerance, &fixture.golden.name);
        }
    }
    Ok(())
}

#[test]
fn float64_tensors_are_aligned_as_by_the_script() -> Result<()> {
    let device = Device::default();
    if !device.supports_dtype(DType::F64) {
        println!("skipped: {device:?} has no float64");
        return Ok(());
    }
    for fixture in fixtures() {
        let realign: ReAlign = ReAlign::of(&fixture.fit(), &device);
        let shape = [fixture.text.len(), fixture.text.dim()];
        let text =
            Tensor::<2>::from_data(TensorData::new(clean(&fixture.text), shape), (&device, DType::F64));
        let aligned = realign.forward(text);
        assert_eq!(aligned.dtype(), DType::F64);
        let aligned = aligned.into_data().try_into_vec::<f64>().unwrap();
        assert_within(&aligned, &fixture.aligned, 1e-7, &fixture.golden.name);
    }
    Ok(())
}

#[test]
fn bad_rows_are_refused_unless_a_policy_is_chosen() {
    for fixture in fixtures() {
        let bad = fixture.golden.name.contains("nan_row") || fixture.golden.name.contains("zero_");
        let strict = config().fit(&fixture.text, &fixture.image);
        assert_eq!(strict.is_err(), bad, "{}", fixture.golden.name);
        let single = fitted(&ReAlignConfig::new(), &fixture);
        assert_eq!(single.is_err(), fixture.text.len() < 2, "{}", fixture.golden.name);
    }
}
