//! What was not tested for the want of something: noted by tests, told by the last of them, `tests/zz_skipped.rs` of the
//! program, in one line.
#![allow(dead_code, reason = "tests write, the last one reads")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The notes of the run of `cargo test` under way.
fn notes() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped-tests")
}

/// Notes that a test was skipped for the want of `what`, a word, which `remedy` brings.
pub fn skipped(test: &str, what: &str, remedy: &str) {
    eprintln!("skipped: {test} needs {what}: {remedy}");
    let note = format!("{what}\t{test}\t{remedy}\n");
    let file = OpenOptions::new().append(true).create(true).open(notes());
    file.and_then(|mut file| file.write_all(note.as_bytes())).expect("the folder of the target is writable");
}

/// Takes the notes: what was missing, the test, and the remedy, sorted and without repetition.
pub fn take() -> Vec<[String; 3]> {
    let text = fs::read_to_string(notes()).unwrap_or_default();
    let _ = fs::remove_file(notes());
    let mut notes: Vec<[String; 3]> = text
        .lines()
        .filter_map(|line| line.split('\t').map(String::from).collect::<Vec<_>>().try_into().ok())
        .collect();
    notes.sort();
    notes.dedup();
    notes
}
