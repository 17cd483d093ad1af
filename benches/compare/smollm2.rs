//! The Rust side of `run_smollm2.py` and `run_device.py`: steps of stage 1, and generation, with SmolLM2-135M; steps with random
//! weights in another shape or type as well. Prints one line of JSON.
//!
//! `cargo bench --bench smollm2 -- stage1 --batch 8 --visual 16 --text 48 --steps 10`

use std::path::PathBuf;
use std::time::Instant;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use burn_revision::language::{
    BatchDecoder, Decoded, GenerationConfig, LanguageModel, LlamaConfig, LlamaDecoder, Pretrained,
    TokenStream, WeightStorage,
};
use burn_revision::revision::*;
use burn_revision::training::{adamw, clip_by_global_norm};
use clap::{Parser, Subcommand, ValueEnum};
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

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
        /// Of the equal visual tokens, those that go through the language model
        #[arg(long, value_enum, default_value_t = Copies::One)]
        copies: Copies,
        #[arg(long, value_enum, default_value_t = Trained::Projector)]
        train: Trained,
        /// Random weights in the shape of a model, instead of those of the file
        #[arg(long, value_enum)]
        shape: Option<Shape>,
        /// What a frozen language model is stored and computed in
        #[arg(long, value_enum, default_value_t = Precision::F32)]
        precision: Precision,
        /// Compute again in the backward pass what was cheap in the forward pass, instead of keeping it
        #[arg(long)]
        gradient_checkpointing: bool,
    },
    /// Greedy generation with a cache
    Generate {
        #[arg(long, default_value_t = 64)]
        new: usize,
        /// Tokens of the prompt
        #[arg(long, default_value_t = 25)]
        prompt: usize,
        /// Keep the weights in the blocks of the file
        #[arg(long)]
        blocks: bool,
        /// What the model is stored and computed in
        #[arg(long, value_enum, default_value_t = Precision::F32, conflicts_with = "blocks")]
        precision: Precision,
        /// Texts that are written together
        #[arg(long, default_value_t = 1)]
        batch: usize,
    },
    /// How fast memory is read and copied, on all cores
    Memory,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Logits {
    Labels,
    All,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Copies {
    One,
    All,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Trained {
    Projector,
    /// The language model too
    All,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Shape {
    Smollm2,
    #[value(name = "llama-1b")]
    Llama1b,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Precision {
    F32,
    Bf16,
}

impl From<Precision> for FloatDType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::BF16,
        }
    }
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
        What::Stage1 {
            batch,
            visual,
            text,
            steps,
            logits,
            projector,
            copies,
            train,
            shape,
            precision,
            gradient_checkpointing,
        } => {
            let device = Device::default().autodiff();
            let device = if gradient_checkpointing { device.gradient_checkpointing() } else { device };
            let loses_updates = precision == Precision::Bf16 && train == Trained::All;
            assert!(!loses_updates, "--precision bf16 is for a frozen model, not for --train all");
            let language = match shape {
                Some(shape) => random(shape, precision, &device),
                None => Pretrained::load(file(), precision.into(), &device).expect(MISSING).model,
            };
            stage1(language, &device, [batch, visual, text, steps], logits, projector, copies, train)
        }
        What::Generate { new, prompt, blocks: true, batch, .. } => {
            let device = Device::default();
            let model = Pretrained::load_quantized(file(), &device).expect(MISSING).model;
            generation(&model, new, prompt, batch)
        }
        What::Generate { new, prompt, blocks: false, precision, batch } => {
            let (storage, device) = (WeightStorage::Float, Device::default());
            let read = Pretrained::load_for_inference(file(), precision.into(), storage, &device);
            generation(&read.expect(MISSING).model, new, prompt, batch)
        }
        What::Memory => memory(),
    };
    println!("{line}");
}

const MISSING: &str = "tests/fetch_smollm2.sh brings the model";

fn file() -> PathBuf {
    let fetched = "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    let fetched = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(fetched);
    std::env::var_os("SMOLLM2_GGUF").map_or(fetched, PathBuf::from)
}

/// A model of random weights.
fn random(shape: Shape, precision: Precision, device: &Device) -> LlamaDecoder {
    let config = match shape {
        Shape::Smollm2 => LlamaConfig::new(49_152, 576, 1536, 30, 9)
            .with_num_key_value_heads(Some(3))
            .with_rope_theta(100_000.0),
        Shape::Llama1b => LlamaConfig::new(128_256, 2048, 8192, 16, 32)
            .with_num_key_value_heads(Some(8))
            .with_rope_theta(500_000.0),
    };
    let model = config.with_tie_word_embeddings(true).init(&device.clone().inner()).unwrap();
    let model = match precision {
        Precision::F32 => model,
        Precision::Bf16 => model.map(&mut InBfloat16),
    };
    model.fork(device)
}

