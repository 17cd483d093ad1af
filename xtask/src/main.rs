//! Chores of this repository: `cargo xtask --help`.

mod architecture;
mod backends;
mod book;
mod builds;
mod cargo;
mod check;
mod engines;
mod licenses;
mod machine;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
enum Command {
    /// Check spelling, format, lints, layering and documentation, and run the unit tests: before a pull request
    Check(check::Options),
    /// Run `tests/backend` on every backend that this machine has, and print how long each took
    Backends(backends::Options),
    /// Run the commands that pages of the book print, and compare what they print
    Book(book::Options),
    /// Show that examples, tests and program share one build of Burn
    Builds(builds::Options),
    /// Check the licenses and sources of all dependencies against deny.toml
    Licenses,
    /// Check and test what is there for query engines, `crates/datafusion` and `examples/engines`, which the other chores leave out
    Engines(engines::Options),
    /// Draw the layers of the library for the book, and check that each folder only uses folders below it
    Architecture(architecture::Options),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Check(options) => check::run(&options),
        Command::Backends(options) => backends::run(&options),
        Command::Book(options) => book::run(&options),
        Command::Builds(options) => builds::run(&options),
        Command::Licenses => licenses::run(),
        Command::Engines(options) => engines::run(&options),
        Command::Architecture(options) => architecture::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}
