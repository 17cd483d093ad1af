//! A real language model learns to see from text: SmolLM2-135M-Instruct, and real embeddings of clip-art and emoji.
//!
//! Stage 1 trains a projector on captions alone, whose embeddings were moved towards the pictures in one way or another;
//! stage 2 tunes projector and language model on few real pictures; then pictures that nothing has seen are captioned.
//!
//! ```text
//! tests/fetch_smollm2.sh                             brings the language model, 98 MB
//! cargo run --example revision_smollm2               the comparison, within the hour
//! cargo run --example revision_smollm2 -- --quick    everything once, in minutes
//! ```

mod report;
mod settings;
mod variants;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn_revision::{Error, Result};
use clap::Parser;

use settings::Settings;
use variants::{Variant, VariantResult};
use world::World;

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
    /// Checkpoints, report.json and report.md
    #[arg(long, default_value = "target/revision_smollm2", value_name = "FOLDER")]
    output: PathBuf,
    /// The seed of the projector and of the order of the samples
    #[arg(long, default_value_t = 100)]
    seed: u64,
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
    let world = World::read(settings, &arguments.data, &arguments.language_model, arguments.seed)?;
    eprintln!(
        "{} held-out pictures, {} captions for stage 1",
        world.test.conversations.len(),
        world.stage1.conversations.len()
    );
    let folder = arguments.output.join(if arguments.quick { "quick" } else { "full" });
    std::fs::create_dir_all(&folder).map_err(|source| Error::io(&folder, source))?;

    let blind = world.blind()?;
    eprintln!("the language model, blind: NLL {:.3}", blind.nll);
    let mut results: Vec<VariantResult> = Vec::new();
    for variant in Variant::ALL {
        let result = variants::run(variant, &world, &folder)?;
        let first = result
            .stage1
            .as_ref()
            .map_or_else(String::new, |found| format!("NLL {:.3} after stage 1, ", found.scores.nll));
        let (title, second, seconds) = (variant.title(), result.stage2.scores.nll, result.seconds);
        eprintln!("{title}: {first}NLL {second:.3} after stage 2, {seconds:.0} s");
        results.push(result);
        let table = report::table(&blind, &results);
        let captions = report::captions(&world.test.conversations, &results);
        write(&folder.join("report.md"), format!("{table}\n{captions}").as_bytes())?;
        let json = serde_json::json!({ "settings": world.settings, "blind": blind, "results": results });
        write(&folder.join("report.json"), json.to_string().as_bytes())?;
    }
    println!(
        "{}\n{}",
        report::table(&blind, &results),
        report::captions(&world.test.conversations, &results)
    );
    println!("{:.0} s; also in {}", begun.elapsed().as_secs_f64(), folder.join("report.md").display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|source| Error::io(path, source))
}
