//! How much of each: stage 1 on few and on many texts, beside as many real pairs, and statistics of few and of many unpaired
//! pictures, and of pictures of another kind (arXiv 2602.07026, Sec. 5, has both questions at its own size).

use std::path::Path;

use burn_revision::Result;
use burn_revision::alignment::{ReAlignConfig, WithNoise};
use burn_revision::revision::ConversationDataset;
use serde::{Deserialize, Serialize};

use super::pictures::Picture;
use super::report::Run;
use super::variants::Stages;
use super::{charts, drawn, encoder, parallel};
use crate::table::{figure, markdown};
use crate::write;

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
    /// The unpaired pictures of the statistics, with all texts.
    Statistics,
    /// As many drawn pictures behind the statistics, where the others are those of the package.
    OtherPictures,
}

impl Series {
    const ALL: [Self; 4] = [Self::Texts, Self::Pairs, Self::Statistics, Self::OtherPictures];

    fn title(self) -> &'static str {
        match self {
            Self::Texts => "texts in stage 1, ReAlign + noise",
            Self::Pairs => "real pairs in stage 1",
            Self::Statistics => "unpaired pictures of ReAlign, without noise",
            Self::OtherPictures => "the same, of another kind",
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
    for (counts, shown) in [(COUNTS, &Series::ALL[..2]), (STATISTICS, &Series::ALL[2..])] {
        let head = std::iter::once("how many".to_string()).chain(counts.iter().map(usize::to_string));
        let mut rows = vec![head.collect::<Vec<_>>()];
        for series in shown {
            let cells = counts.iter().map(|count| figure(&values(*series, *count), 3));
            rows.push(std::iter::once(series.title().to_string()).chain(cells).collect());
        }
        println!("\nThe share of right answers after stage 1:\n\n{}", markdown(&rows));
    }
    let lines: Vec<charts::Line> = Series::ALL[..2]
        .iter()
        .map(|series| charts::Line {
            title: series.title(),
            points: COUNTS.iter().map(|count| (*count, values(*series, *count))).collect(),
        })
        .collect();
    write(&output.join("scaling.svg"), charts::curves(&lines, "texts, or pairs, in stage 1").as_bytes())?;
    run.write(&output.join("scaling.json"), "seeds", &seeds)?;
    println!("Written to {}: scaling.json, scaling.svg", output.display());
    Ok(())
}
