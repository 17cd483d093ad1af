//! The operations of `src/fused` against Burn's operations that they replace, forward, and forward with backward.
//!
//! `cargo bench --profile dev --bench fused`; medians of runs that take turns. The shapes are those of a layer of
//! SmolLM2-135M in stage 1, with 512 and with 1216 positions in a batch. Below the table is what a copy and a product of
//! matrices reach on the same processor.

// The folder is not public: it is what the decoder is made of.
#[allow(dead_code, unused_imports)]
#[path = "../src/fused/mod.rs"]
mod fused;
#[allow(dead_code)]
#[path = "../src/half_precision.rs"]
mod half_precision;

use std::hint::black_box;
use std::time::Instant;

use burn::module::Param;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{LinearConfig, RmsNorm, RmsNormConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::silu;
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};

type Operation<'a> = &'a (dyn Fn(&[Tensor<4>]) -> Tensor<4> + Sync);

const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const DIM: usize = 64;
const WIDTH: usize = HEADS * DIM;
const INNER: usize = 1536;
const VOCABULARY: usize = 49152;

fn main() {
    burn_revision::training::keep_freed_memory();
    let device = Device::default();
    println!("| operation | positions | | composed, ms | fused, ms | times |\n|---|--:|---|--:|--:|--:|");
    for [batch, time] in [[8, 64], [2, 608]] {
        let positions = batch * time;
        let hidden = [1, batch, time, WIDTH];
        let norm = norm(&device);
        row("RMSNorm", positions, &[hidden], &|x| norm.forward(x[0].clone()), &|x| {
            fused::rms_norm(&norm, x[0].clone())
        });
        let inner = [1, batch, time, INNER];
        row("SwiGLU", positions, &[inner, inner], &|x| silu(x[0].clone()) * x[1].clone(), &|x| {
            fused::swiglu(x[0].clone(), x[1].clone())
        });
        let angles = Tensor::<4>::random([1, 1, time, DIM / 2], Distribution::Default, &device);
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        row(
            "rotary positions",
            positions,
            &[[batch, time, HEADS, DIM]],
            &|x| rotary(x[0].clone(), cos.clone(), sin.clone()),
            &|x| fused::rotary(x[0].clone(), cos.clone(), sin.clone()),
        );
        let kv = [batch, KV_HEADS, time, DIM];
        let bias = (0..time * time).map(|at| if at % time > at / time { -3e4f32 } else { 0.0 });
        let bias = TensorData::new(bias.collect::<Vec<_>>(), [1, 1, time, time]);
        let bias = Tensor::<4>::from_data(bias, &device);
        row(
            "attention",
            positions,
            &[[batch, HEADS, time, DIM], kv, kv],
            &|x| attention(x, bias.clone()),
            &|x| fused::causal_attention(&x[0], &x[1], &x[2], 0.125).expect("on flex"),
        );
    }
    for positions in [512, 1216] {
        let matrices = |x: &[Tensor<4>]| {
            let [rows, matrix] = [0, 1].map(|at| x[at].clone().squeeze_dims::<2>(&[0, 1]));
            (rows, matrix)
        };
        for (name, dtype) in [("product", DType::F32), ("product, bfloat16", DType::BF16)] {
            row_of(
                dtype,
                name,
                positions,
                &[[1, 1, positions, WIDTH], [1, 1, INNER, WIDTH]],
                &|x| {
                    let (rows, matrix) = matrices(x);
                    rows.matmul(matrix.transpose()).unsqueeze()
                },
                &|x| {
                    let (rows, matrix) = matrices(x);
                    fused::products_of_rows(rows, matrix).unsqueeze()
                },
            );
        }
    }
    let tokens = |device: &Device| {
        let tokens = (0..512).map(|at| (at * 131 % VOCABULARY) as i32).collect::<Vec<_>>();
        Tensor::<2, Int>::from_data(TensorData::new(tokens, [8, 64]), device)
    };
    row(
        "embedding",
        512,
        &[[1, 1, VOCABULARY, WIDTH]],
        &|x| {
            let matrix = x[0].clone().squeeze_dims(&[0, 1]);
            burn::tensor::module::embedding(matrix, tokens(&x[0].device())).unsqueeze()
        },
        &|x| {
            let matrix = x[0].clone().squeeze_dims(&[0, 1]);
            fused::embedding(matrix, tokens(&x[0].device())).unsqueeze()
        },
    );
    for labels in [64, 256] {
        let targets = |device: &Device| {
            let targets = (0..labels).map(|row| (row * 131 % VOCABULARY) as i32).collect::<Vec<_>>();
            Tensor::<1, Int>::from_data(TensorData::new(targets, [labels]), device)
        };
        let logits = |x: &[Tensor<4>]| x[0].clone().reshape([labels, VOCABULARY]);
        row(
            "cross-entropy",
            labels,
            &[[1, 1, labels, VOCABULARY]],
            &|x| {
                let device = x[0].device();
                let loss = CrossEntropyLossConfig::new().init(&device);
                loss.forward(logits(x), targets(&device)).reshape([1, 1, 1, 1])
            },
            &|x| fused::cross_entropy(logits(x), targets(&x[0].device())).reshape([1, 1, 1, 1]),
        );
    }
    products_rows(&device);
    optimizer_row(&device);
    machine(&device);
}

