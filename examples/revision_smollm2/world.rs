use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, NonFinite, read_table};
use burn_revision::language::{GenerationConfig, LlamaDecoder, Pretrained, Tokenizer};
use burn_revision::revision::*;
use burn_revision::{Error, Result};
use serde::Serialize;

use crate::common;
use crate::retrieval::{Retrieval, truth};
use crate::settings::Settings;

const EVAL_BATCH: usize = 32;
const MAX_LEN: usize = 48;
/// LLaVA's for stage 1: a picture, then its caption. Here for both stages, so that they can be compared.
const TEMPLATE: Template = Template::Plain;
/// With `--validate` every so manieth caption of stage 2 is measured, with its pictures, and not trained on.
const VALIDATION: usize = 4;

/// What a model does on held-out pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub scores: CaptionScores,
    /// The NLL of the captions when each comes with the picture of another: how much the picture matters.
    pub other_nll: f64,
    /// For each picture, how many others are nearer to the caption that was written for it; see [`Retrieval::ranks`].
    pub ranks: Option<Vec<usize>>,
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

    /// Rows with captions of their own, behind those that are there.
    fn extend(&mut self, rows: &EmbeddingTable, captions: &HashMap<String, String>) -> Result<()> {
        let here = &self.embeddings;
        let ids = here.ids().iter().chain(rows.ids()).cloned().collect();
        let values = here.rows().iter().chain(rows.rows()).copied().collect();
        let more = rows.ids().iter().filter_map(|id| Some(Conversation::caption(id, id, captions.get(id)?)));
        self.conversations.extend(more);
        self.embeddings = EmbeddingTable::new(ids, values, here.dim())?;
        Ok(())
    }
}

/// Where everything is read from.
pub struct Places {
    pub data: PathBuf,
    pub language_model: PathBuf,
    pub encoder: PathBuf,
}

/// What all variants share.
pub struct World {
    pub settings: Settings,
    pub device: Device,
    pub tokenizer: Tokenizer,
    pub language: LlamaDecoder,
    /// Unpaired sets that only statistics are made of.
    pub statistics: (EmbeddingTable, EmbeddingTable),
    /// Captions, whose embeddings stand in for pictures.
    pub stage1: Set,
    /// The pictures of those captions, for the upper bound alone.
    pub stage1_pairs: Set,
    pub stage2: Set,
    pub test: Set,
    /// None where the encoder is not there.
    pub retrieval: Option<Retrieval>,
}

impl World {
    /// `validate`: pictures of stage 2 are held out and measured, and those to test are not looked at.
    pub fn read(settings: Settings, places: &Places, validate: bool) -> Result<Self> {
        let device = from_environment()?;
        let data = places.data.as_path();
        let table = |name: &str| read_table(data.join(format!("{name}.safetensors")));
        let statistics = (table("encoder_texts")?, table("encoder_images")?);
        let Pretrained { model: language, tokenizer } =
            Pretrained::load(&places.language_model, FloatDType::F32, &device)?;
        let mut stage2 = Set::read(data, "stage2_images", "stage2_conversations")?;
        let mut test = match validate {
            true => split(&mut stage2),
            false => Set::read(data, "test_images", "test_conversations")?,
        };
        let mut stage1 = Set::read(data, "stage1_texts", "stage1_conversations")?;
        let mut stage1_pairs = Set::read(data, "stage1_images", "stage1_pairs")?;
        if settings.encoder_captions {
            let titles = titles(data)?;
            stage1.extend(&statistics.0, &titles.texts)?;
            stage1_pairs.extend(&statistics.1, &titles.pictures)?;
        }
        // Registries share a few titles: what is asked for must not have been read.
        let asked: HashSet<String> = test.conversations.iter().map(|c| truth(c).to_lowercase()).collect();
        for set in [&mut stage1, &mut stage1_pairs, &mut stage2] {
            set.conversations.retain(|conversation| !asked.contains(&truth(conversation).to_lowercase()));
        }
        // An even choice: the file goes through the sources one after the other.
        let (all, wanted) = (test.conversations.len(), settings.test_pictures.min(test.conversations.len()));
        test.conversations =
            (0..wanted).map(|index| test.conversations[index * all / wanted].clone()).collect();
        let retrieval = Retrieval::open(&places.encoder, &test.conversations, &test.embeddings, &device)?;
        Ok(Self {
            settings,
            device,
            tokenizer,
            language,
            statistics,
            stage1,
            stage1_pairs,
            stage2,
            test,
            retrieval,
        })
    }

    /// The language model behind the fresh projector of a seed.
    pub fn model(&self, seed: u64) -> Result<ReVision<LlamaDecoder>> {
        self.device.seed(seed);
        ReVisionConfig::new(self.statistics.0.dim())
            .with_num_visual_tokens(self.settings.visual_tokens)
            .init(self.language.clone(), &self.device)
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
        let ranks = self.retrieval.as_ref().map(|retrieval| retrieval.ranks(&captions)).transpose()?;
        Ok(Measured { scores, other_nll, ranks, captions })
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

    /// How near the true captions come to their pictures: no caption can be expected to come nearer.
    pub fn true_ranks(&self) -> Result<Option<Vec<usize>>> {
        let truths: Vec<String> =
            self.test.conversations.iter().map(|conversation| truth(conversation).to_string()).collect();
        self.retrieval.as_ref().map(|retrieval| retrieval.ranks(&truths)).transpose()
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
        let model = self.model(0)?;
        Ok(evaluate(&model, &texts, &self.tokenizer, &generation, EVAL_BATCH, &self.device)?.0)
    }
}

/// Takes every so manieth caption out of a set, with all of its pictures.
fn split(set: &mut Set) -> Set {
    let mut order: Vec<&str> = Vec::new();
    let mut taken = HashSet::new();
    for conversation in &set.conversations {
        let title = truth(conversation);
        if !order.contains(&title) {
            if order.len().is_multiple_of(VALIDATION) {
                taken.insert(title.to_string());
            }
            order.push(title);
        }
    }
    let conversations = std::mem::take(&mut set.conversations);
    let (test, rest) =
        conversations.into_iter().partition(|conversation| taken.contains(truth(conversation)));
    set.conversations = rest;
    Set { embeddings: set.embeddings.clone(), conversations: test }
}

/// Captions of rows by their ids, as the record of the data has them.
struct Titles {
    texts: HashMap<String, String>,
    pictures: HashMap<String, String>,
}

/// The title of a caption stands before its keywords.
fn titles(data: &Path) -> Result<Titles> {
    let texts: HashMap<String, String> = records(&data.join("captions.jsonl"), "text")?
        .into_iter()
        .map(|(id, text)| (id, text.split(": ").next().unwrap_or_default().to_string()))
        .collect();
    let pictures = records(&data.join("pictures.jsonl"), "text_id")?
        .into_iter()
        .filter_map(|(id, text)| Some((id, texts.get(&text)?.clone())))
        .collect();
    Ok(Titles { texts, pictures })
}

/// A field of every record of a file, by the records' ids.
fn records(path: &Path, field: &str) -> Result<HashMap<String, String>> {
    let pair = |record: serde_json::Value| match (record["id"].as_str(), record[field].as_str()) {
        (Some(id), Some(value)) => Ok((id.to_string(), value.to_string())),
        _ => Err(Error::format(path, format!("a record without an id or without {field}: {record}"))),
    };
    common::records::read(path)?.into_iter().map(pair).collect()
}
