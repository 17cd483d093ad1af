use std::path::Path;

use serde_json::json;

use super::args::OutputOptions;
use super::gap_args::GapCommand;
use super::outcome::Outcome;
use super::page;
use super::progress::Progress;
use burn_revision::device::from_environment;
use burn_revision::embedding::{Modality, Store};
use burn_revision::report::{Measurement, ReportConfig};
use burn_revision::{Error, Result, atomic};

/// `gap`: the report of a modality gap.
pub fn gap(command: &GapCommand, output: &OutputOptions) -> Result<Outcome> {
    let progress = Progress::new(output);
    let config = config(command)?;
    let open = |path: &Path, modality| {
        Store::open_with(path, &command.store.options(Some(modality), Some(command.non_finite)))
    };
    let (text, image) = (open(&command.text, Modality::Text)?, open(&command.image, Modality::Image)?);
    let files = ["report.json", "report.html"].map(|name| command.output.join(name));
    if let Some(there) = files.iter().find(|file| file.exists() && !command.overwrite) {
        let detail = format!("{} is there already; --overwrite replaces it", there.display());
        return Err(Error::config("output", detail));
    }
    std::fs::create_dir_all(&command.output).map_err(|error| Error::io(&command.output, error))?;
    let mut measurement = Measurement::new(&config);
    if command.samples {
        measurement = measurement.with_samples(&command.output);
    }
    let report = measurement.of_stores(&text, &image, &from_environment()?, &progress)?;
    drop(progress);
    let [json, html] = &files;
    report.save(json)?;
    atomic::write(html, |file| std::io::Write::write_all(file, page::render(&report).as_bytes()))?;
    let mut outcome = Outcome::default();
    outcome.line(format!("{report}\n"));
    outcome.line(format!("{} and {}", json.display(), html.display()));
    outcome.entry("report", json!(report));
    outcome.entry("files", json!(files));
    outcome.notes([&text, &image]);
    Ok(outcome)
}

fn config(command: &GapCommand) -> Result<ReportConfig> {
    let default = ReportConfig::default();
    let only = match command.only.as_deref().map(|only| (only, only.split_once('='))) {
        None => None,
        Some((_, Some((field, value)))) => Some((field.to_string(), value.to_string())),
        Some((only, None)) => {
            return Err(Error::config("only", format!("expected FIELD=VALUE, found {only:?}")));
        }
    };
    Ok(ReportConfig {
        seed: command.seed,
        paired: command.paired,
        pair_by: command.pair_by.clone(),
        only,
        methods: if command.methods.is_empty() { default.methods } else { command.methods.clone() },
        k: command.k,
        energy: command.energy,
        rows: command.rows,
        probe: command.probe,
        ridge: command.ridge,
        sigma: command.sigma.unwrap_or(default.sigma),
        cosine_pairs: command.cosine_pairs,
        draws: default.draws,
        domain: command.domain_by.clone(),
        caption: command.caption.clone(),
        non_finite: command.non_finite,
    })
}
