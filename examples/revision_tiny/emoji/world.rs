//! What all variants of one seed have in common: the encoder, its embeddings, and the language model.

use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::encoder::{
    DualEncoder, DualEncoderConfig, DualEncoderTraining, GapRecord, GapTrackerConfig, ImageTowerConfig,
    LogitScaleConfig, Pair, PairDataset, TextTowerConfig, recall_at_k,
};
use burn_revision::language::{LlamaConfig, LlamaDecoder, Tokenizer};
use burn_revision::revision::{
    Conversation, ConversationDataset, ReVision, ReVisionConfig, ReVisionLearner, Role, Template, Turn,
};
use burn_revision::training::ProgressLine;
use burn_revision::{Error, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::pictures::{Picture, Pictures, SIZE, Share};
use super::settings::Settings;

/// The most tokens of a caption that are kept.
pub const MAX_LEN: usize = 48;
/// Pictures that go through a model together where nothing is trained.
pub const EVAL_BATCH: usize = 128;

/// The embeddings of one share, rows named by picture.
pub struct Embeddings {
    pub images: EmbeddingTable,
    pub texts: EmbeddingTable,
}

/// Retrieval among the held-out pictures and names: how good the encoder is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retrieval {
    pub k: usize,
    pub image_to_text: f64,
    pub text_to_image: f64,
}

/// Everything that comes before the variants.
pub struct World<'a> {
    pub seed: u64,
    pub device: Device,
    pub settings: &'a Settings,
    pub tokenizer: Tokenizer,
    /// An untrained projector in front of the language model: where every variant starts.
    pub model: ReVision<LlamaDecoder>,
    pub encoder: DualEncoder,
    pub retrieval: Vec<Retrieval>,
    pub stage1: Embeddings,
    pub extra: Embeddings,
    pub stage2: Embeddings,
    pub test: Embeddings,
    pub stage1_pictures: Vec<&'a Picture>,
    pub stage2_pictures: Vec<&'a Picture>,
    pub test_pictures: Vec<&'a Picture>,
    pub encoder_seconds: f64,
    pub language_seconds: f64,
    /// The gap of the held-out pairs while the encoder was trained.
    pub gap: Vec<GapRecord>,
}

/// The configuration of the encoder, which the replay needs again.
pub fn encoder_config(settings: &Settings, vocab_size: usize) -> DualEncoderConfig {
    let dim = settings.embedding_dim;
    let image = ImageTowerConfig::new(vec![64, 128, 256], vec![4, 2, 2], dim).with_image_size(SIZE);
    let text = TextTowerConfig::new(vocab_size, MAX_LEN, 128, 1, 4, dim);
    DualEncoderConfig::new(image, text).with_logit_scale(LogitScaleConfig::Fixed(settings.logit_scale))
}

pub fn revision_config(settings: &Settings) -> ReVisionConfig {
    ReVisionConfig::new(settings.embedding_dim).with_num_visual_tokens(settings.visual_tokens)
}

/// Pictures and names as the encoder takes them.
pub fn pairs(pictures: &[&Picture], tokenizer: &Tokenizer) -> Result<PairDataset> {
    let pair = |picture: &&Picture| {
        let mut tokens = tokenizer.encode(&picture.name);
        tokens.truncate(MAX_LEN);
        Pair { pixels: picture.pixels.clone(), tokens }
    };
    PairDataset::new(pictures.iter().map(pair).collect(), [3, SIZE, SIZE])
}

/// The embeddings of pictures and of their names.
pub fn embed(encoder: &DualEncoder, pictures: &[&Picture], tokenizer: &Tokenizer) -> Result<Embeddings> {
    let (images, texts) = encoder.embed_pairs(&pairs(pictures, tokenizer)?, EVAL_BATCH);
    let ids = || pictures.iter().map(|picture| picture.id.clone()).collect();
    Ok(Embeddings {
        images: EmbeddingTable::from_tensor(ids(), images)?,
        texts: EmbeddingTable::from_tensor(ids(), texts)?,
    })
}

/// One conversation a picture: the picture, then its name.
pub fn conversations(pictures: &[&Picture]) -> Vec<Conversation> {
    pictures.iter().map(|picture| Conversation::caption(&picture.id, &picture.id, &picture.name)).collect()
}

