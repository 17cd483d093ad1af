//! The Rust side of `run_smollm2.py`: steps of stage 1, and generation, with SmolLM2-135M. Prints one line of JSON.
//!
//! `cargo bench --bench smollm2 -- stage1 --batch 8 --visual 16 --text 48 --steps 10`

use std::path::PathBuf;
use std::time::Instant;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use burn_revision::language::{KvCache, LanguageModel, LlamaDecoder, Pretrained};
use burn_revision::revision::*;
use clap::{Parser, Subcommand, ValueEnum};
use rand::{RngExt, SeedableRng};

const DIM: usize = 256;
const WARM_UP: usize = 2;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// What `cargo bench` adds
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Optimizer steps of stage 1
    Stage1 {
        #[arg(long, default_value_t = 8)]
        batch: usize,
        #[arg(long, default_value_t = 16)]
        visual: usize,
        #[arg(long, default_value_t = 48)]
        text: usize,
        #[arg(long, default_value_t = 8)]
        steps: usize,
        #[arg(long, value_enum, default_value_t = Logits::Labels)]
        logits: Logits,
        #[arg(long, value_enum, default_value_t = Projected::Once)]
        projector: Projected,
    },
    /// Greedy generation with a cache
    Generate {
        #[arg(long, default_value_t = 64)]
        new: usize,
    },
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Logits {
    Labels,
    All,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Projected {
    Once,
    Copies,
}

fn main() {
    burn_revision::training::keep_freed_memory();
    let arguments = Arguments::parse();
    let line = match arguments.what {
        What::Stage1 { batch, visual, text, steps, logits, projector } => {
            stage1([batch, visual, text, steps], logits, projector)
        }
        What::Generate { new } => generation(new),
    };
    println!("{line}");
}

fn language(device: &Device) -> LlamaDecoder {
    let fetched = "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    let fetched = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(fetched);
    let path = std::env::var_os("SMOLLM2_GGUF").map_or(fetched, PathBuf::from);
    Pretrained::load(path, FloatDType::F32, device).expect("tests/fetch_smollm2.sh brings the model").model
}

/// The loss as the authors' code computes it: copies through the projector, logits at every position.
fn naive_loss(model: &ReVision<LlamaDecoder>, batch: &Batch, visual: usize) -> Tensor<1> {
    let text = model.language.embed(batch.tokens.clone());
    let [rows, text_time, width] = text.dims();
    let copies = batch.visual.clone().expect("the batch has pictures").reshape([rows, 1, DIM]);
    let copies = copies.expand([rows, visual, DIM]).reshape([rows * visual, DIM]);
    let projected = model.projector.forward(copies).reshape([rows, visual, width]);
    let hidden = model.language.forward(Tensor::cat(vec![projected, text], 1), None);
    let time = visual + text_time;
    let logits = model.language.logits(hidden.reshape([rows * time, width]));
    let logits = logits.select(0, batch.predicting.clone());
    let device = logits.device();
    CrossEntropyLossConfig::new().init(&device).forward(logits, batch.targets.clone())
}

fn stage1(
    [batch, visual, text, steps]: [usize; 4],
    logits: Logits,
    projected: Projected,
) -> serde_json::Value {
    let device = Device::default().autodiff();
    let model = ReVisionConfig::new(DIM).with_num_visual_tokens(visual);
    let model = model.init(language(&device), &device).unwrap();
    let mut model = Trainable::Projector.apply(model.train()).unwrap().fork(&device);
    let mut rng = rand::rngs::StdRng::seed_from_u64(0);
    let mut draw = || {
        let samples: Vec<Sample> = (0..batch)
            .map(|_| {
                let tokens = (0..text).map(|_| rng.random_range(1000..40_000)).collect();
                let mut sample = Sample::text("", tokens);
                sample.image_at = Some(0);
                sample.embedding = Some((0..DIM).map(|_| rng.random_range(-0.1f32..0.1)).collect());
                sample
            })
            .collect();
        Batch::new(&samples, visual, &device)
    };
    // Of each tensor, where `clip_grad_norm_` clips all together: the same work.
    let clipping = GradientClippingConfig::Norm(1.0);
    let mut optimizer = AdamWConfig::new().with_grad_clipping(Some(clipping)).init();
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..WARM_UP + steps {
        let batch = draw();
        let begun = Instant::now();
        let loss = match (logits, projected) {
            (Logits::Labels, Projected::Once) => model.loss(&batch),
            (Logits::All, Projected::Copies) => naive_loss(&model, &batch, visual),
            _ => panic!("--logits all and --projector copies belong together"),
        };
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(5e-4, model.clone(), grads);
        losses.push(loss.into_scalar::<f32>());
        times.push(begun.elapsed().as_secs_f64());
    }
    let seconds = median(times.split_off(WARM_UP));
    serde_json::json!({
        "what": "stage1", "tokens_per_second": (batch * (visual + text)) as f64 / seconds,
        "median_step_seconds": seconds, "peak_rss_mb": peak_rss_mb(), "loss": [losses[0], losses[losses.len() - 1]],
    })
}

fn generation(new: usize) -> serde_json::Value {
    let device = Device::default();
    let model = language(&device);
    let prompt: Vec<i64> = (0..25).map(|i| 1000 + 37 * i).collect();
    let prompt = Tensor::<2, Int>::from_data(TensorData::new(prompt, [1, 25]), &device);
    let width = model.width();
    let mut cache = KvCache::new();
    let mut hidden = model.forward(model.embed(prompt), Some(&mut cache)).narrow(1, 24, 1);
    let begun = Instant::now();
    // The first token is the prompt's.
    for _ in 1..new {
        let next = model.logits(hidden.reshape([1, width])).argmax(1);
        hidden = model.forward(model.embed(next), Some(&mut cache));
    }
    model.logits(hidden.reshape([1, width])).argmax(1).into_data();
    let seconds = begun.elapsed().as_secs_f64();
    let new = new - 1;
    serde_json::json!({
        "what": "generate", "tokens_per_second": new as f64 / seconds, "median_step_seconds": seconds / new as f64,
        "peak_rss_mb": peak_rss_mb(),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory that the process has held, where the system says so.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0 / 1e6)
}
