//! Captions of emoji.
//!
//! Pictures of emoji and their names train a small contrastive encoder, which leaves a gap between the two. A small
//! language model learns names as text. Then a projector learns, *from text alone*, to tell the language model what an
//! embedding shows (stage 1), a few real pictures tune it (stage 2), and pictures that nothing has seen are captioned.
//! The variants differ only in how text embeddings are moved towards the pictures before stage 1.

mod page;
mod pictures;
mod report;
mod settings;
mod sheet;
mod variants;
mod world;

use std::path::Path;
use std::time::Instant;

use crate::Arguments;
use crate::common::write;
use burn_revision::device::from_environment;
use burn_revision::language::Tokenizer;
use burn_revision::revision::ReVision;
use burn_revision::{Error, Result};
use pictures::{Picture, Pictures, Share};
use report::{Report, SeedReport};
use settings::Settings;
use variants::{Methods, Variant};
use world::{EVAL_BATCH, World};

/// Seeds 1 and 7 served to choose the sizes of the example; the figures of the README start here.
const FIRST_SEED: u64 = 100;

/// How many held-out pictures the sheets show.
const SHEET_ROWS: usize = 14;

/// Runs all variants for each seed, and prints the tables.
pub fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let settings = if arguments.quick { Settings::quick() } else { Settings::full() };
    let device = from_environment()?;
    let pictures = Pictures::load();
    println!(
        "{} pictures drawn in {:.1} s ({} emoji without a drawing, {} drawings without a name); device {device:?}",
        pictures.all.len(),
        started.elapsed().as_secs_f64(),
        pictures.undrawn.len(),
        pictures.nameless.len(),
    );
    let scratch = tempfile::tempdir().map_err(|source| Error::io(std::env::temp_dir(), source))?;
    let mut seeds = Vec::new();
    for seed in FIRST_SEED..FIRST_SEED + arguments.seeds {
        let label = if arguments.seeds == 1 {
            String::new()
        } else {
            format!("seed {}/{}  ", seed - FIRST_SEED + 1, arguments.seeds)
        };
        let scratch = scratch.path().join(format!("seed-{seed}"));
        let world = World::new(&pictures, &settings, seed, &device, &scratch, &label)?;
        // The weights of the first seed are kept, for the replay.
        let save = (seed == FIRST_SEED).then(|| arguments.output.join("weights"));
        if let Some(folder) = &save {
            world.save(folder)?;
        }
        let methods = Methods::fit(&world)?;
        if let Some(folder) = &save {
            methods.realign.save(folder.join("realign.safetensors"))?;
        }
        let variants = Variant::ALL
            .into_iter()
            .map(|variant| variants::run(variant, &methods, &world, &scratch, save.as_deref(), &label))
            .collect::<Result<Vec<_>>>()?;
        let report = SeedReport {
            seed,
            test_pictures: world.test_pictures.iter().map(|picture| picture.id.clone()).collect(),
            retrieval: world.retrieval.clone(),
            gap: world.gap.clone(),
            blind: variants::blind(&world)?,
            variants,
            encoder_seconds: world.encoder_seconds,
            language_seconds: world.language_seconds,
        };
        if seed == FIRST_SEED {
            write_sheets(&arguments.output, &report, &world.test_pictures)?;
        }
        seeds.push(report);
    }

    let report = Report {
        burn_revision: env!("CARGO_PKG_VERSION").into(),
        device: format!("{device:?}"),
        settings: serde_json::to_value(&settings).expect("settings are plain data"),
        pictures: pictures.all.len(),
        seeds,
        seconds: started.elapsed().as_secs_f64(),
    };
    let path = arguments.output.join("report.json");
    write(&path, &serde_json::to_vec_pretty(&report).expect("a report is plain data"))?;
    let sheet = arguments.output.join("stage2.svg");
    let sheet = std::fs::read_to_string(&sheet).map_err(|source| Error::io(&sheet, source))?;
    write(&arguments.output.join("report.html"), page::html(&report, &sheet).as_bytes())?;
    println!("\n{}", report.table());
    println!("{}", report.gap_table());
    println!("{:.0} s in all. Written to {}:", report.seconds, arguments.output.display());
    println!("  report.html, report.json, stage1.svg and stage2.svg (captions to look at), weights/");
    if arguments.quick {
        println!("This was --quick: too little training for numbers that mean something.");
    }
    Ok(())
}

