use std::path::Path;

use serde_json::json;

use super::args::{GapCommand, OutputOptions};
use super::outcome::Outcome;
use super::page;
use super::progress::Progress;
use burn_revision::device::from_environment;
use burn_revision::embedding::Store;
use burn_revision::report::{GapReport, MethodReport, ReportConfig};
use burn_revision::{Error, Result, atomic};

/// `gap`: the report of a modality gap.
pub fn gap(command: &GapCommand, output: &OutputOptions) -> Result<Outcome> {
    let progress = Progress::new(output);
    let config = config(command)?;
    let open = |path: &Path| Store::open_key(path, command.key.as_deref());
    let (text, image) = (open(&command.text)?, open(&command.image)?);
    let files = ["report.json", "report.html"].map(|name| command.output.join(name));
    if let Some(there) = files.iter().find(|file| file.exists() && !command.overwrite) {
        let detail = format!("{} is there already; --overwrite replaces it", there.display());
        return Err(Error::config("output", detail));
    }
    std::fs::create_dir_all(&command.output).map_err(|error| Error::io(&command.output, error))?;
    let (report, samples) = config.build(&text, &image, &from_environment()?, &progress)?;
    drop(progress);
    if command.samples {
        samples.save(&command.output)?;
    }
    let [json, html] = &files;
    report.save(json)?;
    atomic::write(html, |file| std::io::Write::write_all(file, page::render(&report).as_bytes()))?;
    let mut outcome = Outcome::default();
    describe(&mut outcome, &report);
    outcome.line(format!("{} and {}", json.display(), html.display()));
    outcome.entry("report", json!(report));
    outcome.entry("files", json!(files));
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
        methods: if command.methods.is_empty() { default.methods } else { command.methods.clone() },
        paired: command.paired,
        pair_by: command.pair_by.clone(),
        domain: command.domain_by.clone(),
        caption: command.caption.clone(),
        only,
        rows: command.rows,
        probe: command.probe,
        k: command.k,
        energy: command.energy,
        ridge: command.ridge,
        sigma: command.sigma.unwrap_or(default.sigma),
        cosine_pairs: command.cosine_pairs,
        draws: default.draws,
        keep_samples: command.samples,
        non_finite: command.non_finite,
        seed: command.seed,
    })
}

/// The table that is printed.
fn describe(outcome: &mut Outcome, report: &GapReport) {
    let (data, k) = (&report.data, report.settings.k);
    outcome.line(format!(
        "{} texts and {} images, {} dimensions; {} and {} held out",
        data.text.fit + data.text.held_out,
        data.image.fit + data.image.held_out,
        data.dim,
        data.text.held_out,
        data.image.held_out
    ));
    report.notes.iter().for_each(|note| outcome.line(format!("note: {note}")));
    let gap = &report.gap;
    outcome.line(format!(
        "gap {:.4}: {:.4} in the {} dimensions that hold {:.0} % of the energy, {:.4} across them",
        gap.norm,
        gap.beta,
        report.geometry.frame.rank,
        100.0 * report.geometry.frame.energy,
        gap.gamma
    ));
    outcome.line(String::new());
    outcome.line(format!(
        "{:<13} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "held out",
        "gap",
        "expect",
        format!("mix@{k}"),
        "reach",
        "cover",
        format!("keep@{k}"),
        "Phi",
        "Psi",
        "JS"
    ));
    report.methods.iter().for_each(|method| outcome.line(row(method)));
    outcome.line(String::new());
}

fn row(method: &MethodReport) -> String {
    let MethodReport { name, gap, expected_gap, mixing, support, omega, phi, psi, js_within, .. } = method;
    let numbers = [
        *gap,
        *expected_gap,
        mixing.pooled,
        support.penetration,
        support.coverage,
        *omega,
        *phi,
        *psi,
        *js_within,
    ];
    let numbers: String = numbers.iter().map(|number| format!(" {number:>8.4}")).collect();
    format!("{name:<13}{numbers}")
}