/// Casts weights that no gradient is kept for.
struct InBfloat16;

impl ModuleMapper for InBfloat16 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weights| weights.cast(FloatDType::BF16))
    }
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
    language: LlamaDecoder,
    device: &Device,
    [batch, visual, text, steps]: [usize; 4],
    logits: Logits,
    projected: Projected,
    copies: Copies,
    trained: Trained,
) -> serde_json::Value {
    let model = ReVisionConfig::new(DIM).with_num_visual_tokens(visual);
    let model = model.init(language, device).unwrap();
    let trainable = match trained {
        Trained::Projector => Trainable::Projector,
        Trained::All => Trainable::ProjectorAndLanguage,
    };
    let mut model = trainable.apply(model.train()).unwrap().fork(device);
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
        let mut batch = Batch::new(&samples, visual, device);
        if copies == Copies::All {
            batch.leading = 0;
        }
        batch
    };
    let mut optimizer = adamw(0.01, 0.999).unwrap();
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
        let (grads, _) = clip_by_global_norm(&model, grads, 1.0);
        model = optimizer.step(5e-4, model, grads);
        losses.push(loss.into_scalar::<f32>());
        times.push(begun.elapsed().as_secs_f64());
    }
    let timed = times.split_off(WARM_UP);
    let (timed_seconds, seconds) = (timed.iter().sum::<f64>(), median(timed));
    serde_json::json!({
        "what": "stage1", "tokens_per_second": (batch * (visual + text)) as f64 / seconds,
        "median_step_seconds": seconds, "warm_up_seconds": times.iter().sum::<f64>(), "timed_seconds": timed_seconds, "peak_rss_mb": peak_rss_mb(), "loss": [losses[0], losses[losses.len() - 1]],
    })
}

/// Greedy tokens of `batch` equal prompts: the time to the first ones, and that of each step that follows.
fn generation<L: LanguageModel>(model: &L, new: usize, prompt: usize, batch: usize) -> serde_json::Value {
    let device = Device::default();
    let tokens: Vec<i64> = (0..prompt as i64).map(|i| 1000 + 37 * i % 30_000).collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [1, prompt]), &device);
    let config = GenerationConfig::new().with_max_new_tokens(new);
    // Warms up.
    TokenStream::new(model, model.embed(tokens.clone().narrow(1, 0, prompt.min(16))), &[], &config)
        .unwrap()
        .take(3)
        .for_each(drop);
    let begun = Instant::now();
    let mut texts = BatchDecoder::new(model);
    for _ in 0..batch {
        texts.add(model.embed(tokens.clone()), &[], &config).unwrap();
    }
    while texts.step().len() < batch {}
    let first = begun.elapsed().as_secs_f64();
    let mut times = Vec::new();
    let (mut written, begun) = (0, Instant::now());
    while !texts.is_empty() {
        let begun = Instant::now();
        let events = texts.step();
        written += events.iter().filter(|(_, decoded)| matches!(decoded, Decoded::Token(_))).count();
        times.push(begun.elapsed().as_secs_f64());
    }
    let seconds = begun.elapsed().as_secs_f64();
    serde_json::json!({
        "what": "generate", "prompt": prompt, "new": new, "batch": batch,
        "tokens_per_second": written as f64 / seconds, "prompt_seconds": first, "median_step_seconds": median(times),
        "peak_rss_mb": peak_rss_mb(),
    })
}

/// Gigabytes a second that are read from, and copied within, memory that no cache holds.
fn memory() -> serde_json::Value {
    const SIZE: usize = 1 << 26;
    let (from, mut to) = (vec![1.5f32; SIZE], vec![0f32; SIZE]);
    let share = SIZE / rayon::current_num_threads().max(1);
    let best = |bytes: usize, work: &mut dyn FnMut()| {
        let times = (0..7).map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64()
        });
        bytes as f64 / 1e9 / times.fold(f64::INFINITY, f64::min)
    };
    let read = best(4 * SIZE, &mut || {
        let sum = |part: &[f32]| {
            let mut sums = [0u32; 64];
            for part in part.as_chunks::<64>().0 {
                sums.iter_mut().zip(part).for_each(|(sum, value)| *sum ^= value.to_bits());
            }
            sums.iter().fold(0, |all, sum| all ^ sum)
        };
        std::hint::black_box(from.par_chunks(share).map(sum).reduce(|| 0, |a, b| a ^ b));
    });
    let copied = best(8 * SIZE, &mut || {
        to.par_chunks_mut(share).zip(from.par_chunks(share)).for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&to);
    });
    serde_json::json!({ "what": "memory", "read_gb_per_second": read, "copied_gb_per_second": copied })
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
