use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use burn_revision::Result;
use burn_revision::embedding::{EmbeddingTable, NonFinite, read_table};
use burn_revision::language::{GenerationConfig, LlamaDecoder, Pretrained, Tokenizer};
use burn_revision::revision::*;

use crate::settings::Settings;

pub const EVAL_BATCH: usize = 32;
const MAX_LEN: usize = 48;

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
        let device = Device::default();
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
        ConversationDataset::new(conversations, Template::Chatml, &self.tokenizer, MAX_LEN, source)
    }

    /// Conversations about the pictures of a set.
    pub fn pictures(&self, set: &Set) -> Result<ConversationDataset> {
        self.dataset(&set.conversations, VisualSource::new(set.embeddings.clone(), 0.0, NonFinite::Error)?)
    }

    /// A model, measured on held-out pictures.
    pub fn measure(&self, model: &ReVision<LlamaDecoder>) -> Result<Evaluation> {
        let generation = GenerationConfig::new().with_max_new_tokens(self.settings.new_tokens);
        let test = self.pictures(&self.test)?;
        evaluate(model, &test, &self.tokenizer, &generation, EVAL_BATCH, &self.device)
    }

    /// The language model as it came, without pictures, on the same captions.
    pub fn blind(&self) -> Result<Evaluation> {
        let mut captions = self.test.conversations.clone();
        for conversation in &mut captions {
            conversation.image = None;
            for turn in &mut conversation.turns {
                turn.value = turn.value.replace(IMAGE_PLACEHOLDER, "").trim().to_string();
            }
        }
        let generation = GenerationConfig::new().with_max_new_tokens(self.settings.new_tokens);
        let texts = ConversationDataset::new(&captions, Template::Chatml, &self.tokenizer, MAX_LEN, None)?;
        evaluate(&self.model, &texts, &self.tokenizer, &generation, EVAL_BATCH, &self.device)
    }
}
