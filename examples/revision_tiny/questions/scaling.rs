//! How much of each: stage 1 on few and on many texts, beside as many real pairs, and statistics of few and of many unpaired
//! pictures, and of pictures of another kind (arXiv 2602.07026, Sec. 5, has both questions at its own size).

use std::fmt::Write as _;
use std::path::Path;

use burn_revision::Result;
use burn_revision::alignment::{MeanShiftConfig, ReAlignConfig, WithNoise};
use burn_revision::revision::ConversationDataset;
use serde::{Deserialize, Serialize};

use super::pictures::Picture;
use super::report::Run;
use super::variants::Stages;
use super::{drawn, encoder, parallel};
use crate::common::table::{figure, markdown};
use crate::common::write;
use crate::common::{charts, html};

/// Texts, or pairs.
const COUNTS: [usize; 4] = [30, 100, 300, 1000];
/// Unpaired pictures behind the statistics.
const STATISTICS: [usize; 4] = [3, 10, 100, 600];

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Series {
    Texts,
    Pairs,
    /// The unpaired pictures of the statistics, with all texts: of mean shift, of ReAlign, and of ReAlign with noise.
    MeanShift,
    Statistics,
    NoisyStatistics,
    /// As many drawn pictures behind the statistics, where the others are those of the package.
    OtherPictures,
}

impl Series {
    const TRAINED: [Self; 2] = [Self::Texts, Self::Pairs];
    const FITTED: [Self; 4] = [Self::MeanShift, Self::Statistics, Self::NoisyStatistics, Self::OtherPictures];

    fn title(self) -> &'static str {
        match self {
            Self::Texts => "texts in stage 1, ReAlign + noise",
            Self::Pairs => "real pairs in stage 1",
            Self::MeanShift => "mean shift",
            Self::Statistics => "ReAlign",
            Self::NoisyStatistics => "ReAlign + noise",
            Self::OtherPictures => "ReAlign, pictures of another kind",
        }
    }
}

/// The share of right answers after stage 1 with so many of something.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    series: Series,
    count: usize,
    accuracy: f64,
}

/// One seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedScaling {
    seed: u64,
    points: Vec<Point>,
}

/// Stage 1 with each number of each thing.
pub fn run(stages: &Stages, is_drawn: bool) -> Result<SeedScaling> {
    let world = stages.world;
    let realign = ReAlignConfig::new().fit(&world.text_rows, &world.unpaired_rows)?;
    let noisy = WithNoise::new(realign, world.settings.noise);
    let mut jobs: Vec<(Series, usize, ConversationDataset)> = Vec::new();
    for count in COUNTS.into_iter().filter(|count| *count <= world.texts.len()) {
        jobs.push((Series::Texts, count, stages.some_texts(&noisy, count)?));
    }
    for count in COUNTS.into_iter().filter(|count| *count <= world.shares.pairs.len()) {
        jobs.push((Series::Pairs, count, stages.pictures(&world.shares.pairs[..count])?));
    }
    let others = drawn::draw();
    let others: Vec<&Picture> = others.train.iter().take(world.unpaired_rows.len()).collect();
    let others = encoder::embed_pictures(&world.encoder, &others, &world.device)?;
    let kinds = [(Series::Statistics, &world.unpaired_rows), (Series::OtherPictures, &others)];
    for (series, rows) in kinds.into_iter().take(if is_drawn { 1 } else { 2 }) {
        // Of another kind many are enough to ask about.
        let counts = STATISTICS.into_iter().filter(|count| *count <= rows.len());
        for count in counts.filter(|count| series == Series::Statistics || *count >= 100) {
            let pictures = rows.select(&(0..count).collect::<Vec<_>>())?;
            let realign = ReAlignConfig::new().fit(&world.text_rows, &pictures)?;
            jobs.push((series, count, stages.texts(&realign)?));
            if series == Series::Statistics {
                let shift = MeanShiftConfig::new().fit(&world.text_rows, &pictures)?;
                jobs.push((Series::MeanShift, count, stages.texts(&shift)?));
                let noisy = WithNoise::new(realign, world.settings.noise);
                jobs.push((Series::NoisyStatistics, count, stages.texts(&noisy)?));
            }
        }
    }
    let points = parallel::map(&world.device, &jobs, |(series, count, data)| {
        let title = format!("{count} {series:?}");
        let (model, _) = stages.train(&title, data.clone())?;
        let accuracy = stages.ask(&model)?.all;
        println!("{}{} x {count}: {accuracy:.3}", stages.label, series.title());
        Ok(Point { series: *series, count: *count, accuracy })
    })?;
    Ok(SeedScaling { seed: world.seed, points })
}

/// Writes what was found, and prints it.
pub fn finish(output: &Path, run: &Run, seeds: &[SeedScaling]) -> Result<()> {
    let values = |series: Series, count: usize| -> Vec<f64> {
        let points = seeds.iter().flat_map(|seed| &seed.points);
        points
            .filter(|point| point.series == series && point.count == count)
            .map(|point| point.accuracy)
            .collect()
    };
    let mut body = run.heading("How much of each?");
    body.push_str("<p>The share of right answers after stage 1. Bars are standard deviations over seeds, small dots single seeds.</p>\n");
    let parts = [
        ("scaling.svg", "texts, or pairs, in stage 1", &COUNTS, &Series::TRAINED[..]),
        ("statistics.svg", "unpaired pictures behind the statistics", &STATISTICS, &Series::FITTED[..]),
    ];
    for (file, label, counts, shown) in parts {
        let head = std::iter::once("how many".to_string()).chain(counts.iter().map(usize::to_string));
        let mut rows = vec![head.collect::<Vec<_>>()];
        let mut lines = Vec::new();
        for series in shown {
            let found: Vec<(usize, Vec<f64>)> =
                counts.iter().map(|count| (*count, values(*series, *count))).collect();
            let cells = found.iter().map(|(_, values)| figure(values, 3));
            rows.push(std::iter::once(series.title().to_string()).chain(cells).collect());
            let points = found.into_iter().filter(|(_, values)| !values.is_empty()).collect();
            lines.push(charts::Line { title: series.title(), points });
        }
        let (table, drawing) = (markdown(&rows), charts::curves(&lines, label));
        println!("\nThe share of right answers after stage 1:\n\n{table}");
        write(&output.join(file), drawing.as_bytes())?;
        let _ = writeln!(body, "<h2>By the number of {label}</h2>");
        body.push_str(&drawing);
        html::table(&mut body, &table);
    }
    html::settings(&mut body, run.settings);
    run.write(&output.join("scaling.json"), "seeds", &seeds)?;
    write(&output.join("scaling.html"), html::page("How much of each?", &body).as_bytes())?;
    println!("Written to {}: scaling.html, scaling.json, scaling.svg, statistics.svg", output.display());
    Ok(())
}
