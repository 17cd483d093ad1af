//! Chores: `cargo run -p xtask -- backends` runs the suite of every backend, `cargo run -p xtask -- book` the commands that
//! the book prints.

mod backends;
mod book;
mod machine;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Run `tests/backend` on every backend that this machine has, and print who took how long
    Backends(backends::Options),
    /// Run the commands that pages of the book print, and compare what they print
    Book(book::Options),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Backends(options) => backends::run(&options),
        Command::Book(options) => book::run(&options),
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
