use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::FloatDType;
use serde_json::json;

use super::args::OutputOptions;
use super::embed_args::EmbedCommand;
use super::encoder_record;
use super::outcome::Outcome;
use super::progress::Progress;
use burn_revision::alignment::stream::{self, ConvertOptions};
use burn_revision::device::{from_environment, is_cpu};
use burn_revision::embedding::{Format, Store};
use burn_revision::encoder::{
    EmbedOptions, EmbedReport, EncoderRecord, PictureList, PretrainedEncoder, TextList, embed_pictures,
    embed_texts, join_shards,
};
use burn_revision::{Error, Result, atomic};

/// `embed`: pictures or texts to a store of their embeddings.
///
/// Rows are first written as float32 to a folder beside the output, shard by shard, which is what a resumption goes on
/// from; then to the output in its format and type.
pub fn embed(command: &EmbedCommand, output: &OutputOptions) -> Result<Outcome> {
    let begun = Instant::now();
    if command.output.exists() && !command.overwrite && !command.resume {
        let detail = format!("{} is there already: --overwrite replaces it", command.output.display());
        return Err(Error::config("output", detail));
    }
    let progress = Progress::new(output);
    let device = from_environment()?;
    let precision = FloatDType::from(command.precision);
    let options = EmbedOptions {
        batch_size: command.batch_size.unwrap_or(if is_cpu(&device) { 8 } else { 32 }),
        shard_rows: command.shard_rows,
        threads: command.threads,
        raw: command.raw,
        resume: command.resume,
        overwrite: command.overwrite,
        progress: &progress,
    };
    let partial = beside(&command.output, ".partial");
    // Lists before weights: a misspelt path is found at once.
    let (set, report, dim, record) = match &command.texts {
        Some(texts) => {
            let texts = TextList::read(texts, command.text_column.as_deref(), command.id_column.as_deref())?;
            check_any(texts.items().len(), "texts")?;
            let published = PretrainedEncoder::open(&command.encoder)?;
            let encoder = published.text(precision, &device)?;
            let report = embed_texts(&encoder, &texts, &partial, &options)?;
            ("texts", report, encoder.dim(), published.record()?)
        }
        None => {
            let list = PictureList::find(
                &command.images,
                command.image_column.as_deref(),
                command.id_column.as_deref(),
            )?;
            check_any(list.items().len(), "pictures")?;
            let published = PretrainedEncoder::open(&command.encoder)?;
            let encoder = published.image(precision, &device)?;
            let report =
                embed_pictures(&encoder, &list, &partial, command.bad, command.max_pixels, &options)?;
            ("pictures", report, encoder.dim(), published.record()?)
        }
    };
    let bad = beside(&command.output, ".bad.jsonl");
    if report.rows == 0 {
        let what = format!("{set} that can be read (of {})", report.items);
        return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
    }
    let files = written(command, &partial, &progress)?;
    let record = record.map(|record| EncoderRecord { dim, normalised: !command.raw, ..record });
    encoder_record::write(record.as_ref(), &command.output)?;
    if !report.bad.is_empty() {
        atomic::write(&bad, |file| {
            report
                .bad
                .iter()
                .try_for_each(|(id, error)| writeln!(file, "{}", json!({ "id": id, "error": error })))
        })?;
    }
    std::fs::remove_dir_all(&partial).map_err(|source| Error::io(&partial, source))?;
    Ok(outcome(command, set, &report, dim, files, begun.elapsed().as_secs_f64(), &bad))
}

fn check_any(count: usize, what: &str) -> Result<()> {
    match count {
        0 => Err(Error::TooFewRows { what: what.to_string(), needed: 1, actual: 0 }),
        _ => Ok(()),
    }
}

/// A path beside the output, with its name and this ending.
fn beside(output: &Path, ending: &str) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    output.with_file_name(name)
}

/// Writes the shards as the output, and returns its files.
fn written(command: &EmbedCommand, partial: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
    let format = command.format.or_else(|| Format::of(&command.output)).unwrap_or(Format::Npy);
    let shards = Store::open(partial.join("part_*.npy"))?;
    let options = ConvertOptions {
        float: Some(command.dtype),
        format: Some(format),
        threads: command.threads,
        resume: command.resume,
        overwrite: command.overwrite,
        progress,
        ..ConvertOptions::default()
    };
    let rows = match Format::of(&command.output) {
        None => shards,
        Some(_) => {
            let whole = partial.join("whole.npy");
            join_shards(&shards, &whole)?;
            Store::open(whole)?
        }
    };
    Ok(stream::convert(&rows, &command.output, &options)?.files)
}

fn outcome(
    command: &EmbedCommand,
    set: &str,
    report: &EmbedReport,
    dim: usize,
    files: Vec<PathBuf>,
    seconds: f64,
    bad: &Path,
) -> Outcome {
    let mut outcome = Outcome::default();
    let rate = (report.items - report.resumed) as f64 / seconds;
    let mut line = format!("{set}: {} rows of {dim} dimensions, {rate:.1} {set}/s", report.rows);
    if report.resumed > 0 {
        line += &format!("; {} were done before", report.resumed);
    }
    outcome.line(line);
    if report.truncated > 0 {
        outcome.line(format!("{} texts were longer than the encoder takes, and were cut", report.truncated));
    }
    if !report.bad.is_empty() {
        outcome.line(format!("{} pictures could not be read: {}", report.bad.len(), bad.display()));
    }
    outcome.line(format!("embeddings in {}", command.output.display()));
    outcome.entry(set, json!(report));
    outcome.entry("dim", json!(dim));
    outcome.entry("seconds", json!(seconds));
    outcome.entry("files", json!(files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()));
    outcome
}
