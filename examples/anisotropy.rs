//! The comparison of arXiv 2605.07825, Figs. 6 and 7, on pairs with the geometry that the paper prints for LLM2CLIP: texts as they
//! are, C3, ReAlign and AnisoAlign with its parts, measured on pairs that no method has seen.
//!
//! ```text
//! cargo run --example anisotropy
//! cargo run --example anisotropy -- --fit 20000 --held-out 3000 --seeds 1 rank=256 mixing=random
//! ```
//!
//! Settings of AnisoAlign are given as `name=value`.

use std::process::ExitCode;
use std::time::Instant;

use burn_revision::alignment::{
    Aligner, AnisoAlignConfig, C3Variant, Embeddings, Identity, MemoryOf, MemoryProjectionConfig, Method,
    ShapedNoiseConfig, WithNoise,
};
use burn_revision::device::from_environment;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::geometry::SyntheticGeometry;
use burn_revision::report::{GapReport, Measurement, ReportConfig};
use burn_revision::{Error, Result};

struct Options {
    fit: usize,
    held_out: usize,
    seeds: u64,
    methods: Vec<String>,
    settings: AnisoAlignConfig,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = options()?;
    let mut tables: Vec<Vec<[f64; 10]>> = Vec::new();
    for seed in 0..options.seeds {
        tables.push(measure(&options, seed)?);
    }
    println!(
        "\n{} pairs to fit on, {} held out, {} seeds; printed: arXiv 2605.07825",
        options.fit, options.held_out, options.seeds
    );
    println!(
        "{:<16} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>7}",
        "method", "gap", "Phi", "Psi", "Omega", "M^Z", "M^X", "support", "js", "A_r", "fit s"
    );
    for (at, name) in options.methods.iter().enumerate() {
        let rows: Vec<[f64; 10]> = tables.iter().map(|table| table[at]).collect();
        let mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
        println!(
            "{name:<16} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>8.5} {:>8.2} {:>7.1}",
            mean(0),
            mean(1),
            mean(2),
            mean(3),
            mean(4),
            mean(5),
            mean(6),
            mean(7),
            mean(8),
            mean(9)
        );
        if let Some(printed) = printed(name) {
            println!("{:<16} {printed}", "  printed");
        }
    }
    Ok(())
}

/// The figures of the paper, in the columns of the table.
fn printed(method: &str) -> Option<&'static str> {
    match method {
        "text" => Some("  0.393"),
        "c3" => Some("  0.276   0.899   0.925   0.840   0.410   0.075"),
        "realign" => Some("  0.012   0.923   0.836           0.357   0.305"),
        "anisoalign" => Some("  0.012   0.941   0.983   0.945   0.372   0.337"),
        _ => None,
    }
}

/// Fits every method on the first pairs of a world and measures it on the next.
fn measure(options: &Options, seed: u64) -> Result<Vec<[f64; 10]>> {
    let device = from_environment()?;
    let world = SyntheticGeometry::llm2clip().init(seed)?;
    let (text, image) = world.draw(0..options.fit)?;
    // A report measures on one half of what it is given.
    let (held_text, held_image) = world.draw(options.fit..options.fit + 2 * options.held_out)?;
    let config = ReportConfig {
        paired: true,
        methods: Vec::new(),
        probe: options.held_out,
        rows: 2 * options.held_out,
        seed,
        ..ReportConfig::default()
    };
    options
        .methods
        .iter()
        .map(|name| {
            let begun = Instant::now();
            let aligner = fit(name, options, seed, &text, &image)?;
            let seconds = begun.elapsed().as_secs_f64();
            eprintln!("seed {seed}: {name} fitted in {seconds:.1} s");
            let measurement = Measurement::new(&config).with_aligner(name, aligner.as_ref());
            let report = measurement.of_tables(&held_text, &held_image, &device, &())?;
            let figures = figures(&report, seconds);
            eprintln!("seed {seed}: {name} {figures:.4?}");
            Ok(figures)
        })
        .collect()
}

