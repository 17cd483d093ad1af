//! The contrastive encoder of a seed: half of the training pictures with captions make it, and the gap with it.

use std::path::Path;
use std::time::Instant;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_revision::Result;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::encoder::{
    DualEncoder, DualEncoderConfig, DualEncoderTraining, ImageTowerConfig, LogitScaleConfig, Pair,
    PairDataset, TextTowerConfig,
};
use burn_revision::language::Tokenizer;
use burn_revision::training::ProgressLine;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::pictures::{Picture, SIZE};
use super::settings::Settings;
use super::words::Concept;

/// The most tokens of a caption.
const MAX_LEN: usize = 24;
/// Pictures and captions that are embedded together.
pub const BATCH: usize = 128;

/// The configuration of the encoder, which the replay needs again.
pub fn config(settings: &Settings, vocab_size: usize) -> DualEncoderConfig {
    let dim = settings.embedding_dim;
    let image =
        ImageTowerConfig::new(settings.channels.clone(), settings.strides.clone(), dim).with_image_size(SIZE);
    let text = TextTowerConfig::new(vocab_size, MAX_LEN, 64, 1, 4, dim);
    DualEncoderConfig::new(image, text).with_logit_scale(LogitScaleConfig::Fixed(settings.logit_scale))
}

/// An encoder, and what it was trained with.
pub struct TrainedEncoder {
    pub encoder: DualEncoder,
    pub settings: Settings,
    pub device: Device,
    pub seconds: f64,
}

/// Trains an encoder on pictures and their mirror images, with one of their captions each. Pictures of one concept are no
/// negatives of each other.
pub fn train(
    pictures: &[&Picture],
    tokenizer: &Tokenizer,
    settings: &Settings,
    seed: u64,
    device: &Device,
    folder: &Path,
    label: &str,
) -> Result<TrainedEncoder> {
    let started = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut pairs, mut groups) = (Vec::new(), Vec::new());
    for picture in pictures {
        let concept = picture.concept.expect("the encoder's pictures have captions");
        for pixels in picture.mirrored() {
            pairs.push(Pair { pixels, tokens: tokenizer.encode(&concept.caption(&mut rng)) });
            groups.push(concept.number());
        }
    }
    let pairs = PairDataset::new(pairs, [3, SIZE, SIZE])?.with_groups(groups)?;

    device.seed(seed);
    let encoder = config(settings, tokenizer.vocab_size()).init(device);
    let steps = settings.encoder_epochs * pairs.len().div_ceil(settings.encoder_batch);
    let progress = ProgressLine::new(format!("{label}encoder"), 0, steps);
    let none = PairDataset::new(Vec::new(), [3, SIZE, SIZE])?;
    let encoder = DualEncoderTraining::new(settings.encoder_epochs, settings.encoder_batch)
        .with_learning_rate(settings.encoder_rate)
        .with_seed(seed)
        .fit(encoder, &pairs, &none, folder, Some(Box::new(progress)), device)?;
    let (settings, device, seconds) = (settings.clone(), device.clone(), started.elapsed().as_secs_f64());
    Ok(TrainedEncoder { encoder, settings, device, seconds })
}

/// The embeddings of pictures, by their ids.
pub fn embed_pictures(
    encoder: &DualEncoder,
    pictures: &[&Picture],
    device: &Device,
) -> Result<EmbeddingTable> {
    let rows = pictures.chunks(BATCH).map(|pictures| {
        let pixels: Vec<f32> = pictures.iter().flat_map(|picture| picture.pixels.iter().copied()).collect();
        let pixels = TensorData::new(pixels, [pictures.len(), 3, SIZE, SIZE]);
        encoder.embed_images(Tensor::from_data(pixels, device))
    });
    let ids = pictures.iter().map(|picture| picture.id.clone()).collect();
    EmbeddingTable::from_tensor(ids, Tensor::cat(rows.collect(), 0))
}

/// The embeddings of texts, by the ids given.
pub fn embed_texts(
    encoder: &DualEncoder,
    texts: &[(String, String)],
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<EmbeddingTable> {
    let rows = texts.chunks(BATCH).map(|texts| {
        let tokens: Vec<Vec<u32>> = texts.iter().map(|(_, text)| tokenizer.encode(text)).collect();
        let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let at = |row: &Vec<u32>, place: usize| row.get(place).map_or(0, |token| i64::from(*token));
        let shape = [texts.len(), longest];
        let ids: Vec<i64> =
            tokens.iter().flat_map(|row| (0..longest).map(move |place| at(row, place))).collect();
        let padding: Vec<bool> =
            tokens.iter().flat_map(|row| (0..longest).map(|place| place >= row.len())).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), device);
        let padding = Tensor::<2, Bool>::from_data(TensorData::new(padding, shape), device);
        encoder.embed_texts(ids, padding)
    });
    let ids = texts.iter().map(|(id, _)| id.clone()).collect();
    EmbeddingTable::from_tensor(ids, Tensor::cat(rows.collect(), 0))
}

/// How often the caption nearest to a picture is one of its concept, "a blue circle" standing for each concept.
pub fn concept_accuracy(
    encoder: &DualEncoder,
    pictures: &[&Picture],
    embeddings: &EmbeddingTable,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<f64> {
    let captions: Vec<(String, String)> = Concept::all()
        .map(|concept| (concept.to_string(), concept.captions().next().expect("a caption")))
        .collect();
    let captions = embed_texts(encoder, &captions, tokenizer, device)?;
    let nearest = embeddings.tensor(device).matmul(captions.tensor(device).transpose()).argmax(1);
    let nearest: Vec<usize> = nearest.into_data().iter::<i64>().map(|concept| concept as usize).collect();
    let known =
        pictures.iter().zip(nearest).filter_map(|(picture, nearest)| Some((picture.concept?, nearest)));
    let (mut right, mut all) = (0, 0);
    for (concept, nearest) in known {
        right += usize::from(concept.number() == nearest);
        all += 1;
    }
    Ok(f64::from(right as u32) / f64::from(all))
}
