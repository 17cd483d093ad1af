//! Questions about pictures of shapes, which have right and wrong answers.

mod answers;
mod card;
mod drawn;
mod encoder;
mod gaps;
mod language;
mod options;
mod package;
mod page;
mod parallel;
mod pictures;
mod report;
mod scaling;
mod settings;
mod sheet;
mod steps;
mod variants;
mod words;
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, FloatDType};
use burn_revision::device::from_environment;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::encoder::PretrainedEncoder;
use burn_revision::revision::SavedReVision;
use burn_revision::{Error, Result};

use crate::Arguments;
use crate::common::write;
use answers::Accuracy;
use encoder::TrainedEncoder;
use language::{Language, Reading};
pub use options::Options;
use pictures::{Picture, PictureSet, Shares};
use report::{Point, Report, Run, SeedReport};
use settings::Settings;
use variants::{Shown, Stages, Variant, VariantResult};
use words::Concept;
use world::{ENCODER, World};

/// Seeds below served to choose the sizes; figures to be reported start here.
const FIRST_SEED: u64 = 100;
/// The first seed of `--validate`.
const FIRST_VALIDATION_SEED: u64 = 1;
/// The file of the sheet.
const SHEET: &str = "answers.svg";
/// How many test pictures the sheet shows.
const SHEET_ROWS: usize = 9;

/// Runs all variants for each seed, and prints the tables.
pub fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let options = &arguments.questions;
    let settings = options.settings(arguments.quick)?;
    // Before anything is trained for rows that there are not.
    Variant::asked(&options.rows, settings.noise)?;
    let device = from_environment()?;
    let set = PictureSet::load(options.drawn);
    println!("{}: {} and {} pictures; device {device:?}", set.source, set.train.len(), set.test.len());
    let scratch = tempfile::tempdir().map_err(|source| Error::io(std::env::temp_dir(), source))?;
    let first = if options.validate { FIRST_VALIDATION_SEED } else { FIRST_SEED };
    let held_out = options.held_out();
    let (mut steps, mut scaling, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut report = Report {
        burn_revision: env!("CARGO_PKG_VERSION").into(),
        device: format!("{device:?}"),
        pictures: set.source.clone(),
        validation: options.validate,
        held_out: held_out.iter().map(Concept::to_string).collect(),
        settings: settings.clone(),
        questions: 0,
        seeds: Vec::new(),
        seconds: 0.0,
    };
    for seed in first..first + arguments.seeds {
        let label = match arguments.seeds {
            1 => String::new(),
            count => format!("seed {}/{count}  ", seed - first + 1),
        };
        let scratch = scratch.path().join(format!("seed-{seed}"));
        let shares = || Shares::new(set, &settings, &held_out, seed);
        let scales = match options.steps.as_slice() {
            [] => &[settings.logit_scale],
            scales => scales,
        };
        let (language, encoders) = train(&shares(), scales, &settings, seed, &device, &scratch, &label)?;
        let language = Arc::new(language);
        for encoder in encoders {
            let world =
                World::new(set, shares(), language.clone(), encoder, seed, &held_out, options.validate)?;
            let scratch = scratch.join(format!("scale {}", world.settings.logit_scale));
            let stages = Stages { world: &world, scratch: &scratch, label: &label };
            if !options.steps.is_empty() {
                steps.push(steps::run(&stages)?);
                continue;
            }
            if options.scaling {
                scaling.push(scaling::run(&stages, set.is_drawn)?);
                continue;
            }
            if options.gaps {
                places.extend(gaps::run(&stages)?);
                continue;
            }
            // The weights of the first seed are kept, for the replay.
            let save = (seed == first).then(|| arguments.output.join("weights"));
            let found = one_seed(&stages, options, save.as_deref())?;
            if seed == first {
                write(&arguments.output.join(SHEET), sheet(&world.test, &found).as_bytes())?;
                // Some to ask the saved model about.
                for picture in world.test.iter().step_by((world.test.len() / SHEET_ROWS).max(1)) {
                    write(&arguments.output.join(format!("pictures/{}.png", picture.id)), &picture.png)?;
                }
            }
            report.questions = world.test.iter().map(|picture| picture.questions.len()).sum();
            report.seeds.push(found);
            report.seconds = started.elapsed().as_secs_f64();
            // What was found is kept, whatever becomes of the next seed.
            report.write(&arguments.output)?;
        }
    }
    let run = Run { settings: &settings, pictures: &set.source, validation: options.validate };
    if !options.steps.is_empty() {
        return steps::finish(&arguments.output, &run, &steps);
    }
    if options.scaling {
        return scaling::finish(&arguments.output, &run, &scaling);
    }
    if options.gaps {
        return gaps::finish(&arguments.output, &run, &places);
    }
    report.seconds = started.elapsed().as_secs_f64();
    finish(arguments, &report)
}