/// Few rows times a matrix of each layer, which are together more than a core's caches hold.
fn products_rows(device: &Device) {
    let layers: Vec<_> =
        (0..30).map(|_| LinearConfig::new(WIDTH, INNER).with_bias(false).init(device)).collect();
    for rows in [1, 8] {
        let x = Tensor::<2>::random([rows, WIDTH], Distribution::Default, device);
        let composed = || layers.iter().for_each(|layer| drop(black_box(layer.forward(x.clone()))));
        let fused = || layers.iter().for_each(|layer| drop(black_box(fused::linears([layer], x.clone()))));
        // As in decoding.
        let [composed, fused] = fused::in_awake_pool(device, || medians([&composed, &fused]));
        println!("| products | {rows} | forward | {composed:.2} | {fused:.2} | {:.1} |", composed / fused);
    }
}

/// A step over the matrix of an embedding of 16,384 tokens.
fn optimizer_row(device: &Device) {
    let matrix = LinearConfig::new(WIDTH, 16_384).with_bias(false).init(&device.clone().autodiff());
    let gradient = Tensor::<2>::random([WIDTH, 16_384], Distribution::Default, device);
    let step = |optimizer: ModuleOptimizer| {
        let state = std::cell::RefCell::new((Some(matrix.clone()), optimizer));
        let gradient = gradient.clone();
        move || {
            let (matrix, optimizer) = &mut *state.borrow_mut();
            let before = matrix.take().expect("every step puts it back");
            let mut grads = GradientsParams::new();
            grads.register(before.weight.id, gradient.clone());
            *matrix = Some(optimizer.step(1e-3, before, grads));
        }
    };
    let composed = AdamWConfig::new().with_beta_2(0.999).with_epsilon(1e-8).with_weight_decay(0.01).init();
    let composed = step(composed);
    let fused = step(ModuleOptimizer::from(fused::FusedAdamW::new([0.9, 0.999], 1e-8, 0.01)));
    let [composed, fused] = medians([&composed, &fused]);
    let weights = WIDTH * 16_384;
    println!("| AdamW | {weights} | step | {composed:.2} | {fused:.2} | {:.1} |", composed / fused);
}

fn norm(device: &Device) -> RmsNorm {
    let mut norm = RmsNormConfig::new(WIDTH).init(device);
    norm.gamma = Param::initialized(norm.gamma.id, Tensor::random([WIDTH], Distribution::Default, device));
    norm
}

fn rotary(heads: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let heads = heads.swap_dims(1, 2);
    let (first, second) = (heads.clone().narrow(3, 0, DIM / 2), heads.narrow(3, DIM / 2, DIM / 2));
    let rotated = [first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin];
    Tensor::cat(rotated.to_vec(), 3)
}

