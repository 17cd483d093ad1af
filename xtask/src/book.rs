//! A reader who pastes the book's commands gets what the book prints: this pastes them.

mod page;
mod shell;

use std::path::PathBuf;

use clap::Args;

use crate::root;
use page::{Session, replaced, sessions, unlike};
use shell::Shell;

#[derive(Args)]
pub struct Options {
    /// The pages, by the name of their file without `.md`, each behind those whose files it uses; without any, the first
    /// three chapters
    pages: Vec<String>,
    /// Write what was printed into the pages, where they say something else without a line `...`; the text around it is
    /// yours to read again
    #[arg(long)]
    update: bool,
}

/// The chapters that a newcomer follows.
const FIRST: [&str; 3] = ["gap", "realign", "two_stages"];

/// Runs the commands of pages in one shell, in the order of the pages; whether all printed what the pages say. What an earlier
/// reader left in `target/book` is removed: no command of the book overwrites anything.
pub fn run(options: &Options) -> Result<bool, String> {
    let named: Vec<&str> = options.pages.iter().map(String::as_str).collect();
    let pages = if named.is_empty() { FIRST.to_vec() } else { named };
    let outputs = root().join("target/book");
    if outputs.exists() {
        std::fs::remove_dir_all(&outputs).map_err(|error| format!("{}: {error}", outputs.display()))?;
    }
    let mut shell = Shell::start(&root())?;
    let (mut ran, mut failed) = (0, 0);
    for page in pages {
        let path: PathBuf = root().join("book/src").join(format!("{page}.md"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut updated = text.clone();
        let mut changes: Vec<(Session, String)> = Vec::new();
        for session in sessions(&text)? {
            let Session { line, command, expected } = &session;
            eprintln!("{page}.md:{line}: $ {command}");
            let (printed, status) = shell.run(command)?;
            ran += 1;
            let complaint = match unlike(expected, &printed) {
                _ if status != 0 => Some(format!("ended with {status}")),
                difference => difference,
            };
            if let Some(complaint) = complaint {
                failed += 1;
                println!("{page}.md:{line}: $ {command}\n{complaint}\nprinted:\n{printed}");
                if options.update && status == 0 && !expected.iter().any(|line| line == "...") {
                    changes.push((session, printed));
                }
            }
        }
        // From the last to the first, so that the numbers of lines above stay right.
        for (session, printed) in changes.iter().rev() {
            updated = replaced(&updated, session, printed);
        }
        if updated != text {
            std::fs::write(&path, updated).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    println!("{ran} commands, {failed} unlike the book");
    Ok(failed == 0 && ran > 0)
}