/// The captions of some held-out pictures, after each stage.
fn write_sheets(output: &Path, report: &SeedReport, pictures: &[&Picture]) -> Result<()> {
    let stride = (pictures.len() / SHEET_ROWS).max(1);
    for stage in [1, 2] {
        let captions = |result: &variants::VariantResult| match stage {
            1 => result.stage1_captions.clone(),
            _ => result.stage2_captions.clone(),
        };
        let columns: Vec<(&str, Vec<String>)> = report
            .variants
            .iter()
            .map(|result| (result.variant.title(), captions(result)))
            .filter(|(_, captions)| !captions.is_empty())
            .collect();
        let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
        let rows: Vec<sheet::Row> = (0..pictures.len())
            .step_by(stride)
            .take(SHEET_ROWS)
            .map(|row| sheet::Row {
                picture: pictures[row],
                captions: columns.iter().map(|(_, captions)| captions[row].clone()).collect(),
            })
            .collect();
        write(&output.join(format!("stage{stage}.svg")), sheet::svg(&titles, &rows).as_bytes())?;
    }
    Ok(())
}

/// Captions the held-out pictures of the first seed with the saved weights, in a process that trained nothing.
pub fn replay(arguments: &Arguments) -> Result<()> {
    let path = arguments.output.join("report.json");
    let text = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
    let report: Report =
        serde_json::from_slice(&text).map_err(|source| Error::format(&path, source.to_string()))?;
    let seed = report.seeds.first().ok_or_else(|| Error::format(&path, "no seed in the report"))?;
    let weights = arguments.output.join("weights");
    let device = from_environment()?;
    let settings: Settings = serde_json::from_value(report.settings.clone())
        .map_err(|source| Error::format(&path, source.to_string()))?;

    let tokenizer = Tokenizer::load_trained(weights.join("tokenizer.json"))?;
    let encoder = world::load_encoder(&weights, &settings, &tokenizer, &device)?;
    let pictures = Pictures::load();
    let held_out: Vec<&Picture> = pictures
        .share(Share::Test, seed.seed)
        .into_iter()
        .filter(|picture| seed.test_pictures.contains(&picture.id))
        .collect();
    let embeddings = world::embed(&encoder, &held_out, &tokenizer)?.images;
    let mut differences = 0;
    for result in &seed.variants {
        let model = ReVision::load(&weights.join(result.variant.folder()), &device)?;
        let rows: Vec<usize> = (0..embeddings.len()).collect();
        let mut captions = Vec::new();
        for rows in rows.chunks(EVAL_BATCH) {
            let rows = embeddings.select(rows)?.tensor(&device);
            let texts = model.caption(rows, tokenizer.bos(), tokenizer.eos(), &variants::generation())?;
            captions.extend(texts.iter().map(|text| tokenizer.decode(text)));
        }
        if captions.len() != result.stage2_captions.len() {
            let (found, saved) = (captions.len(), result.stage2_captions.len());
            return Err(Error::mismatch("held-out pictures that are captioned", saved, found));
        }
        let different = captions.iter().zip(&result.stage2_captions).filter(|(new, old)| new != old).count();
        println!("{:26} {} captions, {different} different", result.variant.title(), captions.len());
        differences += different;
    }
    match differences {
        0 => Ok(()),
        n => Err(Error::format(&weights, format!("{n} captions differ from those in {}", path.display()))),
    }
}
