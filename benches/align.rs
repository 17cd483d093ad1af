//! Rows a second of ReAlign at 1280 dimensions: fitting, aligning on the host and aligning on the default device.

use burn::tensor::{Device, Tensor, TensorData};
use burn_revision::alignment::{Aligner, ReAlign, ReAlignConfig};
use burn_revision::embedding::{EmbeddingTable, NonFinite, RawRows};
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
    ReAlignConfig::new().fit(text, &table(512, 1)).unwrap()
}

#[divan::bench(args = [10_000], sample_count = 20)]
fn fit_tables(bencher: Bencher, n: usize) {
    let (text, image) = (table(n, 0), table(n, 1));
    bencher
        .counter(ItemsCount::new(2 * n))
        .bench(|| ReAlignConfig::new().fit(black_box(&text), &image).unwrap());
}

#[divan::bench(args = [512, 10_000], sample_count = 20)]
fn host_align_rows(bencher: Bencher, n: usize) {
    let text = table(n, 0);
    let (form, mut aligned) = (fit(&text).closed_form().unwrap(), vec![0.0; n * DIM]);
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        let rows = RawRows::single(black_box(text.rows()), DIM).unwrap();
        form.align_into(rows, NonFinite::Error, 0, &mut aligned).unwrap()
    });
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