impl<'a> World<'a> {
    /// Trains the encoder on its share of the pairs and the language model on names.
    pub fn new(
        pictures: &'a Pictures,
        settings: &'a Settings,
        seed: u64,
        device: &Device,
        scratch: &Path,
        label: &str,
    ) -> Result<Self> {
        let encoder_pictures = pictures.share(Share::EncoderPairs, seed);
        let stage1_pictures = pictures.share(Share::Stage1Texts, seed);
        let extra_pictures = pictures.share(Share::ExtraImages, seed);
        let stage2_pictures = pictures.share(Share::Stage2Pairs, seed);
        let mut test_pictures = pictures.share(Share::Test, seed);
        // The shares are in the order of code points: a prefix would be one kind of picture.
        let stride = test_pictures.len().div_ceil(settings.test_pictures).max(1);
        test_pictures = test_pictures.into_iter().step_by(stride).collect();

        // Nothing that is learned has seen a held-out name.
        let names: Vec<&str> =
            encoder_pictures.iter().chain(&stage1_pictures).map(|picture| picture.name.as_str()).collect();
        let tokenizer = Tokenizer::train(&names, settings.vocab_size)?;

        device.seed(seed);
        let started = Instant::now();
        let encoder = encoder_config(settings, tokenizer.vocab_size()).init(device);
        let train = pairs(&encoder_pictures, &tokenizer)?;
        let test = pairs(&test_pictures, &tokenizer)?;
        let steps = settings.encoder_epochs * train.len().div_ceil(settings.encoder_batch);
        let progress = ProgressLine::new(format!("{label}  encoder"), 0, steps);
        let tracker = GapTrackerConfig::new()
            .with_every(settings.gap_every)
            .with_freeze_at((steps / 5).next_multiple_of(settings.gap_every))
            .with_batch_size(EVAL_BATCH)
            .init(test.clone())?;
        let folder = scratch.join("encoder");
        let (encoder, tracker) = DualEncoderTraining::new(settings.encoder_epochs, settings.encoder_batch)
            .with_seed(seed)
            .fit_tracked(encoder, &train, &test, folder, Some(Box::new(progress)), device, tracker)?;
        let gap = tracker.records().to_vec();
        let encoder_seconds = started.elapsed().as_secs_f64();

        let embeddings = |pictures: &[&Picture]| embed(&encoder, pictures, &tokenizer);
        let test = embeddings(&test_pictures)?;
        // No two pictures have the same name.
        let groups: Vec<usize> = (0..test_pictures.len()).collect();
        let retrieval =
            recall_at_k(test.images.tensor(device), test.texts.tensor(device), &groups, &[1, 5, 10])
                .into_iter()
                .map(|r| Retrieval { k: r.k, image_to_text: r.image_to_text, text_to_image: r.text_to_image })
                .collect();

        let started = Instant::now();
        let width = settings.lm_width;
        let language_config =
            LlamaConfig::new(tokenizer.vocab_size(), width, 2 * width, settings.lm_layers, 4)
                .with_num_key_value_heads(Some(2))
                .with_max_position_embeddings(2 * MAX_LEN)
                .with_tie_word_embeddings(true);
        let model = revision_config(settings).init(language_config.init(device)?, device)?;
        let texts = language_texts(&names, seed);
        let texts = ConversationDataset::new(&texts, Template::Completion, &tokenizer, 2 * MAX_LEN, None)?;
        let model = ReVisionLearner::new(settings.language(seed), scratch.join("language"))
            .with_label(format!("{label}  language model"))
            .fit(model, texts, None)?
            .model;
        let language_seconds = started.elapsed().as_secs_f64();

        Ok(Self {
            seed,
            device: device.clone(),
            settings,
            retrieval,
            gap,
            stage1: embeddings(&stage1_pictures)?,
            extra: embeddings(&extra_pictures)?,
            stage2: embeddings(&stage2_pictures)?,
            test,
            tokenizer,
            model,
            encoder,
            stage1_pictures,
            stage2_pictures,
            test_pictures,
            encoder_seconds,
            language_seconds,
        })
    }

    /// Saves what the replay needs besides the variants' models.
    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        self.tokenizer.save(folder.join("tokenizer.json"))?;
        let path = folder.join("encoder.bpk");
        self.encoder.clone().save_file(&path).map_err(|source| Error::format(&path, source.to_string()))
    }
}

/// What the language model reads: names, and names behind a few of their words in any order. The second kind teaches
/// it what every large language model knows: that what stands in front of a text says what it is about.
fn language_texts(names: &[&str], seed: u64) -> Vec<Conversation> {
    let mut rng = StdRng::seed_from_u64(seed);
    let texts = |(number, name): (usize, &&str)| {
        let mut words: Vec<&str> = name.split_whitespace().collect();
        words.shuffle(&mut rng);
        words.truncate(rng.random_range(1..=words.len()));
        let mut hinted = Conversation::text(format!("hint {number}"), *name);
        hinted.turns.insert(0, Turn { from: Role::Human, value: words.join(" ") });
        [Conversation::text(format!("name {number}"), *name), hinted]
    };
    names.iter().enumerate().flat_map(texts).collect()
}

/// Reads back an encoder that [`World::save`] wrote.
pub fn load_encoder(
    folder: &Path,
    settings: &Settings,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<DualEncoder> {
    let path = folder.join("encoder.bpk");
    encoder_config(settings, tokenizer.vocab_size())
        .init(device)
        .try_load_file(&path)
        .map_err(|source| Error::format(&path, source.to_string()))
}
