use std::time::Instant;

use serde_json::json;

use super::args::{ConvertCommand, OutputOptions};
use super::encoder_record;
use super::outcome::Outcome;
use super::progress::Progress;
use burn_revision::Result;
use burn_revision::alignment::stream::{self, ConvertOptions};
use burn_revision::embedding::Store;

/// `convert`: the same rows in another format or type.
pub fn convert(command: &ConvertCommand, output: &OutputOptions) -> Result<Outcome> {
    let begun = Instant::now();
    let progress = Progress::new(output);
    let store = Store::open_with(&command.input, &command.store.options(None, command.non_finite))?;
    let options = ConvertOptions {
        float: command.dtype,
        format: command.format,
        policy: command.non_finite,
        threads: command.threads,
        resume: command.resume,
        overwrite: command.overwrite,
        progress: &progress,
    };
    let report = stream::convert(&store, &command.output, &options)?;
    encoder_record::carry(&store, &command.output)?;
    let mut outcome = Outcome::default();
    outcome.rows("rows", &report.rows);
    outcome.line(format!("{} files in {}", report.files.len(), command.output.display()));
    let files: Vec<String> = report.files.iter().map(|file| file.display().to_string()).collect();
    outcome.entry("files", json!(files));
    outcome.bytes(report.bytes, begun.elapsed(), output.verbose);
    outcome.notes([&store]);
    Ok(outcome)
}
