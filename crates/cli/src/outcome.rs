use std::time::Duration;

use serde_json::{Map, Value, json};

use burn_revision::embedding::{BytesMoved, RowReport, Store};

/// What a command has to say at its end: lines for people, and the same as JSON.
#[derive(Default)]
pub struct Outcome {
    lines: Vec<String>,
    notes: Vec<String>,
    json: Map<String, Value>,
}

impl Outcome {
    /// Something worth a line.
    pub fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// An entry of the JSON object.
    pub fn entry(&mut self, key: &str, value: impl Into<Value>) {
        self.json.insert(key.to_string(), value.into());
    }

    /// What became of the rows of a set.
    pub fn rows(&mut self, set: &str, report: &RowReport) {
        let RowReport { rows, skipped, zeroed, .. } = report;
        let mut line = format!("{set}: {rows} rows");
        if *skipped > 0 {
            line += &format!(", {skipped} left out");
        }
        if *zeroed > 0 {
            line += &format!(", {zeroed} let through with zeros or without direction");
        }
        self.line(line);
        self.entry(set, json!(report));
    }

    /// Bytes and rates; a line only where it was asked for.
    pub fn bytes(&mut self, bytes: BytesMoved, elapsed: Duration, verbose: bool) {
        let seconds = elapsed.as_secs_f64();
        let rate = (bytes.read + bytes.written) as f64 / seconds / 1e9;
        if verbose {
            let (read, written) = (bytes.read as f64 / 1e6, bytes.written as f64 / 1e6);
            self.line(format!("read {read:.1} MB, wrote {written:.1} MB in {seconds:.3} s: {rate:.2} GB/s"));
        }
        self.entry("traffic", json!({ "read": bytes.read, "written": bytes.written, "seconds": seconds }));
    }

    /// What is worth knowing of how stores were read: lines on standard error, since they are not the result.
    pub fn notes<'a>(&mut self, stores: impl IntoIterator<Item = &'a Store>) {
        for note in stores.into_iter().flat_map(|store| store.report().notes()) {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        if !self.notes.is_empty() {
            self.entry("notes", json!(self.notes));
        }
    }

    /// Prints it to standard output.
    pub fn print(&self, json: bool, quiet: bool) {
        use std::io::Write;
        if !quiet {
            self.notes.iter().for_each(|note| eprintln!("note: {note}"));
        }
        let mut stdout = std::io::stdout().lock();
        // Somebody who closes the pipe early has read enough.
        let _ = match (json, quiet) {
            (true, _) if self.json.is_empty() => Ok(()),
            (true, _) => writeln!(stdout, "{}", Value::Object(self.json.clone())),
            (false, true) => Ok(()),
            (false, false) => self.lines.iter().try_for_each(|line| writeln!(stdout, "{line}")),
        };
    }
}
