//! What a device does beside its limits: bytes a second of ReAlign beside those of a copy, and operations a second of a product of
//! matrices. Prints one line of JSON.
//!
//! `BURN_DEVICE=cuda cargo bench --features cuda --bench device -- --rows 1000000`

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use burn_revision::alignment::ReAlignConfig;
use clap::Parser;
use serde_json::{Map, Value, json};

#[derive(Parser)]
struct Arguments {
    /// Rows to align
    #[arg(long, default_value_t = 100_000)]
    rows: usize,
    /// Their dimension
    #[arg(long, default_value_t = 1280)]
    dim: usize,
    /// The order of the square matrices that are multiplied
    #[arg(long, default_value_t = 1024)]
    order: usize,
    /// Of which the median is printed
    #[arg(long, default_value_t = 20)]
    repeats: usize,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let device = Device::default();
    let median = |work: &dyn Fn() -> Tensor<2>| median(arguments.repeats, work);
    let mut line = Map::new();

    // Fitting reads rows back to the host, and says the same of fewer.
    let draw =
        |rows, shift| Tensor::<2>::random([rows, arguments.dim], Distribution::Normal(shift, 1.0), &device);
    let realign = ReAlignConfig::new().fit(draw(4096, 0.2), draw(4096, -0.1)).unwrap();
    let rows = draw(arguments.rows, 0.2);
    // Both read each value once and write it once, at the least.
    let moved = (2 * 4 * arguments.rows * arguments.dim) as f64 / 1e9;
    line.insert("copy_gb_per_second".into(), json!(moved / median(&|| rows.clone().mul_scalar(1.5))));
    line.insert("realign_gb_per_second".into(), json!(moved / median(&|| realign.forward(rows.clone()))));
    drop(rows);

    let work = 2.0 * (arguments.order as f64).powi(3) / 1e12;
    let square = [arguments.order, arguments.order];
    for dtype in [DType::F32, DType::BF16] {
        let key = format!("product_{dtype:?}_tflop_per_second").to_lowercase();
        let speed = device.supports_dtype(dtype).then(|| {
            let factor = || Tensor::<2>::random(square, Distribution::Normal(0.0, 1.0), &device).cast(dtype);
            let (left, right) = (factor(), factor());
            work / median(&|| left.clone().matmul(right.clone()))
        });
        line.insert(key, json!(speed));
    }
    println!("{}", Value::Object(line));
}

/// Seconds of `work`, the median; what is run first compiles and chooses kernels.
fn median(repeats: usize, work: &dyn Fn() -> Tensor<2>) -> f64 {
    // A number of the result has to be there: on Vulkan `Device::sync` returns before (Burn 0.22.1).
    let wait = |result: &Tensor<2>| result.clone().slice([0..1, 0..1]).into_scalar::<f32>();
    let mut times: Vec<f64> = (0..repeats + 3)
        .map(|_| {
            let begun = Instant::now();
            let result = work();
            std::hint::black_box(wait(&result));
            begun.elapsed().as_secs_f64()
        })
        .skip(3)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