/// Writes the page and the drawings, and prints the tables.
fn finish(arguments: &Arguments, report: &Report) -> Result<()> {
    let output = &arguments.output;
    report.write(output)?;
    let sheet = std::fs::read_to_string(output.join(SHEET)).unwrap_or_default();
    write(&output.join("report.html"), page::html(report, &sheet).as_bytes())?;
    write(&output.join("variants.svg"), page::rows(report).as_bytes())?;
    if let Some(card) = card::card(report) {
        write(&output.join("weights/README.md"), card.as_bytes())?;
    }
    if arguments.questions.curve {
        write(&output.join("curve.svg"), page::curve(report).as_bytes())?;
    }
    println!("\n{}\n{}\n{}", report.table(), report.curve(), report.findings());
    println!("{:.0} s in all. Written to {}:", report.seconds, output.display());
    println!("  report.html, report.json, {SHEET} (pictures, questions and answers to look at), weights/");
    println!(
        "Ask the model that learned from aligned text (`cargo install --locked --path crates/cli --profile dev`):\n  \
         burn-revision ask --model {0}/weights/realign-noise {0}/pictures 'what color is the shape?'\n  \
         burn-revision serve --model {0}/weights/realign-noise",
        output.display()
    );
    if arguments.quick {
        println!("This was --quick: too little training for numbers that mean something.");
    }
    Ok(())
}

/// The language model of a seed and, meanwhile, an encoder for each scale of the contrastive loss.
fn train(
    shares: &Shares,
    scales: &[f64],
    settings: &Settings,
    seed: u64,
    device: &Device,
    scratch: &Path,
    label: &str,
) -> Result<(Language, Vec<TrainedEncoder>)> {
    let reading = Reading::new(settings, seed, device)?;
    let tokenizer = reading.tokenizer.clone();
    let encoder = |scale: &f64| {
        let settings = Settings { logit_scale: *scale, ..settings.clone() };
        let folder = scratch.join(format!("encoder {scale}"));
        encoder::train(&shares.encoder, &tokenizer, &settings, seed, device, &folder, label)
    };
    parallel::join(
        device,
        || reading.train(settings, seed, scratch, label),
        || scales.iter().map(encoder).collect::<Result<Vec<_>>>(),
    )
}

/// All variants of a seed, and the curve. Weights are saved where a folder is given.
fn one_seed(stages: &Stages, options: &Options, save: Option<&Path>) -> Result<SeedReport> {
    let world = stages.world;
    if let Some(folder) = save {
        world.save(folder)?;
    }
    let (gap, scale) = world.gap()?;
    let blind = answers::blind(world)?;
    let asked = Variant::asked(&options.rows, world.settings.noise)?;
    if !options.rows.is_empty() {
        stages.check(&asked)?;
    }
    let done =
        parallel::map(&world.device, &asked, |variant| one_variant(stages, variant, options, &blind, save))?;
    let (variants, curves): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    Ok(SeedReport {
        seed: world.seed,
        concept_accuracy: world.concept_accuracy()?,
        gap,
        scale,
        prior: answers::prior(world),
        blind,
        told: answers::told(world)?,
        variants,
        curve: curves.concat(),
        encoder_seconds: world.encoder_seconds,
        language_seconds: world.language.seconds,
    })
}

