use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::align_args::{AlignCommand, ApplyCommand, ComputeChoice, FitCommand, RowOptions, WriteOptions};
use super::args::OutputOptions;
use super::encoder_record;
use super::outcome::Outcome;
use super::progress::Progress;
use burn_revision::alignment::stream::{self, ApplyOptions, ApplyReport, Compute, FitCheckpoint, FitOptions};
use burn_revision::alignment::{Method, Statistics};
use burn_revision::device::from_environment;
use burn_revision::embedding::{BytesMoved, Modality, Store};
use burn_revision::{Error, Result};

/// `align`: fit and apply.
pub fn align(command: &AlignCommand, output: &OutputOptions) -> Result<Outcome> {
    let begun = Instant::now();
    let progress = Progress::new(output);
    let text = open(&command.text, Modality::Text, &command.rows)?;
    let image = open(&command.image, Modality::Image, &command.rows)?;
    let mut options = fit_options(&command.rows, command.method.centroid_sample, &progress)?;
    let write = apply_options(&command.write, &command.rows, &progress)?;
    stream::check_output(&text, &[&image], &command.output, &write)?;
    image.check_ids()?;
    // Until all is written: a run that is interrupted behind the fit need not train again.
    let state = state_file(&command.output);
    options.checkpoint =
        Some(FitCheckpoint { path: state.clone(), resume: write.resume, every: write.checkpoint });
    let (statistics, mut bytes) =
        stream::fit(&command.method.method(command.rows.seed)?, &text, &image, &options)?;
    if let Some(path) = &command.stats {
        statistics.save(path)?;
    }
    let report = stream::apply(&statistics, &text, &command.output, &write)?;
    encoder_record::carry(&text, &command.output)?;
    remove(&state)?;
    bytes += report.bytes;
    let mut outcome = Outcome::default();
    outcome.rows("image", &statistics.report().image);
    outcome.rows("text", &report.rows);
    describe(&mut outcome, &statistics, &options.compute);
    written(&mut outcome, &report, &command.output);
    if let Some(path) = &command.stats {
        outcome.line(format!("statistics in {}", path.display()));
        outcome.entry("stats", path.display().to_string());
    }
    outcome.bytes(bytes, begun.elapsed(), output.verbose);
    outcome.notes([&text, &image]);
    Ok(outcome)
}

/// `fit`: statistics only; or half of them.
pub fn fit(command: &FitCommand, output: &OutputOptions) -> Result<Outcome> {
    let begun = Instant::now();
    let progress = Progress::new(output);
    let open = |path: &Option<std::path::PathBuf>, modality| -> Result<Option<Store>> {
        let store = path.as_deref().map(|path| open(path, modality, &command.rows)).transpose()?;
        store.iter().try_for_each(Store::check_ids)?;
        Ok(store)
    };
    let (text, image) = (open(&command.text, Modality::Text)?, open(&command.image, Modality::Image)?);
    let state = command.output.with_added_extension("fit");
    let mut options = fit_options(&command.rows, command.method.centroid_sample, &progress)?;
    options.checkpoint = Some(FitCheckpoint { resume: command.resume, ..FitCheckpoint::new(&state) });
    let method = || command.method.method(command.rows.seed);
    let (statistics, bytes) = match (&command.from, &text, &image) {
        (Some(from), Some(text), image) => {
            let mut statistics = Statistics::load(from)?;
            if command.rows.non_finite.is_some_and(|policy| policy != statistics.policy()) {
                let detail = format!("{} was fitted with {}", from.display(), statistics.policy());
                return Err(Error::config("non-finite", detail));
            }
            let options = FitOptions { policy: statistics.policy(), ..options.clone() };
            let mut bytes = BytesMoved::default();
            let lacks_sample = statistics.lacks_sample();
            match (lacks_sample, image) {
                (true, Some(image)) => {
                    bytes += stream::fit_sample(&mut statistics, text, image, &options)?;
                }
                (true, None) => {
                    let detail = format!(
                        "{} fits a part on a sample of texts and images: name images too",
                        statistics.method()
                    );
                    return Err(Error::config("image", detail));
                }
                (false, Some(_)) => {
                    let detail = format!("{} needs no images: its moments hold them", from.display());
                    return Err(Error::config("image", detail));
                }
                (false, None) => {}
            }
            // A memory may be all that was missing.
            if !lacks_sample || statistics.missing_centroid().is_some() {
                bytes += stream::fit_centroid(&mut statistics, text, &options)?;
            }
            (statistics, bytes)
        }
        (None, Some(text), Some(image)) if !command.moments => {
            stream::fit(&method()?, text, image, &options)?
        }
        _ => stream::fit_moments(&method()?, text.as_ref(), image.as_ref(), &options)?,
    };
    statistics.save(&command.output)?;
    remove(&state)?;
    let mut outcome = Outcome::default();
    outcome.rows("image", &statistics.report().image);
    outcome.rows("text", &statistics.report().text);
    describe(&mut outcome, &statistics, &options.compute);
    outcome.line(format!("statistics in {}", command.output.display()));
    outcome.entry("stats", command.output.display().to_string());
    outcome.bytes(bytes, begun.elapsed(), output.verbose);
    outcome.notes(text.iter().chain(&image));
    Ok(outcome)
}