/// In blocks of queries, as the decoder composes it elsewhere.
fn attention(x: &[Tensor<4>], bias: Tensor<4>) -> Tensor<4> {
    const BLOCK: usize = 128;
    let [batch, _, time, _] = x[0].dims();
    let repeat = |x: &Tensor<4>| {
        let shape = [batch, KV_HEADS, HEADS / KV_HEADS, time, DIM];
        let heads = x.clone().reshape([batch, KV_HEADS, 1, time, DIM]).expand(shape);
        heads.reshape([batch, HEADS, time, DIM])
    };
    let (query, key, value) = (x[0].clone().mul_scalar(0.125), repeat(&x[1]), repeat(&x[2]));
    let blocks = (0..time).step_by(BLOCK).map(|start| {
        let len = BLOCK.min(time - start);
        let seen = start + len;
        let scores = query.clone().narrow(2, start, len);
        let scores = scores.matmul(key.clone().narrow(2, 0, seen).swap_dims(2, 3));
        let scores = scores + bias.clone().narrow(2, start, len).narrow(3, 0, seen);
        let highest = scores.clone().detach().max_dim(3);
        let weights = (scores - highest).exp();
        let total = weights.clone().sum_dim(3);
        weights.matmul(value.clone().narrow(2, 0, seen)) / total
    });
    Tensor::cat(blocks.collect(), 2).swap_dims(1, 2)
}

fn row(name: &str, positions: usize, shapes: &[[usize; 4]], composed: Operation, fused: Operation) {
    row_of(DType::F32, name, positions, shapes, composed, fused);
}

fn row_of(
    dtype: DType,
    name: &str,
    positions: usize,
    shapes: &[[usize; 4]],
    composed: Operation,
    fused: Operation,
) {
    let plain = Device::default();
    let random = |shape: &[usize; 4]| Tensor::<4>::random(*shape, Distribution::Normal(0.0, 1.0), &plain);
    let inputs: Vec<Tensor<4>> = shapes.iter().map(|shape| random(shape).cast(dtype)).collect();
    let forward = |operation: Operation| drop(black_box(operation(&inputs)));
    let autodiff = plain.clone().autodiff();
    let tracked: Vec<Tensor<4>> = inputs
        .iter()
        .map(|input| Tensor::from_data(input.to_data(), (&autodiff, dtype)).require_grad())
        .collect();
    let both = |operation: Operation| {
        // The gradient of a sum would be one number for all, which kernels have to lay out first; a layer's is not.
        let grads = operation(&tracked).backward();
        black_box(tracked[0].grad(&grads));
    };
    // On a thread of the pool, as in training.
    let times = fused::in_pool(&plain, || {
        [
            ("forward", medians([&|| forward(composed), &|| forward(fused)])),
            ("and backward", medians([&|| both(composed), &|| both(fused)])),
        ]
    });
    for (pass, [composed, fused]) in times {
        println!("| {name} | {positions} | {pass} | {composed:.2} | {fused:.2} | {:.1} |", composed / fused);
    }
}

/// Milliseconds, of works that take turns: each is done twice, and the second time counts, when the caches hold what it had left there.
fn medians<const N: usize>(works: [&dyn Fn(); N]) -> [f64; N] {
    let mut times = [(); N].map(|()| Vec::new());
    for round in 0..23 {
        for (work, times) in works.iter().zip(&mut times) {
            work();
            let started = Instant::now();
            work();
            if round > 2 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// What the processor reaches on what is simple.
fn machine(device: &Device) {
    let rows = Tensor::<2>::random([512, WIDTH], Distribution::Default, device);
    let weights = Tensor::<2>::random([WIDTH, INNER], Distribution::Default, device);
    let source = vec![1.0f32; 64 << 20];
    let mut target = vec![0.0f32; source.len()];
    let target = std::cell::RefCell::new(&mut target);
    // One after the other: a copy of this size leaves nothing in the caches.
    let [product] = medians([&|| drop(black_box(rows.clone().matmul(weights.clone())))]);
    let [copy] = medians([&|| target.borrow_mut().copy_from_slice(black_box(&source))]);
    let flops = 2.0 * 512.0 * (WIDTH * INNER) as f64;
    println!(
        "\nproduct [512, {WIDTH}] x [{WIDTH}, {INNER}]: {:.0} GFLOP/s; copy on one core: {:.1} GB/s",
        flops / product / 1e6,
        2.0 * (source.len() * 4) as f64 / copy / 1e6
    );
}
