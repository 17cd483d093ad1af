//! Does a gap predict the answers? The centroid gap and the distribution gap (arXiv 2604.00279) of what each method makes of
//! held-out captions, beside what stage 1 on the captions of that method comes to, and how they correlate.

use std::path::Path;

use burn_revision::Result;
use burn_revision::alignment::{Aligner, Method, WithNoise, align_table};
use burn_revision::embedding::NonFinite;
use burn_revision::geometry::{Cloud, ResidualGeometry, distribution_gap};
use burn_revision::revision::mean_nll;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::report::Run;
use super::variants::{Stages, questions};
use super::{encoder, parallel};
use crate::common::table::{figure, markdown};

/// Methods that move texts alone, by their names; what is written behind them adds the noise of the settings.
const METHODS: [&str; 13] = [
    "identity",
    "identity + noise",
    "mean-shift",
    "c3",
    "realign",
    "realign + noise",
    "anisoalign",
    "whitening",
    "gaussian-ot",
    "blockwise",
    "memory",
    "realign-memory",
    "capdec",
];
/// Questions that the loss is measured on together.
const BATCH: usize = 256;

/// A gap or an outcome.
type Value = fn(&Place) -> f64;

/// What came of one method with one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    pub seed: u64,
    pub method: String,
    /// The standard deviation of its noise, for each coordinate.
    pub noise: f64,
    /// Pairs of a test picture and a caption of it that the gaps are measured on.
    pub pairs: usize,
    /// `||mu_x - mu_z||`.
    pub centroid: f64,
    /// `E||(x - mu_x) - (z - mu_z)||`.
    pub distribution: f64,
    /// `E||x - z||`.
    pub distance: f64,
    /// The share of right answers after stage 1.
    pub accuracy: f64,
    /// The mean negative log-likelihood of the true answers after stage 1, for each token.
    pub nll: f64,
}

/// Stage 1 of every method, and the gaps of held-out pairs.
pub fn run(stages: &Stages) -> Result<Vec<Place>> {
    let world = stages.world;
    let mut rng = StdRng::seed_from_u64(world.seed);
    let (mut rows, mut captions) = (Vec::new(), Vec::new());
    for (row, picture) in world.test.iter().enumerate() {
        // Of the others no caption is known.
        if let Some(concept) = picture.concept {
            rows.push(row);
            captions.push((picture.id.clone(), concept.caption(&mut rng)));
        }
    }
    let tokenizer = &world.language.tokenizer;
    let captions = encoder::embed_texts(&world.encoder, &captions, tokenizer, &world.device)?;
    let image = Cloud::unit(&world.test_rows.select(&rows)?, "pictures")?;
    let asked = questions(&world.test, &world.test_rows, tokenizer)?;
    parallel::map(&world.device, &METHODS, |name| {
        let (method, noise) = match name.strip_suffix(" + noise") {
            Some(method) => (method, world.settings.noise),
            None => (*name, 0.0),
        };
        let method = method.parse::<Method>()?.with_seed(world.seed);
        let fitted: Box<dyn Aligner + Send + Sync> = match noise > 0.0 {
            true => Box::new(WithNoise::new(method.fit(&world.text_rows, &world.unpaired_rows)?, noise)),
            false => method.fit(&world.text_rows, &world.unpaired_rows)?,
        };
        let (text, _) = align_table(&fitted, &captions, NonFinite::Error, world.seed, &world.device)?;
        let text = Cloud::unit(&text, name)?;
        let difference = image.difference(&text)?;
        let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
        let (model, _) = stages.train(name, stages.texts(&fitted)?)?;
        let place = Place {
            seed: world.seed,
            method: name.to_string(),
            noise: fitted.noise(),
            pairs: rows.len(),
            centroid: ResidualGeometry::measure(&image, &text)?.0.gap_energy.sqrt(),
            distribution: distribution_gap(&image, &text)?,
            distance: difference.rows().map(norm).sum::<f64>() / rows.len() as f64,
            accuracy: stages.ask(&model)?.all,
            nll: mean_nll(&model, &asked, BATCH, &world.device)?,
        };
        println!(
            "{}{name}: centroid gap {:.3}, distribution gap {:.3}, {:.3} of the answers right, NLL {:.3}",
            stages.label, place.centroid, place.distribution, place.accuracy, place.nll
        );
        Ok(place)
    })
}

/// Writes what was found, and prints it.
pub fn finish(output: &Path, run: &Run, places: &[Place]) -> Result<()> {
    let columns: [(&str, Value); 5] = [
        ("centroid gap", |place| place.centroid),
        ("distribution gap", |place| place.distribution),
        ("distance of pairs", |place| place.distance),
        ("right", |place| place.accuracy),
        ("NLL", |place| place.nll),
    ];
    let mut rows = vec![vec!["stage 1 is shown".to_string()]];
    rows[0].extend(columns.map(|(name, _)| name.to_string()));
    for name in METHODS {
        let of = |value: Value| {
            let places = places.iter().filter(|place| place.method == name);
            figure(&places.map(value).collect::<Vec<_>>(), 3)
        };
        rows.push(std::iter::once(name.to_string()).chain(columns.map(|(_, value)| of(value))).collect());
    }
    println!(
        "\nAfter stage 1; gaps of {} test pictures and a caption of each:\n\n{}",
        places[0].pairs,
        markdown(&rows)
    );

    println!(
        "Correlations, r of Pearson and rho of Spearman; within seeds, each seed's mean is taken off first:\n"
    );
    let without: Vec<Place> = places.iter().filter(|place| place.noise == 0.0).cloned().collect();
    println!("{}", correlations(places, "all methods", &columns));
    println!("{}", correlations(&without, "without noise", &columns));
    run.write(&output.join("gaps.json"), "places", &places)?;
    println!("Written to {}: gaps.json", output.display());
    Ok(())
}

/// How each gap goes with each outcome over some places, in Markdown.
fn correlations(places: &[Place], which: &str, columns: &[(&str, Value)]) -> String {
    let (gaps, outcomes) = columns.split_at(3);
    let mut rows = vec![vec![format!("{which}, n = {}", places.len())]];
    for within in ["all", "within seeds"] {
        for (outcome, _) in outcomes {
            rows[0].extend(["r", "rho"].map(|kind| format!("{outcome}: {kind}, {within}")));
        }
    }
    for (name, gap) in gaps {
        let mut row = vec![name.to_string()];
        for within in [false, true] {
            for (_, outcome) in outcomes {
                let (gaps, outcomes) = (values(places, *gap, within), values(places, *outcome, within));
                row.push(format!("{:+.3}", pearson(&gaps, &outcomes)));
                row.push(format!("{:+.3}", pearson(&ranks(&gaps), &ranks(&outcomes))));
            }
        }
        rows.push(row);
    }
    markdown(&rows)
}

/// A value of all places, minus the mean of its seed where that is asked for.
fn values(places: &[Place], value: Value, within: bool) -> Vec<f64> {
    let mean = |seed: u64| {
        let of_seed: Vec<f64> = places.iter().filter(|place| place.seed == seed).map(value).collect();
        of_seed.iter().sum::<f64>() / of_seed.len() as f64
    };
    places.iter().map(|place| value(place) - if within { mean(place.seed) } else { 0.0 }).collect()
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut product, mut squares_a, mut squares_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        product += (a - mean_a) * (b - mean_b);
        squares_a += (a - mean_a).powi(2);
        squares_b += (b - mean_b).powi(2);
    }
    product / (squares_a * squares_b).sqrt()
}

/// The ranks of values; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}
