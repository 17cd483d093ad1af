//! What the paper leaves open, one setting at a time: which of them moves which figure?
//!
//! Every choice is fitted on one half of the pairs and measured on the other, for each seed with other halves. Pairs are those of
//! the planted geometry of LLM2CLIP, of a quarter of its dimensions unless `dim` says otherwise (eigenvalues depend on `k / d`
//! alone, so that all ratios stay), or those of two stores.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_revision::alignment::{AnisoAlignConfig, C3Variant, Method};
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, Store};
use burn_revision::geometry::SyntheticGeometry;
use burn_revision::report::{Measurement, ReportConfig};
use burn_revision::{Error, Result};
use serde_json::{Map, Value, json};

use crate::figures::{self, Figures};
use crate::{Options, wrong};

/// Two stores whose rows are pairs.
pub struct Pairs {
    pub text: PathBuf,
    pub image: PathBuf,
    /// The field of an image's record that names its text.
    pub by: String,
    /// A field and a value of image records that take no part: those that something else is tested on.
    pub without: Option<(String, String)>,
    /// Fits on all pairs that take part, and measures on the others.
    pub test: bool,
}

/// Texts and images whose rows of equal numbers are pairs.
type Tables = (EmbeddingTable, EmbeddingTable);

/// Settings and their values other than the defaults. The `lambda` of the frame is none: it changes no eigenvector.
fn factors(dim: usize) -> Vec<Map<String, Value>> {
    let ranks = [40, 20, 10, 5, 2].map(|share| json!(dim / share / 2 * 2));
    let all: [(&[&str], &[Value]); 13] = [
        (&["rank"], &ranks),
        (&["mixing"], &[json!("random"), json!("learned")]),
        (&["neighbours"], &[json!(1), json!(16)]),
        (&["drift"], &[json!(0.0), json!(2.0)]),
        (&["sigma_min"], &[json!(0.2)]),
        (&["sigma_max"], &[json!(0.3), json!(3.0)]),
        (&["phase_bound"], &[json!(0.0), json!(0.3)]),
        (&["radius_bound"], &[json!(0.0), json!(0.02), json!(0.3)]),
        (&["score_weight"], &[json!(10.0)]),
        (&["phase_weight"], &[json!(0.0), json!(10.0)]),
        (&["score_steps", "refiner_steps"], &[json!([100, 50]), json!([800, 400])]),
        (&["score_width", "refiner_width"], &[json!([64, 32])]),
        (&["quantiles"], &[json!(16)]),
    ];
    let mut factors = vec![json!({ "refiner_steps": 0 })];
    for (names, values) in all {
        for value in values {
            let value = |at: usize| if names.len() > 1 { value[at].clone() } else { value.clone() };
            let settings = names.iter().enumerate().map(|(at, name)| (name.to_string(), value(at)));
            factors.push(Value::Object(settings.collect()));
        }
    }
    factors
        .into_iter()
        .filter_map(|factor| match factor {
            Value::Object(settings) => Some(settings),
            _ => None,
        })
        .collect()
}

/// The rank of the settings, where they say one, or that of the defaults.
fn default_rank(settings: &AnisoAlignConfig, dim: usize) -> usize {
    settings.rank.unwrap_or(dim / 40 * 2)
}

