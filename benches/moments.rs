//! Rows a second of the streaming moments at 1280 dimensions, the width of LLM2CLIP embeddings.

use burn_revision::embedding::NonFinite;
use burn_revision::geometry::Moments;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

const DIM: usize = 1280;

fn main() {
    divan::main();
}

fn rows(n: usize) -> Vec<f32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    (0..n * DIM).map(|_| rng.random::<f32>() - 0.4).collect()
}

#[divan::bench(args = [512, 10_000])]
fn mean_and_trace(bencher: Bencher, n: usize) {
    let rows = rows(n);
    bencher.counter(ItemsCount::new(n)).counter(BytesCount::of_slice(&rows)).bench(|| {
        let mut moments = Moments::new(DIM);
        moments.update_rows(black_box(&rows)).unwrap();
        moments
    });
}

#[divan::bench(args = [512, 10_000])]
fn mean_and_trace_of_unit_rows(bencher: Bencher, n: usize) {
    let rows = rows(n);
    bencher.counter(ItemsCount::new(n)).counter(BytesCount::of_slice(&rows)).bench(|| {
        let mut moments = Moments::new(DIM);
        moments.update_unit_rows(black_box(&rows), NonFinite::Error, "rows").unwrap();
        moments
    });
}

#[divan::bench(args = [4096], sample_count = 5)]
fn covariance(bencher: Bencher, n: usize) {
    let rows = rows(n);
    bencher.counter(ItemsCount::new(n)).bench(|| {
        let mut moments = Moments::with_covariance(DIM);
        moments.update_rows(black_box(&rows)).unwrap();
        moments
    });
}
