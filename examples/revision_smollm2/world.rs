use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use burn_revision::Result;
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, NonFinite, read_table};
use burn_revision::language::{GenerationConfig, LlamaDecoder, Pretrained, Tokenizer};
use burn_revision::revision::*;
use serde::Serialize;

use crate::settings::Settings;

pub const EVAL_BATCH: usize = 32;
const MAX_LEN: usize = 48;
/// LLaVA's for stage 1: a picture, then its caption. Here for both stages, so that they can be compared.
const TEMPLATE: Template = Template::Plain;

/// What a model does on held-out pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub scores: CaptionScores,
    /// The NLL of the captions when each comes with the picture of another: how much the picture matters.
    pub other_nll: f64,
    pub captions: Vec<String>,
}

/// Embeddings and the conversations about them.
pub struct Set {
    pub embeddings: EmbeddingTable,
    pub conversations: Vec<Conversation>,
}

impl Set {
    fn read(folder: &Path, embeddings: &str, conversations: &str) -> Result<Self> {
        let conversations = read_conversations(folder.join(format!("{conversations}.jsonl")))?;
        Ok(Self {
            embeddings: read_table(folder.join(format!("{embeddings}.safetensors")))?,
            conversations: conversations.collect::<Result<_>>()?,
        })
    }
}

/// What all variants share.
pub struct World {
    pub settings: Settings,
    pub seed: u64,
    pub device: Device,
    pub tokenizer: Tokenizer,
    /// The language model behind a fresh projector.
    pub model: ReVision<LlamaDecoder>,
    /// Unpaired sets that only statistics are made of.
    pub statistics: (EmbeddingTable, EmbeddingTable),
    /// Captions, whose embeddings stand in for pictures.
    pub stage1: Set,
    /// The pictures of those captions, for the upper bound alone.
    pub stage1_pairs: Set,
    pub stage2: Set,
    pub test: Set,
}

impl World {
    pub fn read(settings: Settings, data: &Path, language: &Path, seed: u64) -> Result<Self> {
        let device = from_environment()?;
        let table = |name: &str| read_table(data.join(format!("{name}.safetensors")));
        let statistics = (table("encoder_texts")?, table("encoder_images")?);
        let Pretrained { model, tokenizer } = Pretrained::load(language, FloatDType::F32, &device)?;
        device.seed(seed);
        let model = ReVisionConfig::new(statistics.0.dim())
            .with_num_visual_tokens(settings.visual_tokens)
            .init(model, &device)?;
        let mut test = Set::read(data, "test_images", "test_conversations")?;
        // An even choice: the file goes through the sources one after the other.
        let (all, wanted) = (test.conversations.len(), settings.test_pictures.min(test.conversations.len()));
        test.conversations =
            (0..wanted).map(|index| test.conversations[index * all / wanted].clone()).collect();
        Ok(Self {
            seed,
            tokenizer,
            model,
            statistics,
            stage1: Set::read(data, "stage1_texts", "stage1_conversations")?,
            stage1_pairs: Set::read(data, "stage1_images", "stage1_pairs")?,
            stage2: Set::read(data, "stage2_images", "stage2_conversations")?,
            test,
            settings,
            device,
        })
    }

    /// Conversations about what `source` shows.
    pub fn dataset(
        &self,
        conversations: &[Conversation],
        source: VisualSource,
    ) -> Result<ConversationDataset> {
        let source = Some(Arc::new(source));
        ConversationDataset::new(conversations, TEMPLATE, &self.tokenizer, MAX_LEN, source)
    }

    /// Conversations about the pictures of a set.
    pub fn pictures(&self, set: &Set) -> Result<ConversationDataset> {
        self.dataset(&set.conversations, self.source(set)?)
    }

    /// A model, measured on held-out pictures.
    pub fn measure(&self, model: &ReVision<LlamaDecoder>) -> Result<Measured> {
        let generation = GenerationConfig::new().with_max_new_tokens(self.settings.new_tokens);
        let test = self.pictures(&self.test)?;
        let (scores, captions) =
            evaluate(model, &test, &self.tokenizer, &generation, EVAL_BATCH, &self.device)?;
        let others = self.dataset(&self.exchanged(), self.source(&self.test)?)?;
        let other_nll = mean_nll(model, &others, EVAL_BATCH, &self.device)?;
        Ok(Measured { scores, other_nll, captions })
    }

    /// The held-out captions, each with the picture of the one a third of the list away.
    fn exchanged(&self) -> Vec<Conversation> {
        let conversations = &self.test.conversations;
        let mut exchanged = conversations.clone();
        for (index, conversation) in exchanged.iter_mut().enumerate() {
            let other = (index + conversations.len() / 3) % conversations.len();
            conversation.image = conversations[other].image.clone();
        }
        exchanged
    }

    fn source(&self, set: &Set) -> Result<VisualSource> {
        VisualSource::new(set.embeddings.clone(), 0.0, NonFinite::Error)
    }

    /// The language model as it came, without pictures, on the same captions.
    pub fn blind(&self) -> Result<CaptionScores> {
        let mut captions = self.test.conversations.clone();
        for conversation in &mut captions {
            conversation.image = None;
            for turn in &mut conversation.turns {
                turn.value = turn.value.replace(IMAGE_PLACEHOLDER, "").trim().to_string();
            }
        }
        let generation = GenerationConfig::new().with_max_new_tokens(self.settings.new_tokens);
        // `plain` has no room for a question.
        let texts =
            ConversationDataset::new(&captions, Template::Completion, &self.tokenizer, MAX_LEN, None)?;
        Ok(evaluate(&self.model, &texts, &self.tokenizer, &generation, EVAL_BATCH, &self.device)?.0)
    }
}
