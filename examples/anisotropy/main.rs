//! The comparison of arXiv 2605.07825, Figs. 6 and 7, on pairs with the geometry that the paper prints for LLM2CLIP: texts as they
//! are, C3, ReAlign and AnisoAlign with its parts, measured on pairs that no method has seen. And what each setting of AnisoAlign
//! does that the paper leaves open, on such pairs and on those of two stores.
//!
//! ```text
//! cargo run --example anisotropy
//! cargo run --example anisotropy -- --fit 20000 --held-out 3000 --seeds 1 rank=256 mixing=random
//! cargo run --example anisotropy -- --seeds 1 --first-seed 2
//! cargo run --example anisotropy -- --sweep
//! cargo run --example anisotropy -- --sweep --text texts.safetensors --image images.safetensors --pair-by text_id
//! cargo run --example anisotropy -- --sweep --text t.npy --image i.npy --pair-by text_id --without split=test --test
//! ```
//!
//! The last fits on all pairs but those of `--without`, and measures on these. Settings of AnisoAlign are given as `name=value`.

mod comparison;
mod figures;
mod sweep;

use std::process::ExitCode;

use burn_revision::alignment::AnisoAlignConfig;
use burn_revision::{Error, Result};

/// What is asked for.
pub struct Options {
    /// Whether to go through the settings instead of the methods.
    sweep: bool,
    /// Pairs to fit on.
    fit: usize,
    /// Pairs to measure on.
    held_out: usize,
    /// The first seed, and how many there are.
    first_seed: u64,
    seeds: u64,
    methods: Vec<String>,
    settings: AnisoAlignConfig,
    /// The dimensions of the pairs of a sweep.
    dim: usize,
    /// The settings of a sweep, by their names; all of them where none is named.
    factors: Vec<String>,
    /// Pairs of a sweep that are not drawn.
    stores: Option<sweep::Pairs>,
}

fn main() -> ExitCode {
    let run = || {
        let options = options()?;
        if options.sweep { sweep::run(&options) } else { comparison::run(&options) }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong(detail: &str) -> Error {
    Error::config("argument", detail.to_string())
}

fn options() -> Result<Options> {
    let (mut fit, mut held_out, mut seeds, mut dim, mut sweep) = (100_000, None, 3, 320, false);
    let mut first_seed = 0;
    let mut factors = Vec::new();
    let mut methods = comparison::METHODS.map(String::from).to_vec();
    let (mut text, mut image, mut pair_by, mut without, mut test) = (None, None, None, None, false);
    let mut settings = serde_json::Map::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| wrong(&format!("{argument} without a value")));
        let number =
            |value: String| value.parse::<usize>().map_err(|_| wrong(&format!("{value:?} is no number")));
        match argument.as_str() {
            "--sweep" => sweep = true,
            "--fit" => fit = number(value()?)?,
            "--held-out" => held_out = Some(number(value()?)?),
            "--seeds" => seeds = number(value()?)?,
            "--first-seed" => first_seed = number(value()?)?,
            "--dim" => dim = number(value()?)?,
            "--methods" => methods = value()?.split(',').map(String::from).collect(),
            "--factors" => factors = value()?.split(',').map(String::from).collect(),
            "--text" => text = Some(value()?.into()),
            "--image" => image = Some(value()?.into()),
            "--pair-by" => pair_by = Some(value()?),
            "--test" => test = true,
            "--without" => without = Some(named(&value()?)?),
            setting => {
                let (name, value) = named(setting)?;
                let value = serde_json::from_str(&value).unwrap_or_else(|_| value.into());
                settings.insert(name, value);
            }
        }
    }
    let stores = match (text, image) {
        (Some(text), Some(image)) => {
            let by = pair_by.unwrap_or_else(|| "id".to_string());
            Some(sweep::Pairs { text, image, by, without, test })
        }
        (None, None) => None,
        _ => return Err(wrong("--text and --image belong together")),
    };
    Ok(Options {
        sweep,
        fit,
        held_out: held_out.unwrap_or(if sweep { 4000 } else { 10_000 }),
        first_seed: first_seed as u64,
        seeds: seeds as u64,
        methods,
        settings: AnisoAlignConfig::new().with_settings(&settings)?,
        dim,
        factors,
        stores,
    })
}

/// `name=value`.
fn named(argument: &str) -> Result<(String, String)> {
    let (name, value) =
        argument.split_once('=').ok_or_else(|| wrong(&format!("cannot read {argument:?}")))?;
    Ok((name.to_string(), value.to_string()))
}
