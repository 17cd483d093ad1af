use serde_json::json;

use super::args::{StatsAction, StatsCommand};
use super::outcome::Outcome;
use burn_revision::Result;
use burn_revision::alignment::Statistics;

/// `stats show` and `stats merge`.
pub fn run(command: &StatsCommand) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    match &command.action {
        StatsAction::Show { path } => {
            let statistics = Statistics::load(path)?;
            outcome.rows("image", &statistics.report().image);
            outcome.rows("text", &statistics.report().text);
            describe(&mut outcome, &statistics);
            for source in statistics.sources() {
                let (set, place, rows, files) = (&source.set, &source.place, source.rows, source.files);
                outcome.line(format!("{set} from {place}: {rows} rows in {files} files"));
            }
            outcome.entry("header", statistics.describe());
        }
        StatsAction::Merge { paths, output } => {
            let mut merged = Statistics::load(&paths[0])?;
            let mut given_up = false;
            for path in &paths[1..] {
                given_up |= merged.merge(&Statistics::load(path)?)?;
            }
            merged.save(output)?;
            outcome.rows("image", &merged.report().image);
            outcome.rows("text", &merged.report().text);
            describe(&mut outcome, &merged);
            if given_up {
                outcome.line("the centroids of the parts belong to their own moments, and were left out");
            }
            outcome.line(format!("statistics in {}", output.display()));
            outcome.entry("stats", output.display().to_string());
        }
    }
    Ok(outcome)
}

/// The method and the figures that tell whether all is well.
pub fn describe(outcome: &mut Outcome, statistics: &Statistics) {
    let (text, image) = (statistics.text(), statistics.image());
    outcome.line(format!("method: {}, {} dimensions", statistics.method(), statistics.dim()));
    outcome.entry("method", json!(statistics.method()));
    outcome.entry("dim", statistics.dim());
    if text.count() > 0 && image.count() > 0 {
        let pairs = text.mean().iter().zip(image.mean());
        let gap = pairs.map(|(text, image)| (text - image).powi(2)).sum::<f64>().sqrt();
        let (spread, other) = (text.trace(), image.trace());
        outcome.line(format!("modality gap {gap:.6}; spread of text {spread:.6}, of images {other:.6}"));
        outcome.entry("gap", gap);
        outcome.entry("text_trace", spread);
        outcome.entry("image_trace", other);
    }
    if statistics.lacks_sample() {
        outcome.line("what it fits on a sample of rows is missing: `fit --from` with text and images does it; not ready for `apply`");
        outcome.entry("lacks_sample", true);
    } else if let Some((seen, wanted)) = statistics.missing_centroid() {
        outcome.line(format!("centroid pass: {seen} of {wanted} text rows seen; not ready for `apply`"));
        outcome.entry("missing_centroid_rows", wanted - seen);
    }
}
