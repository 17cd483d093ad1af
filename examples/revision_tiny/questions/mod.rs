//! Questions about pictures of shapes, which have right and wrong answers.

mod answers;
mod charts;
mod drawn;
mod encoder;
mod language;
mod options;
mod package;
mod page;
mod pictures;
mod report;
mod settings;
mod sheet;
mod steps;
mod variants;
mod words;
mod world;

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use burn::module::Module;
use burn_revision::device::from_environment;
use burn_revision::revision::ReVision;
use burn_revision::{Error, Result};

use crate::{Arguments, write};
use language::Language;
pub use options::Options;
use pictures::{Picture, PictureSet, Shares};
use report::{Point, Report, SeedReport};
use variants::{Shown, Stages, Variant};
use words::Concept;
use world::World;

/// Seeds below served to choose the sizes; figures to be reported start here.
const FIRST_SEED: u64 = 100;
/// The first seed of `--validate`.
const FIRST_VALIDATION_SEED: u64 = 1;
/// How many test pictures the sheet shows.
const SHEET_ROWS: usize = 9;

/// Runs all variants for each seed, and prints the tables.
pub fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let options = &arguments.questions;
    let settings = options.settings(arguments.quick)?;
    let device = from_environment()?;
    let set = PictureSet::load(options.drawn);
    println!("{}: {} and {} pictures; device {device:?}", set.source, set.train.len(), set.test.len());
    let scratch = tempfile::tempdir().map_err(|source| Error::io(std::env::temp_dir(), source))?;
    let first = if options.validate { FIRST_VALIDATION_SEED } else { FIRST_SEED };
    let mut seeds = Vec::new();
    let mut steps = Vec::new();
    let mut questions = 0;
    for seed in first..first + arguments.seeds {
        let label = match arguments.seeds {
            1 => String::new(),
            count => format!("seed {}/{count}  ", seed - first + 1),
        };
        let scratch = scratch.path().join(format!("seed-{seed}"));
        let language = Rc::new(Language::new(&settings, seed, &device, &scratch, &label)?);
        let world = |scale: f64, scratch: &Path| {
            let mut settings = settings.clone();
            settings.logit_scale = scale;
            let held_out = options.held_out();
            World::new(
                set,
                language.clone(),
                &settings,
                &held_out,
                options.validate,
                seed,
                &device,
                scratch,
                &label,
            )
        };
        for scale in &options.steps {
            let scratch = scratch.join(format!("scale {scale}"));
            let world = world(*scale, &scratch)?;
            steps.push(steps::run(&Stages { world: &world, scratch: &scratch, label: &label })?);
        }
        if options.steps.is_empty() {
            let world = world(settings.logit_scale, &scratch)?;
            questions = world.test.iter().map(|picture| picture.questions.len()).sum();
            // The weights of the first seed are kept, for the replay.
            let save = (seed == first).then(|| arguments.output.join("weights"));
            let stages = Stages { world: &world, scratch: &scratch, label: &label };
            let report = one_seed(&stages, options, save.as_deref())?;
            if seed == first {
                write(&arguments.output.join("answers.svg"), sheet(&world.test, &report).as_bytes())?;
            }
            seeds.push(report);
        }
    }
    if !options.steps.is_empty() {
        return steps::finish(&arguments.output, &settings, &set.source, options.validate, steps);
    }
    let report = Report {
        burn_revision: env!("CARGO_PKG_VERSION").into(),
        device: format!("{device:?}"),
        pictures: set.source.clone(),
        validation: options.validate,
        held_out: options.held_out().iter().map(Concept::to_string).collect(),
        settings,
        questions,
        seeds,
        seconds: started.elapsed().as_secs_f64(),
    };
    let json = serde_json::to_vec(&report).expect("a report is plain data");
    write(&arguments.output.join("report.json"), &json)?;
    let sheet = std::fs::read_to_string(arguments.output.join("answers.svg")).unwrap_or_default();
    write(&arguments.output.join("report.html"), page::html(&report, &sheet).as_bytes())?;
    write(&arguments.output.join("variants.svg"), page::rows(&report).as_bytes())?;
    write(&arguments.output.join("curve.svg"), page::curve(&report).as_bytes())?;
    println!("\n{}\n{}\n{}", report.table(), report.curve(), report.findings());
    println!("{:.0} s in all. Written to {}:", report.seconds, arguments.output.display());
    println!(
        "  report.html, report.json, answers.svg (pictures, questions and answers to look at), weights/"
    );
    if arguments.quick {
        println!("This was --quick: too little training for numbers that mean something.");
    }
    Ok(())
}

/// All variants of a seed, and the curve. Weights are saved where a folder is given.
fn one_seed(stages: &Stages, options: &Options, save: Option<&Path>) -> Result<SeedReport> {
    let world = stages.world;
    if let Some(folder) = save {
        world.save(folder)?;
    }
    let (gap, scale) = world.gap()?;
    let blind = answers::blind(world)?;
    let mut variants = Vec::new();
    let mut curve = Vec::new();
    for variant in Variant::all(world.settings.noise) {
        if !options.rows.is_empty() && !options.rows.contains(&variant.title) {
            continue;
        }
        let (result, stage1) = stages.run(&variant, save)?;
        let after =
            |accuracy: Option<&answers::Accuracy>| accuracy.map_or("-".into(), |a| format!("{:.3}", a.all));
        println!(
            "{}{}: {} of the answers right after stage 1, {} after stage 2 ({:.0} s)",
            stages.label,
            variant.title,
            after(result.stage1.as_ref()),
            after(Some(&result.stage2)),
            result.seconds
        );
        if !options.no_curve && (variant.in_curve || variant.shown == Shown::Nothing) {
            let start = stage1.unwrap_or_else(|| world.language.model.clone());
            let mut point =
                |pictures, accuracy| curve.push(Point { title: variant.title.clone(), pictures, accuracy });
            point(0, result.stage1.as_ref().unwrap_or(&blind).all);
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
        variants.push(result);
    }
    Ok(SeedReport {
        seed: world.seed,
        concept_accuracy: world.concept_accuracy()?,
        gap,
        scale,
        prior: answers::prior(world),
        blind,
        told: answers::told(world)?,
        variants,
        curve,
        encoder_seconds: world.encoder_seconds,
        language_seconds: world.language.seconds,
    })
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
    let path = arguments.output.join("report.json");
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
    let tokenizer = burn_revision::language::Tokenizer::load_trained(weights.join("tokenizer.json"))?;
    let file = weights.join("encoder.bpk");
    let encoder = encoder::config(&report.settings, tokenizer.vocab_size())
        .init(&device)
        .try_load_file(&file)
        .map_err(|source| Error::format(&file, source.to_string()))?;
    let held_out: Vec<Concept> =
        Concept::all().filter(|concept| report.held_out.contains(&concept.to_string())).collect();
    let mut pictures: Vec<&Picture> = match report.validation {
        true => Shares::new(set, &report.settings, &held_out, seed.seed).validation,
        false => set.test.iter().collect(),
    };
    pictures.truncate(report.settings.test_pictures);
    let rows = encoder::embed_pictures(&encoder, &pictures, &device)?;
    let data = variants::questions(&pictures, &rows, &tokenizer)?;
    let mut differences = 0;
    for result in &seed.variants {
        let model = ReVision::load(&weights.join(result.variant.folder()), &device)?;
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