fn fit(
    name: &str,
    options: &Options,
    seed: u64,
    text: &EmbeddingTable,
    image: &EmbeddingTable,
) -> Result<Box<dyn Aligner + Send + Sync>> {
    if let Some(aligner) = other(name, text, image)? {
        return Ok(aligner);
    }
    let method = match name {
        "text" => Method::Identity,
        // The zero-mean variant, with the noise that gives it the printed Phi.
        "c3" => Method::C3 { sigma: 0.0102, variant: C3Variant::ZeroMean },
        name => match name.parse()? {
            Method::AnisoAlign(parts) => {
                let mut config = options.settings.with_seed(seed);
                if parts.refiner_steps == 0 {
                    config.refiner_steps = 0;
                }
                if parts.phase_weight == 0.0 {
                    config.phase_weight = 0.0;
                }
                Method::AnisoAlign(config)
            }
            method => method,
        },
    };
    method.fit(Embeddings::from(text), Embeddings::from(image))
}

/// Methods that are fitted by their configs alone: by memory, by noise, and combinations.
fn other(
    name: &str,
    text: &EmbeddingTable,
    image: &EmbeddingTable,
) -> Result<Option<Box<dyn Aligner + Send + Sync>>> {
    let memory = |realigned: bool, temperature: f64, step: f64| {
        let config = MemoryProjectionConfig::new().with_realigned(realigned);
        config.with_temperature(temperature).with_step(step).fit(text, image)
    };
    let shaped = |amount: f64| ShapedNoiseConfig::new().with_amount(amount).fit(text, image);
    Ok(Some(match name {
        "decap" => {
            let config = MemoryProjectionConfig::new().with_of(MemoryOf::Texts);
            Box::new(config.fit(text, image)?)
        }
        "capdec" => Box::new(WithNoise::new(Identity::new(text.dim()), 0.016_f64.sqrt())),
        "memory" => Box::new(memory(false, 0.01, 1.0)?),
        "realign+memory" => Box::new(memory(true, 0.03, 0.5)?),
        "realign+memory/4" => Box::new(memory(true, 0.03, 0.25)?),
        "realign+cold" => Box::new(memory(true, 0.01, 0.25)?),
        "shaped/4" => Box::new(shaped(0.25)?),
        "shaped" => Box::new(shaped(1.0)?),
        _ => return Ok(None),
    }))
}

fn figures(report: &GapReport, seconds: f64) -> [f64; 10] {
    let method = &report.methods[0];
    let anisotropy = method.pairs.as_ref().map_or(f64::NAN, |pairs| pairs.anisotropy);
    [
        method.gap,
        method.phi,
        method.psi,
        method.omega,
        method.support.penetration,
        method.support.coverage,
        method.support.score,
        method.js_within,
        anisotropy,
        seconds,
    ]
}

fn options() -> Result<Options> {
    let mut options = Options {
        fit: 100_000,
        held_out: 10_000,
        seeds: 3,
        methods: ["text", "c3", "realign", "anisoalign-init", "anisoalign-score", "anisoalign"]
            .map(String::from)
            .to_vec(),
        settings: AnisoAlignConfig::new(),
    };
    let mut settings = serde_json::Map::new();
    let wrong = |argument: &str| Error::config("argument", format!("cannot read {argument:?}"));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = |argument: &str| -> Result<usize> {
            let value = arguments.next().ok_or_else(|| wrong(argument))?;
            value.parse().map_err(|_| wrong(&value))
        };
        match argument.as_str() {
            "--fit" => options.fit = number(&argument)?,
            "--held-out" => options.held_out = number(&argument)?,
            "--seeds" => options.seeds = number(&argument)? as u64,
            "--methods" => {
                let names = arguments.next().ok_or_else(|| wrong(&argument))?;
                options.methods = names.split(',').map(String::from).collect();
            }
            setting => {
                let (name, value) = setting.split_once('=').ok_or_else(|| wrong(setting))?;
                let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
                settings.insert(name.to_string(), value);
            }
        }
    }
    options.settings = options.settings.with_settings(&settings)?;
    Ok(options)
}
