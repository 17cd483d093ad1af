//! Random anisotropic clouds and vector operations for the tests of the alignment.

#![allow(dead_code, reason = "each test file uses a part")]

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_revision::alignment::{ReAlign, ReAlignConfig};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::geometry::Moments;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

/// Unit rows about a random centre, with a spectrum that falls off like `k^-0.6`.
pub fn cloud(n: usize, dim: usize, seed: u64) -> EmbeddingTable {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut normal = || (0..6).map(|_| rng.random::<f64>() - 0.5).sum::<f64>() * 2.0_f64.sqrt();
    let center: Vec<f64> = (0..dim).map(|_| normal() / (dim as f64).sqrt()).collect();
    let mut rows = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let spread = (0..dim).map(|k| normal() * 0.5 * (k as f64 + 1.0).powf(-0.6));
        let row: Vec<f64> = center.iter().zip(spread).map(|(c, s)| c + s).collect();
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        rows.extend(row.iter().map(|v| (v / norm) as f32));
    }
    EmbeddingTable::numbered(rows, dim).unwrap()
}

pub fn unit_moments(table: &EmbeddingTable) -> Moments {
    let mut moments = Moments::new(table.dim());
    moments.update_unit_rows(table.rows(), NonFinite::Error, "rows").unwrap();
    moments
}

pub fn covariance(rows: &Tensor<2>) -> Vec<f64> {
    let mut moments = Moments::with_covariance(rows.dims()[1]);
    moments.update(rows).unwrap();
    moments.covariance().unwrap()
}

pub fn fit(text: &EmbeddingTable, image: &EmbeddingTable) -> ReAlign {
    ReAlignConfig::new().fit(text, image).unwrap()
}

/// What ReAlign was fitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub text_mean: Vec<f32>,
    pub image_mean: Vec<f32>,
    pub scale: f64,
    pub text_trace: f64,
    pub image_trace: f64,
    pub centroids: Vec<Vec<f64>>,
}

pub fn statistics(realign: &ReAlign) -> Statistics {
    Statistics {
        text_mean: realign.text_mean(),
        image_mean: realign.image_mean(),
        scale: realign.scale(),
        text_trace: realign.text_trace(),
        image_trace: realign.image_trace(),
        centroids: realign.centroids().iter().map(|mean| widen(mean)).collect(),
    }
}

/// The rows as float64, in which the identities hold to many digits.
pub fn double(table: &EmbeddingTable) -> Tensor<2> {
    let rows: Vec<f64> = table.rows().iter().map(|&v| f64::from(v)).collect();
    Tensor::from_data(TensorData::new(rows, [table.len(), table.dim()]), (&Device::default(), DType::F64))
}

pub fn mean(rows: Tensor<2>) -> Vec<f64> {
    let mut moments = Moments::new(rows.dims()[1]);
    moments.update(&rows).unwrap();
    moments.mean().to_vec()
}

pub fn values(rows: Tensor<2>) -> Vec<f64> {
    rows.into_data().try_into_vec_as::<f64>().unwrap()
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
