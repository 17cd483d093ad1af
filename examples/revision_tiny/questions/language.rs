//! The language model of a seed: small, and it has read captions, questions and answers, and seen nothing.

use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use burn_revision::language::{LlamaConfig, LlamaDecoder, Tokenizer};
use burn_revision::revision::{
    Conversation, ConversationDataset, ReVision, ReVisionConfig, ReVisionLearner, Role, Template, Turn,
};
use burn_revision::{Error, Result};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::settings::Settings;
use super::words::{ANSWERS, Concept};

/// No text has more tokens.
pub const MAX_LEN: usize = 72;
/// Questions about one caption that the language model reads one after the other.
const QUESTIONS_A_TEXT: usize = 4;

/// The share of its questions of yes or no that ask for what is not there. Were it a half, neither the denial nor what is there
/// would tell anything without the other, and a small model would find neither.
const DENYING: f64 = 0.25;

/// A language model with an untrained projector in front of it: where every variant starts.
pub struct Language {
    pub tokenizer: Tokenizer,
    pub model: ReVision<LlamaDecoder>,
    pub seconds: f64,
}

impl Language {
    /// Lets a language model read.
    pub fn new(settings: &Settings, seed: u64, device: &Device, scratch: &Path, label: &str) -> Result<Self> {
        let started = Instant::now();
        let read = texts(settings.lm_texts, &mut StdRng::seed_from_u64(seed));
        let words = read.iter().flat_map(|text| text.turns.iter().map(|turn| turn.value.as_str()));
        let tokenizer = Tokenizer::train(&words.chain(ANSWERS).collect::<Vec<_>>(), settings.vocab_size)?;
        let width = settings.lm_width;
        let config = LlamaConfig::new(tokenizer.vocab_size(), width, 3 * width, settings.lm_layers, 4)
            .with_max_position_embeddings(MAX_LEN + settings.visual_tokens)
            .with_tie_word_embeddings(true)
            .with_initializer_range(settings.lm_initial);
        device.seed(seed);
        let model = ReVisionConfig::new(settings.embedding_dim)
            .with_num_visual_tokens(settings.visual_tokens)
            .init(config.init(device)?, device)?;
        let read = ConversationDataset::new(&read, Template::Completion, &tokenizer, MAX_LEN, None)?;
        let model = ReVisionLearner::new(settings.language(seed), scratch.join("language"))
            .with_label(format!("{label}language model"))
            .fit(model, read, None)?
            .model;
        Ok(Self { tokenizer, model, seconds: started.elapsed().as_secs_f64() })
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
fn texts(count: usize, rng: &mut StdRng) -> Vec<Conversation> {
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
        for asked in concept.questions(DENYING, rng).chunks(QUESTIONS_A_TEXT) {
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
