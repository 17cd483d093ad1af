//! Rows a second of ReAlign at 1280 dimensions: fitting, aligning on the host and aligning on the default device.

use burn::tensor::{Device, Tensor, TensorData};
use burn_revision::alignment::{ReAlign, ReAlignConfig};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

const DIM: usize = 1280;

fn main() {
    divan::main();
}

fn table(n: usize, seed: u64) -> EmbeddingTable {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let shift = if seed == 0 { 0.4 } else { 0.2 };
    EmbeddingTable::numbered((0..n * DIM).map(|_| rng.random::<f32>() - shift).collect(), DIM).unwrap()
}

fn fit(text: &EmbeddingTable) -> ReAlign {
    let config = ReAlignConfig::new();
    config.fit_tables(text, &table(512, 1), NonFinite::Error, &Device::default()).unwrap().0
}

#[divan::bench(args = [10_000], sample_count = 20)]
fn fit_tables(bencher: Bencher, n: usize) {
    let (text, image, device) = (table(n, 0), table(n, 1), Device::default());
    bencher.counter(ItemsCount::new(2 * n)).bench(|| {
        ReAlignConfig::new().fit_tables(black_box(&text), &image, NonFinite::Error, &device).unwrap().0
    });
}

#[divan::bench(args = [512, 10_000], sample_count = 20)]
fn host_align_rows(bencher: Bencher, n: usize) {
    let text = table(n, 0);
    let statistics = fit(&text).statistics();
    bencher
        .counter(ItemsCount::new(n))
        .bench(|| statistics.align_rows(black_box(text.rows()), NonFinite::Error).unwrap());
}

#[divan::bench(args = [512, 10_000], sample_count = 20)]
fn device_forward(bencher: Bencher, n: usize) {
    let text = table(n, 0);
    let realign = fit(&text);
    let device = Device::default();
    let rows = Tensor::<2>::from_data(TensorData::new(text.rows().to_vec(), [n, DIM]), &device);
    bencher.counter(ItemsCount::new(n)).bench(|| {
        let aligned = realign.forward(black_box(rows.clone()));
        device.sync().unwrap();
        aligned
    });
}