/// Where `align` keeps the state of its fit: beside the record of the job.
fn state_file(output: &Path) -> PathBuf {
    match output.is_dir() {
        true => output.join("align.fit"),
        false => output.with_added_extension("fit"),
    }
}

/// Removes the state of a fit that is done, where it had one.
fn remove(state: &Path) -> Result<()> {
    match std::fs::remove_file(state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(state, error)),
        _ => Ok(()),
    }
}

/// `apply`: aligned rows from statistics.
pub fn apply(command: &ApplyCommand, output: &OutputOptions) -> Result<Outcome> {
    let begun = Instant::now();
    let progress = Progress::new(output);
    let statistics = Statistics::load(&command.stats)?;
    let options = apply_options(&command.write, &command.rows, &progress)?;
    let (set, store, report) = match (&command.text, &command.image) {
        (Some(text), _) => {
            let text = open(text, Modality::Text, &command.rows)?;
            let report = stream::apply(&statistics, &text, &command.output, &options)?;
            ("text", text, report)
        }
        (None, Some(image)) => {
            let image = open(image, Modality::Image, &command.rows)?;
            let report = stream::apply_images(&statistics, &image, &command.output, &options)?;
            ("image", image, report)
        }
        (None, None) => return Err(Error::config("text", "expected --text or --image, found neither")),
    };
    encoder_record::carry(&store, &command.output)?;
    let mut outcome = Outcome::default();
    outcome.rows(set, &report.rows);
    match set {
        "text" => describe(&mut outcome, &statistics, &options.compute),
        _ => super::stats::describe(&mut outcome, &statistics),
    }
    written(&mut outcome, &report, &command.output);
    outcome.bytes(report.bytes, begun.elapsed(), output.verbose);
    outcome.notes([&store]);
    Ok(outcome)
}

fn open(path: &Path, modality: Modality, rows: &RowOptions) -> Result<Store> {
    Store::open_with(path, &rows.store.options(Some(modality), rows.non_finite))
}

fn compute(rows: &RowOptions) -> Result<Compute> {
    Ok(match rows.compute {
        ComputeChoice::Host => Compute::Host,
        ComputeChoice::Device => Compute::Device(from_environment()?),
    })
}

fn fit_options<'a>(
    rows: &RowOptions,
    centroid_sample: Option<usize>,
    progress: &'a Progress,
) -> Result<FitOptions<'a>> {
    Ok(FitOptions {
        policy: rows.non_finite.unwrap_or_default(),
        threads: rows.threads,
        compute: compute(rows)?,
        centroid_sample,
        seed: rows.seed,
        checkpoint: None,
        progress,
    })
}

fn apply_options<'a>(
    write: &WriteOptions,
    rows: &RowOptions,
    progress: &'a Progress,
) -> Result<ApplyOptions<'a>> {
    let checkpoint = Duration::try_from_secs_f64(write.checkpoint)
        .map_err(|error| Error::config("checkpoint", format!("{} seconds: {error}", write.checkpoint)))?;
    Ok(ApplyOptions {
        float: write.dtype,
        format: write.format,
        policy: rows.non_finite,
        seed: rows.seed,
        threads: rows.threads,
        compute: compute(rows)?,
        resume: write.resume,
        overwrite: write.overwrite,
        sync: write.sync,
        checkpoint,
        progress,
    })
}

fn describe(outcome: &mut Outcome, statistics: &Statistics, compute: &Compute) {
    super::stats::describe(outcome, statistics);
    outcome.line(format!("computed on the {}", compute.name()));
    outcome.entry("compute", compute.name());
    if let Method::C3 { sigma, .. } | Method::CapDec { sigma } = statistics.method() {
        outcome.entry("sigma", sigma);
    }
    if statistics.method().moves_images() {
        outcome
            .line("this method moves images too: `apply --image` writes them as a model must be shown them");
    }
}

fn written(outcome: &mut Outcome, report: &ApplyReport, output: &Path) {
    let files = report.files.len();
    let what = if files == 1 { String::new() } else { format!("{files} files in ") };
    outcome.line(format!("aligned rows in {what}{}", output.display()));
    let files: Vec<String> = report.files.iter().map(|file| file.display().to_string()).collect();
    outcome.entry("files", json!(files));
}