/// Both stages of a variant, and its part of the curve.
fn one_variant(
    stages: &Stages,
    variant: &Variant,
    options: &Options,
    blind: &Accuracy,
    save: Option<&Path>,
) -> Result<(VariantResult, Vec<Point>)> {
    let world = stages.world;
    let (result, stage1) = stages.run(variant, save)?;
    let after = |accuracy: Option<&Accuracy>| accuracy.map_or("-".into(), |a| format!("{:.3}", a.all));
    println!(
        "{}{}: {} of the answers right after stage 1, {} after stage 2 ({:.0} s)",
        stages.label,
        variant.title,
        after(result.stage1.as_ref()),
        after(Some(&result.stage2)),
        result.seconds
    );
    let mut curve = Vec::new();
    if options.curve && (variant.in_curve || variant.shown == Shown::Nothing) {
        let start = stage1.unwrap_or_else(|| world.language.model.clone());
        let mut point =
            |pictures, accuracy| curve.push(Point { title: variant.title.clone(), pictures, accuracy });
        point(0, result.stage1.as_ref().unwrap_or(blind).all);
        for pictures in &world.settings.curve {
            let accuracy = if *pictures == world.settings.stage2_pictures {
                result.stage2.all
            } else {
                let title = format!("{}, {pictures} pictures", variant.title);
                stages.ask(&stages.stage2(&title, start.clone(), *pictures)?.0)?.all
            };
            point(*pictures, accuracy);
        }
    }
    Ok((result, curve))
}

/// Test pictures with questions, and the answers after stage 1, on text or on real pairs.
fn sheet(pictures: &[&Picture], report: &SeedReport) -> String {
    let column = |title: &'static str, heading: &'static str| {
        let result = report.variants.iter().find(|result| result.variant.title == title)?;
        Some(sheet::Column { title: heading, answers: &result.stage1.as_ref()?.answers })
    };
    let columns = [
        column("no alignment", "text as it is"),
        column("ReAlign + noise", "aligned text"),
        column("real pairs", "real pairs"),
    ];
    sheet::svg(pictures, SHEET_ROWS, &columns.into_iter().flatten().collect::<Vec<_>>())
}

/// Asks again with the saved weights of the first seed, in a process that trained nothing.
pub fn replay(arguments: &Arguments) -> Result<()> {
    let path = arguments.output.join(Report::FILE);
    let text = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
    let report: Report =
        serde_json::from_slice(&text).map_err(|source| Error::format(&path, source.to_string()))?;
    let seed = report.seeds.first().ok_or_else(|| Error::format(&path, "no seed in the report"))?;
    let set = PictureSet::load(arguments.questions.drawn);
    if set.source != report.pictures {
        return Err(Error::format(
            &path,
            format!("asked about {}, and these are {}", report.pictures, set.source),
        ));
    }
    let weights = arguments.output.join("weights");
    let device = from_environment()?;
    let encoder = PretrainedEncoder::open(weights.join(ENCODER))?.image(FloatDType::F32, &device)?;
    let held_out: Vec<Concept> =
        Concept::all().filter(|concept| report.held_out.contains(&concept.to_string())).collect();
    let mut pictures: Vec<&Picture> = match report.validation {
        true => Shares::new(set, &report.settings, &held_out, seed.seed).validation,
        false => set.test.iter().collect(),
    };
    pictures.truncate(report.settings.test_pictures);
    let rows = pictures.chunks(encoder::BATCH).flat_map(|pictures| {
        encoder.embed(pictures.iter().flat_map(|picture| picture.pixels.iter().copied()).collect())
    });
    let ids = pictures.iter().map(|picture| picture.id.clone()).collect();
    let rows = EmbeddingTable::new(ids, rows.collect(), encoder.dim())?;
    let mut differences = 0;
    for result in &seed.variants {
        let SavedReVision { model, tokenizer, .. } =
            SavedReVision::load(&weights.join(result.variant.folder()), &device)?;
        let data = variants::questions(&pictures, &rows, &tokenizer)?;
        let found = answers::answer(&model, &data, &language::answer_tokens(&tokenizer)?, &device)?;
        let saved = &result.stage2.answers;
        if found.len() != saved.len() {
            return Err(Error::mismatch("questions that were answered", saved.len(), found.len()));
        }
        let different = found.iter().zip(saved).filter(|(new, old)| new != old).count();
        println!("{:34} {} answers, {different} different", result.variant.title, found.len());
        differences += different;
    }
    match differences {
        0 => Ok(()),
        n => Err(Error::format(&weights, format!("{n} answers differ from those in {}", path.display()))),
    }
}
