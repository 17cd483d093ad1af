//! The program `burn-revision`: alignment and diagnosis of embedding files, and the training of multimodal models, from
//! the command line.
//!
//! Its `--help` is its documentation. Results go to standard output, as text or with `--json` as one JSON object;
//! progress and errors go to standard error. Exit codes: 0 done, 2 usage or settings, 3 data, 4 files, 130 interrupted,
//! 1 anything else.

mod align;
mod align_args;
mod args;
mod ask;
mod ask_args;
mod benchmark;
mod contrast;
mod contrast_args;
mod convert;
mod cost;
mod embed;
mod embed_args;
mod encoder_record;
mod evaluate;
mod gap;
mod gap_args;
mod generate;
mod memory_advice;
mod model_args;
mod outcome;
mod page;
mod progress;
mod projector;
mod run_description;
#[cfg(feature = "serve")]
mod serve;
mod stats;
mod store_args;
mod train;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use burn_revision::{Error, Result};
use outcome::Outcome;

/// Runs the program with the arguments of the process.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    memory_advice::install();
    let Ok(done) = catch_unwind(AssertUnwindSafe(|| run(&arguments))) else {
        return ExitCode::FAILURE;
    };
    match done {
        Ok(outcome) => {
            outcome.print(arguments.output.json, arguments.output.quiet);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            let resumable = matches!(
                arguments.command,
                Command::Align(_)
                    | Command::Apply(_)
                    | Command::Convert(_)
                    | Command::Embed(_)
                    | Command::Train(_)
            );
            if resumable && matches!(error, Error::Interrupted) {
                eprintln!("what is done is kept: the same command with --resume goes on");
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(arguments: &Arguments) -> Result<Outcome> {
    let output = &arguments.output;
    match &arguments.command {
        Command::Align(command) => align::align(command, output),
        Command::Fit(command) => align::fit(command, output),
        Command::Apply(command) => align::apply(command, output),
        Command::Gap(command) => gap::gap(command, output),
        Command::Stats(command) => stats::run(command),
        Command::Convert(command) => convert::convert(command, output),
        Command::Cost(command) => cost::cost(command),
        Command::Embed(command) => embed::embed(command, output),
        Command::Contrast(command) => contrast::contrast(command, output),
        Command::Train(command) => train::train(command, output),
        Command::Generate(command) => generate::generate(command, output),
        Command::Ask(command) => ask::ask(command, output),
        #[cfg(feature = "serve")]
        Command::Serve(command) => serve::serve(command, output),
        Command::Eval(command) => evaluate::evaluate(command, output),
        Command::Export(command) => projector::export(command),
        Command::Import(command) => projector::import(command),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(*shell, &mut command, "burn-revision", &mut std::io::stdout());
            Ok(Outcome::default())
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Config { .. } => 2,
        Error::Format { .. }
        | Error::Mismatch { .. }
        | Error::TooFewRows { .. }
        | Error::NoSpread { .. }
        | Error::NonFinite { .. }
        | Error::ZeroRow { .. }
        | Error::MissingId { .. }
        | Error::Sample { .. }
        | Error::NoLabel { .. }
        | Error::DuplicateId { .. } => 3,
        Error::Io { .. } => 4,
        Error::Interrupted => 130,
        _ => 1,
    }
}