/// `rank = 16, mixing = random`.
fn label(settings: &Map<String, Value>) -> String {
    let label = |(name, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), String::from);
        format!("{name} = {value}")
    };
    settings.iter().map(label).collect::<Vec<_>>().join(", ")
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let real = options.stores.as_ref().map(|pairs| read_pairs(pairs, false)).transpose()?;
    let test = options.stores.as_ref().filter(|pairs| pairs.test);
    let test = test.map(|pairs| read_pairs(pairs, true)).transpose()?;
    let dim = real.as_ref().map_or(options.dim, |(text, _)| text.dim());
    let draw = |seed: u64| match &real {
        Some((text, image)) => Ok((text.clone(), image.clone())),
        None => planted(dim).init(seed)?.draw(0..2 * options.held_out),
    };
    // The noise for which C3 has the printed Phi at 1280 dimensions.
    let noise = Method::C3 { sigma: 0.0102 * (1280.0 / dim as f64).sqrt(), variant: C3Variant::ZeroMean };
    let mut choices: Vec<(String, Method)> = vec![
        ("captions".to_string(), Method::Identity),
        ("c3".to_string(), noise),
        ("realign".to_string(), "realign".parse()?),
        ("defaults".to_string(), Method::AnisoAlign(options.settings)),
    ];
    let base = choices.len() - 1;
    let asked = |factor: &Map<String, Value>| {
        options.factors.is_empty() || options.factors.iter().any(|name| factor.contains_key(name))
    };
    for factor in factors(dim).into_iter().filter(asked) {
        let config: AnisoAlignConfig = options.settings.with_settings(&factor)?;
        let rank = default_rank(&options.settings, dim);
        if factor.get("rank") == Some(&json!(rank)) {
            continue;
        }
        choices.push((label(&factor), Method::AnisoAlign(config)));
    }
    let mut of_choices: Vec<Vec<Figures>> = vec![Vec::new(); choices.len()];
    for seed in options.first_seed..options.first_seed + options.seeds {
        let (text, image) = draw(seed)?;
        for ((name, method), of_seeds) in choices.iter().zip(&mut of_choices) {
            let figures = measure(method, (&text, &image), test.as_ref(), seed)?;
            eprintln!("seed {seed}: {name} {figures:.4?}");
            of_seeds.push(figures);
        }
    }
    let pairs = match &real {
        Some((text, _)) => format!("{} pairs of {dim} dimensions", text.len()),
        None => format!("{} planted pairs of {dim} dimensions", 2 * options.held_out),
    };
    println!(
        "{pairs}, fitted on {}, means of {} seeds; a star: other than the defaults, in the same direction for every seed\n",
        match &test {
            Some((text, _)) => format!("all and measured on a half of {} others", text.len()),
            None => "one half and measured on the other".to_string(),
        },
        options.seeds
    );
    figures::print_head("settings");
    for ((name, _), of_seeds) in choices.iter().zip(&of_choices) {
        let beside = matches!(name.as_str(), "captions" | "c3" | "realign" | "defaults");
        figures::print_row(name, of_seeds, (!beside).then_some(of_choices[base].as_slice()));
    }
    Ok(())
}

fn planted(dim: usize) -> SyntheticGeometry {
    let full = SyntheticGeometry::llm2clip();
    let share = dim as f64 / full.dim as f64;
    SyntheticGeometry { dim, flat: full.flat * share, leading: full.leading * dim / full.dim, ..full }
}

/// On one half what was fitted on the other, or on a half of the test pairs what was fitted on all.
fn measure(
    method: &Method,
    (text, image): (&EmbeddingTable, &EmbeddingTable),
    test: Option<&Tables>,
    seed: u64,
) -> Result<Figures> {
    let sigma = match method {
        Method::C3 { sigma, .. } => *sigma,
        _ => 0.0,
    };
    let config = ReportConfig {
        paired: true,
        methods: if test.is_some() { Vec::new() } else { vec![*method] },
        probe: 2000,
        seed,
        sigma,
        draws: 1,
        ..ReportConfig::default()
    };
    let (device, measurement) = (from_environment()?, Measurement::new(&config));
    let report = match test {
        Some((test_text, test_image)) => {
            let fitted = method.with_seed(seed).fit(text, image)?;
            let measurement = measurement.with_aligner("fitted", fitted.as_ref());
            measurement.of_tables(test_text, test_image, &device, &())?
        }
        None => measurement.of_tables(text, image, &device, &())?,
    };
    Ok(figures::of(&report.methods[0]))
}

/// Texts with the first picture of each, as tables of equal ids: the pairs that take part, or the others.
fn read_pairs(pairs: &Pairs, others: bool) -> Result<Tables> {
    let (text, image) = (Store::open(&pairs.text)?.read_table()?, Store::open(&pairs.image)?);
    let mut first: HashMap<String, usize> = HashMap::new();
    for (row, record) in image.records().enumerate() {
        let record = record?;
        let left_out =
            pairs.without.as_ref().is_some_and(|(field, value)| record.get(field) == Some(&json!(value)));
        let Some(Value::String(id)) = record.get(&pairs.by) else {
            return Err(no_field(&pairs.image, &pairs.by));
        };
        if left_out == others {
            first.entry(id.clone()).or_insert(row);
        }
    }
    let image = image.read_table()?;
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (row, id) in text.ids().iter().enumerate() {
        if let Some(&picture) = first.get(id) {
            texts.push(row);
            images.push(picture);
        }
    }
    let (text, image) = (text.select(&texts)?, image.select(&images)?);
    let image = EmbeddingTable::new(text.ids().to_vec(), image.rows().to_vec(), image.dim())?;
    Ok((text, image))
}

fn no_field(path: &Path, field: &str) -> Error {
    wrong(&format!("{}: a record without {field:?}", path.display()))
}
