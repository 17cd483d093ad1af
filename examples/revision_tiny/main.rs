//! The whole idea on real pictures, in minutes: questions about pictures, which have right and wrong answers, and with
//! `--captions` captions of emoji.
//!
//! Pictures with texts train a small contrastive encoder, which leaves a gap between the two. A small language model reads
//! texts. Then a projector learns, *from text alone*, to tell the language model what an embedding shows (stage 1), a few
//! real pictures tune it (stage 2), and pictures that nothing has seen are asked about, or captioned. The rows of the tables
//! differ only in how text embeddings are moved towards the pictures before stage 1.
//!
//! ```text
//! cargo run --example revision_tiny                  one seed
//! cargo run --example revision_tiny -- --seeds 3     with deviations and paired differences
//! cargo run --example revision_tiny -- --replay      answers again, from the saved weights
//! cargo run --example revision_tiny -- --captions    another task: captions of emoji
//! ```

#[path = "../common/mod.rs"]
mod common;
mod emoji;
mod questions;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Trains a language model to see on text alone, and compares ways to close the modality gap.
///
/// BURN_DEVICE picks the backend among those that are compiled in (flex, wgpu, ndarray, ...).
#[derive(Parser)]
#[command(name = "revision_tiny")]
struct Arguments {
    /// Little training, few pictures: shows that everything runs. Its numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// How many seeds to run; each has its own split, encoder, language model and stages.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Where report.json, the sheets and the weights go.
    #[arg(long, default_value = "target/revision_tiny", value_name = "FOLDER")]
    output: PathBuf,
    /// Trains nothing: answers again with the weights in the output folder, and compares.
    #[arg(long)]
    replay: bool,
    /// Captions of emoji instead of questions about shapes, in a folder `captions` of the output.
    #[arg(long)]
    captions: bool,
    #[command(flatten)]
    questions: questions::Options,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if arguments.captions {
        arguments.output.push("captions");
    }
    let done = match (arguments.captions, arguments.replay) {
        (false, false) => questions::run(&arguments),
        (false, true) => questions::replay(&arguments),
        (true, false) => emoji::run(&arguments),
        (true, true) => emoji::replay(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
