//! The language model of a seed: small, and it has read captions, questions and answers, and seen nothing.

use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use burn_revision::language::{LlamaConfig, LlamaDecoder, Pretrained, Tokenizer};
use burn_revision::revision::{
    Conversation, ConversationDataset, ReVision, ReVisionConfig, ReVisionLearner, Role, Template, Turn,
};
use burn_revision::{Error, Result};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::settings::Settings;
use super::words::{ANSWERS, Concept};

/// How turns become a text: the language model knows no chats.
pub const TEMPLATE: Template = Template::Completion;
/// The longest conversation that it may be asked to hold.
const POSITIONS: usize = 512;
/// No text that it learns from has more tokens.
pub const MAX_LEN: usize = 72;
/// Questions about one caption that the language model reads one after the other.
const QUESTIONS_A_TEXT: usize = 4;

/// What a language model will read, before it has read it.
pub struct Reading {
    pub tokenizer: Tokenizer,
    /// What it reads first, and so on.
    parts: Vec<Vec<Conversation>>,
    model: ReVision<LlamaDecoder>,
}

/// A language model with an untrained projector in front of it: where every variant starts.
pub struct Language {
    pub tokenizer: Tokenizer,
    pub model: ReVision<LlamaDecoder>,
    pub seconds: f64,
}

impl Reading {
    /// Draws texts and initial weights.
    pub fn new(settings: &Settings, seed: u64, device: &Device) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = settings.lm_texts / settings.lm_denying.len().max(1);
        let parts: Vec<_> =
            settings.lm_denying.iter().map(|denying| texts(count, *denying, &mut rng)).collect();
        let words = parts.iter().flatten().flat_map(|text| text.turns.iter().map(|turn| turn.value.as_str()));
        let tokenizer = Tokenizer::train(&words.chain(ANSWERS).collect::<Vec<_>>(), settings.vocab_size)?;
        let width = settings.lm_width;
        let config = LlamaConfig::new(tokenizer.vocab_size(), width, 3 * width, settings.lm_layers, 4)
            .with_max_position_embeddings(POSITIONS)
            .with_tie_word_embeddings(true)
            .with_initializer_range(settings.lm_initial);
        device.seed(seed);
        let model = ReVisionConfig::new(settings.embedding_dim)
            .with_num_visual_tokens(settings.visual_tokens)
            .init(config.init(device)?, device)?;
        // Burn draws weights when they are first asked for, as a copy does: here, and not while others draw theirs.
        let model = model.clone();
        Ok(Self { tokenizer, parts, model })
    }

    /// Reads.
    pub fn train(self, settings: &Settings, seed: u64, scratch: &Path, label: &str) -> Result<Language> {
        let started = Instant::now();
        let Self { tokenizer, parts, mut model } = self;
        for (number, part) in parts.iter().enumerate() {
            let read = ConversationDataset::new(part, TEMPLATE, &tokenizer, MAX_LEN, None)?;
            model = ReVisionLearner::new(settings.language(seed), scratch.join(format!("language {number}")))
                .with_label(format!("{label}language model, {} of {}", number + 1, parts.len()))
                .fit(model, read, None)?
                .model;
        }
        Ok(Language { tokenizer, model, seconds: started.elapsed().as_secs_f64() })
    }
}

impl Language {
    /// Saves the language model alone as a folder in the form of published ones.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let (model, tokenizer) = (self.model.language.clone(), self.tokenizer.clone());
        Pretrained { model, tokenizer }.save(folder)
    }
}

/// The tokens of the 13 answers; each is one, so that the first token written is the answer.
pub fn answer_tokens(tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let tokens: Vec<Vec<u32>> = ANSWERS.iter().map(|answer| tokenizer.encode(answer)).collect();
    match tokens.iter().zip(ANSWERS).find(|(tokens, _)| tokens.len() != 1) {
        Some((tokens, answer)) => {
            Err(Error::mismatch(format!("tokens of the answer {answer:?}"), 1, tokens.len()))
        }
        None => Ok(tokens.concat()),
    }
}

/// What the language model reads before it is frozen: questions about what a caption says, captions in other words, and
/// questions about nothing. As every large language model, it then knows that a text is about what stands before it.
fn texts(count: usize, denying: f64, rng: &mut StdRng) -> Vec<Conversation> {
    let concepts: Vec<Concept> = Concept::all().collect();
    let human = |text: String| Turn::new(Role::Human, text);
    let mut texts = Vec::with_capacity(count);
    while texts.len() < count {
        let concept = concepts.choose(rng).expect("there are concepts");
        let mut add = |turns: Vec<Turn>| {
            texts.push(Conversation { id: format!("read {}", texts.len()), image: None, turns });
        };
        let (before, after) = (concept.hint(rng), concept.caption(rng));
        add(vec![human(before), Turn::new(Role::Gpt, after)]);
        for asked in concept.questions(denying, rng).chunks(QUESTIONS_A_TEXT) {
            // One in ten is about nothing that is told.
            let told = (!rng.random_ratio(1, 10)).then(|| human(concept.hint(rng)));
            let turns = asked.iter().flat_map(|question| {
                [human(question.text.clone()), Turn::new(Role::Gpt, ANSWERS[question.answer])]
            });
            add(told.into_iter().chain(turns).collect());
        }
    }
    texts
}
