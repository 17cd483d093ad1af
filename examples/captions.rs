//! Short or long captions? The same titles and keywords of clip art, made into sentences of 5 to 60 words: how far from the
//! pictures they lie, how widely they spread, and how often they find their picture, before and after ReAlign.
//!
//! ```text
//! examples/clipart/fetch_encoder.sh
//! cargo run --example captions
//! ```

#[path = "common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use burn::tensor::{Device, FloatDType, Int, Tensor};
use burn_revision::alignment::{ReAlign, ReAlignConfig, align_table};
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, NonFinite, read_table};
use burn_revision::encoder::{PretrainedEncoder, TextEncoder, recall_at_k};
use burn_revision::geometry::{Moments, Spectrum, modality_gap};
use serde::Deserialize;

use common::records::read as records;

/// Words of a sentence; none is the title with its keywords, as the encoder learned them.
const WORDS: [Option<usize>; 6] = [None, Some(5), Some(10), Some(20), Some(40), Some(60)];
/// Captions that statistics are made of.
const FITTED: usize = 1000;
/// A caption finds its picture where it is among so many.
const NEAREST: usize = 10;
/// Texts that go through the encoder together.
const BATCH: usize = 64;
/// What captions say when they have nothing left to say: it does not depend on the picture.
const TALK: &str = "which is drawn in a simple and friendly style that most people will recognise at once, with clear outlines and \
    a few even colours on a plain background, and it could well stand on a poster, in a message to a friend or in a book for \
    children, where it would say what it has to say without any further words being needed";

/// A line of the records.
#[derive(Deserialize)]
struct Record {
    id: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    text_id: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (data, encoder) = (root.join("examples/clipart"), root.join("target/clipart/encoder"));
    if !encoder.exists() {
        return Err(
            format!("{}: not there; examples/clipart/fetch_encoder.sh brings it", encoder.display()).into()
        );
    }
    let device = from_environment()?;
    let encoder = PretrainedEncoder::open(&encoder)?.text(FloatDType::F32, &device)?;
    let statistics = read_table(data.join("encoder_images.safetensors"))?;
    let pictures = read_table(data.join("test_images.safetensors"))?;
    // The picture of each held-out caption, and captions by which statistics are made: those of the encoder.
    let of_picture: HashMap<String, String> = records(&data.join("pictures.jsonl"))?
        .into_iter()
        .map(|record: Record| (record.id, record.text_id))
        .collect();
    let held_out: Vec<Record> = records(&data.join("test_texts.jsonl"))?;
    let fitted: Vec<Record> = records(&data.join("encoder_texts.jsonl"))?.into_iter().take(FITTED).collect();
    let number: HashMap<&str, usize> =
        held_out.iter().enumerate().map(|(number, record)| (record.id.as_str(), number)).collect();
    let groups: Vec<usize> = pictures.ids().iter().map(|id| number[of_picture[id].as_str()]).collect();
    let image_moments = unit_moments(&pictures)?;

    println!(
        "{} held-out captions and {} pictures; ReAlign from {} other captions of the same length and {} pictures",
        held_out.len(),
        pictures.len(),
        fitted.len(),
        statistics.len()
    );
    println!("words     cut   raw gap  effective rank  found@{NEAREST}      s     gap  found@{NEAREST}");
    for words in WORDS {
        let (texts, cut) = embed(&encoder, &held_out, words)?;
        let (others, _) = embed(&encoder, &fitted, words)?;
        let realign = ReAlignConfig::new().fit(&others, &statistics)?;
        let aligned = align(&realign, &texts, &device)?;
        let moments = unit_moments(&texts)?;
        let covariance = moments.covariance().expect("gathered");
        let spectrum = Spectrum::values_of(&covariance, texts.dim(), texts.len())?;
        println!(
            "{:7} {cut:5} {:9.3} {:15.1} {:9.3} {:6.2} {:7.3} {:9.3}",
            words.map_or("tags".to_string(), |words| words.to_string()),
            modality_gap(&moments, &image_moments)?,
            spectrum.effective_rank(),
            found(&pictures, &texts, &groups, &device),
            realign.scale(),
            modality_gap(&unit_moments(&aligned)?, &image_moments)?,
            found(&pictures, &aligned, &groups, &device),
        );
    }
    Ok(())
}

/// A caption as a sentence of so many words: its title, its keywords, and talk.
fn sentence(caption: &str, words: Option<usize>) -> String {
    let Some(words) = words else { return caption.to_string() };
    let (title, tags) = caption.split_once(": ").unwrap_or((caption, ""));
    let tags = tags.replace(", ", " and ");
    let about = match tags.as_str() {
        "" => format!("A picture of {title}"),
        tags => format!("A picture of {title} with {tags}"),
    };
    about.split_whitespace().chain(TALK.split_whitespace().cycle()).take(words).collect::<Vec<_>>().join(" ")
}

/// The rows of captions, and how many of them were cut to what the encoder reads.
fn embed(
    encoder: &TextEncoder,
    captions: &[Record],
    words: Option<usize>,
) -> Result<(EmbeddingTable, usize), Box<dyn Error>> {
    let (mut rows, mut cut) = (Vec::new(), 0);
    for chunk in captions.chunks(BATCH) {
        let texts: Vec<String> = chunk.iter().map(|record| sentence(&record.text, words)).collect();
        let (values, shortened) = encoder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
        rows.extend(values);
        cut += shortened;
    }
    let ids = captions.iter().map(|record| record.id.clone()).collect();
    Ok((EmbeddingTable::new(ids, rows, encoder.dim())?, cut))
}

fn align(
    realign: &ReAlign,
    texts: &EmbeddingTable,
    device: &Device,
) -> burn_revision::Result<EmbeddingTable> {
    Ok(align_table(realign, texts, NonFinite::Error, 0, device)?.0)
}

/// How often a picture's caption finds it, or another picture of that caption, among the nearest.
fn found(pictures: &EmbeddingTable, texts: &EmbeddingTable, groups: &[usize], device: &Device) -> f64 {
    let captions: Vec<i32> = groups.iter().map(|&group| group as i32).collect();
    let texts = texts.tensor(device).select(0, Tensor::<1, Int>::from_data(captions.as_slice(), device));
    recall_at_k(pictures.tensor(device), texts, groups, &[NEAREST])[0].text_to_image
}

fn unit_moments(table: &EmbeddingTable) -> burn_revision::Result<Moments> {
    let mut moments = Moments::with_covariance(table.dim());
    moments.update_unit_rows(table.rows(), NonFinite::Error, "rows")?;
    Ok(moments)
}
