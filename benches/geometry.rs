//! One piece of the geometry, timed: `cargo bench --bench geometry -- covariance|eigen|neighbours [ROWS] [DIM]`.
//!
//! Prints a JSON object with the seconds of one run. `benches/compare/geometry.py` runs it in turns with NumPy and
//! scikit-learn.

use std::time::Instant;

use burn::tensor::Device;
use burn_revision::geometry::{Cloud, KnnConfig, Moments, Spectrum};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde_json::json;

/// Rows about a centre, with a spectrum that falls off like `1 / k`.
fn rows(n: usize, dim: usize) -> Vec<f32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    (0..n * dim).map(|at| (rng.random::<f32>() - 0.4) / ((at % dim + 1) as f32).sqrt()).collect()
}

fn main() {
    // Cargo adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |at: usize, default: usize| words.get(at).map_or(default, |word| word.parse().unwrap());
    let work = words.first().map_or("covariance", String::as_str);
    let dim = number(2, 1280);
    let (n, seconds, check) = match work {
        "covariance" => {
            let n = number(1, 200_000);
            let rows = rows(n, dim);
            let begun = Instant::now();
            let mut trace = 0.0;
            for _ in 0..2 {
                let mut moments = Moments::with_single_covariance(dim);
                moments.update_rows(&rows).unwrap();
                trace = moments.trace();
            }
            (n, begun.elapsed(), trace)
        }
        "eigen" => {
            let n = number(1, 4000);
            let mut moments = Moments::with_covariance(dim);
            moments.update_rows(&rows(n, dim)).unwrap();
            let covariance = moments.covariance().unwrap();
            // The first call starts threads.
            Spectrum::of(&covariance, dim, n).unwrap();
            let begun = Instant::now();
            let spectrum = Spectrum::of(&covariance, dim, n).unwrap();
            (n, begun.elapsed(), spectrum.eigenvalues()[0])
        }
        "neighbours" => {
            let n = number(1, 20_000);
            let values = rows(n, dim).into_iter().map(f64::from).collect();
            let rows = Cloud::new(values, dim).unwrap().into_unit("rows").unwrap();
            let begun = Instant::now();
            let found = KnnConfig::new().find(&rows, &Device::default()).unwrap();
            let sum: u64 = (0..n).flat_map(|row| found.of(row)).map(|&index| u64::from(index)).sum();
            (n, begun.elapsed(), sum as f64)
        }
        other => panic!("expected covariance, eigen or neighbours, found {other}"),
    };
    println!(
        "{}",
        json!({ "work": work, "rows": n, "dim": dim, "seconds": seconds.as_secs_f64(), "check": check })
    );
}
