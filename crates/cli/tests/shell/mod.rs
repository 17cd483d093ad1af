//! The program `burn-revision` at a shell, in a folder of its own.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use burn_revision::embedding::{EmbeddingTable, write_table};
use tempfile::TempDir;

/// A folder with embeddings, and the program run in it.
pub struct Shell {
    pub folder: TempDir,
}

impl Shell {
    pub fn new() -> Self {
        let shell = Self { folder: tempfile::tempdir().unwrap() };
        shell.table("text.npy", 300, 1.0);
        shell.table("image.npy", 200, -1.0);
        shell
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn table(&self, name: &str, rows: usize, centre: f32) {
        let dim = 32;
        let value =
            |i: usize| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) + centre * (i % dim) as f32 / dim as f32;
        let ids = (0..rows).map(|row| format!("{name} {row}")).collect();
        let values = (0..rows * dim).map(value).collect();
        write_table(&EmbeddingTable::new(ids, values, dim).unwrap(), self.path(name)).unwrap();
    }

    /// The program with these words as arguments.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_burn-revision"));
        command.current_dir(self.folder.path()).args(line.split_whitespace()).stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    #[track_caller]
    pub fn refused(&self, line: &str, code: i32, cause: &str) {
        let output = self.command(line).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {error}");
        assert!(error.contains(cause), "{line}: expected {cause:?} in {error:?}");
        assert!(!error.contains("panicked"), "{line}: {error}");
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}
