//! A real language model learns to see from text: SmolLM2-135M-Instruct, and real embeddings of clip-art and emoji.
//!
//! Stage 1 trains a projector on captions alone, whose embeddings were moved towards the pictures in one way or another;
//! stage 2 tunes projector and adapters on few real pictures; then pictures that nothing has seen are captioned.
//!
//! ```text
//! tests/fetch_smollm2.sh                             brings the language model, 98 MB
//! examples/clipart/fetch_encoder.sh                  brings the encoder, which judges captions, 110 MB
//! cargo run --example revision_smollm2               the comparison, within the hour
//! cargo run --example revision_smollm2 -- --quick    everything once, in minutes
//! ```

#[path = "../common/mod.rs"]
mod common;
mod report;
mod retrieval;
mod settings;
mod variants;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn_revision::{Error, Result};
use clap::Parser;

use common::write;
use report::{Report, SeedReport};
use settings::Settings;
use variants::Variant;
use world::{Places, World};

/// Seeds below served to choose settings; figures to be reported start here.
const FIRST_SEED: u64 = 100;
/// The first seed of `--validate`.
const FIRST_VALIDATION_SEED: u64 = 1;

/// Trains SmolLM2 to see on text alone, and compares ways to close the modality gap.
///
/// BURN_DEVICE picks the backend among those that are compiled in (flex, wgpu, ndarray, ...). A run that was broken off
/// goes on where it stood, with the same settings and output folder.
#[derive(Parser)]
#[command(name = "revision_smollm2")]
struct Arguments {
    /// Little training, few pictures: shows that everything runs. Its numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// How many seeds to run; each has its own projector and order of the samples
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Only the rows with these titles, and rows for other methods of text by their names: whitening, memory, ...
    #[arg(long, value_delimiter = ',', value_name = "TITLES")]
    rows: Vec<String>,
    /// Measures pictures of stage 2, which are then kept from it, with other seeds: for choosing settings
    #[arg(long)]
    validate: bool,
    /// Changes settings, by their names in report.json
    #[arg(long, value_name = "NAME=JSON")]
    set: Vec<String>,
    /// The language model: a GGUF file or a folder of Hugging Face
    #[arg(
        long,
        default_value = "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        env = "SMOLLM2_GGUF",
        value_name = "PATH"
    )]
    language_model: PathBuf,
    /// Embeddings and conversations
    #[arg(long, default_value = "examples/clipart", value_name = "FOLDER")]
    data: PathBuf,
    /// The encoder of these embeddings, which looks for the pictures that captions describe; left out where it is not there
    #[arg(long, default_value = "target/clipart/encoder", value_name = "FOLDER")]
    encoder: PathBuf,
    /// Checkpoints, report.html, report.json and report.md
    #[arg(long, default_value = "target/revision_smollm2", value_name = "FOLDER")]
    output: PathBuf,
}

fn main() -> ExitCode {
    burn_revision::training::keep_freed_memory();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let begun = Instant::now();
    if !arguments.language_model.exists() {
        let detail = "not there; tests/fetch_smollm2.sh brings it, or name one with --language-model";
        return Err(Error::format(&arguments.language_model, detail));
    }
    let settings = if arguments.quick { Settings::quick() } else { Settings::full() };
    let settings = common::settings::change(&settings, &arguments.set)?;
    let asked = Variant::asked(&arguments.rows, settings.noise)?;
    let places = Places {
        data: arguments.data.clone(),
        language_model: arguments.language_model.clone(),
        encoder: arguments.encoder.clone(),
    };
    let world = World::read(settings, &places, arguments.validate)?;
    if world.retrieval.is_none() {
        let encoder = arguments.encoder.display();
        eprintln!(
            "{encoder}: not there, so captions do not look for their pictures; examples/clipart/fetch_encoder.sh brings it"
        );
    }
    let mut report = Report {
        burn_revision: env!("CARGO_PKG_VERSION"),
        settings: world.settings.clone(),
        validation: arguments.validate,
        stage1_captions: world.stage1.conversations.len(),
        stage2_pictures: world.stage2.conversations.len(),
        blind: world.blind()?,
        true_ranks: world.true_ranks()?,
        test: world.test.conversations.clone(),
        seeds: Vec::new(),
    };
    eprintln!("{} pictures, {} captions for stage 1", report.test.len(), report.stage1_captions);
    let folder = match (arguments.validate, arguments.quick) {
        (true, _) => "validation",
        (_, true) => "quick",
        _ => "full",
    };
    let folder = arguments.output.join(folder);
    let first = if arguments.validate { FIRST_VALIDATION_SEED } else { FIRST_SEED };
    for seed in first..first + arguments.seeds {
        report.seeds.push(SeedReport { seed, variants: Vec::new() });
        let checkpoints = folder.join(format!("seed-{seed}"));
        for variant in &asked {
            let result = variants::run(variant, &world, seed, &checkpoints)?;
            let first = result
                .stage1
                .as_ref()
                .map_or_else(String::new, |found| format!("NLL {:.3} after stage 1, ", found.scores.nll));
            let (title, second, seconds) = (&variant.title, result.stage2.scores.nll, result.seconds);
            eprintln!("seed {seed}, {title}: {first}{second:.3} after stage 2, {seconds:.0} s");
            report.seeds.last_mut().expect("just pushed").variants.push(result);
            // What was found is kept, whatever becomes of the next row.
            write(&folder.join("report.json"), &serde_json::to_vec(&report).expect("plain data"))?;
            write(&folder.join("report.md"), report.markdown().as_bytes())?;
        }
    }
    write(&folder.join("report.html"), report.html().as_bytes())?;
    write(&folder.join("found.svg"), report.drawing().as_bytes())?;
    println!("{}", report.markdown());
    println!("{:.0} s; also in {}", begun.elapsed().as_secs_f64(), folder.join("report.html").display());
    Ok(())
}
