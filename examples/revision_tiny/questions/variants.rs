//! The variants that are compared: what stage 1 is shown, and how many questions are answered rightly afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::FloatDType;
use burn_revision::alignment::{Aligner, MemoryProjectionConfig, Method, WithNoise, transport_table};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::encoder::PretrainedEncoder;
use burn_revision::language::{LlamaDecoder, Tokenizer};
use burn_revision::revision::{
    Conversation, ConversationDataset, ReVision, ReVisionLearner, SavedReVision, VisualSource,
};
use burn_revision::{Error, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::answers::{Accuracy, answer, score};
use super::language::{MAX_LEN, TEMPLATE, answer_tokens};
use super::pictures::Picture;
use super::world::{ENCODER, LANGUAGE, Subject, Text, World, conversations};

/// The temperature of "ReAlign + memory".
const MEMORY_TEMPERATURE: f64 = 0.03;

/// What stage 1 is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Captions, moved by a method, with noise beside the method's own.
    Text { method: Method, noise: f64 },
    /// Captions after ReAlign, each drawn towards the unpaired pictures near it; with noise.
    Memory { noise: f64 },
    /// The pictures of "real pairs": what text stands in for.
    Pictures,
    /// The few pictures of stage 2, for as many steps.
    FewPictures,
    /// Nothing: stage 2 is all there is.
    Nothing,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    pub title: String,
    pub shown: Shown,
    /// Whether the curve over numbers of pictures has it.
    #[serde(default)]
    pub in_curve: bool,
}

impl Variant {
    fn new(title: &str, shown: Shown) -> Self {
        Self { title: title.into(), shown, in_curve: false }
    }

    /// Text moved by the method of this name.
    pub fn text(title: &str, method: &str, noise: f64) -> Self {
        let method = method.parse().expect("the name of a method");
        Self::new(title, Shown::Text { method, noise })
    }

    fn in_curve(self) -> Self {
        Self { in_curve: true, ..self }
    }

    /// The rows of the table; another method is another line.
    pub fn all(noise: f64) -> Vec<Self> {
        vec![
            Self::text("no alignment", "identity", 0.0),
            Self::text("mean shift", "mean-shift", 0.0),
            Self::text("C3", "c3", 0.0),
            Self::text("ReAlign", "realign", 0.0),
            Self::text("ReAlign + noise", "realign", noise).in_curve(),
            Self::text("AnisoAlign", "anisoalign", 0.0),
            Self::new("ReAlign + memory + noise", Shown::Memory { noise }),
            Self::new("real pairs", Shown::Pictures),
            Self::new("stage 2's pictures in both stages", Shown::FewPictures),
            Self::new("no stage 1", Shown::Nothing),
        ]
    }

    /// The rows of these titles, or all where there are none; the name of a method that has no row is one more.
    pub fn asked(titles: &[String], noise: f64) -> Result<Vec<Self>> {
        let all = Self::all(noise);
        if titles.is_empty() {
            return Ok(all);
        }
        let find = |title: &String| match all.iter().find(|variant| variant.title == *title) {
            Some(variant) => Ok(variant.clone()),
            None if title.parse::<Method>().is_ok() => Ok(Self::text(title, title, 0.0)),
            None => {
                let known: Vec<&str> = all.iter().map(|variant| variant.title.as_str()).collect();
                let detail =
                    format!("expected the name of a method or one of {}, found {title:?}", known.join(", "));
                Err(Error::config("rows", detail))
            }
        };
        titles.iter().map(find).collect()
    }

    /// The folder of its weights.
    pub fn folder(&self) -> String {
        self.title.to_lowercase().replace(" + ", "-").replace("'s", "").replace(' ', "-")
    }
}

/// What came of a variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VariantResult {
    pub variant: Variant,
    /// After stage 1; absent where there was none.
    pub stage1: Option<Accuracy>,
    pub stage2: Accuracy,
    pub skipped_steps: usize,
    pub seconds: f64,
}

/// Runs stages of a seed in a scratch folder of its own.
pub struct Stages<'a> {
    pub world: &'a World,
    pub scratch: &'a Path,
    pub label: &'a str,
}

impl Stages<'_> {
    /// Refuses methods that have no row, before anything is trained for the others.
    pub fn check(&self, variants: &[Variant]) -> Result<()> {
        variants.iter().try_for_each(|variant| match &variant.shown {
            Shown::Text { method, .. } => self.fitted(method).map(|_| ()),
            _ => Ok(()),
        })
    }

    fn fitted(&self, method: &Method) -> Result<Box<dyn Aligner>> {
        let world = self.world;
        let fitted = method.with_seed(world.seed).fit(&world.text_rows, &world.unpaired_rows)?;
        // Pictures are asked about as they are, and texts are moved once.
        let lacking = match (fitted.moves_images(), fitted.has_shaped_noise()) {
            (true, _) => "moves pictures as well",
            (_, true) => "has noise of a shape of its own",
            (false, false) => return Ok(fitted),
        };
        Err(Error::config("rows", format!("{method} {lacking}, and no row here is made for that")))
    }

    /// Stage 1 of a variant, where it has one: the model, and the steps that were skipped.
    pub fn stage1(&self, variant: &Variant) -> Result<Option<(ReVision<LlamaDecoder>, usize)>> {
        let world = self.world;
        let data = match &variant.shown {
            Shown::Text { method, noise } => self.texts(&WithNoise::new(self.fitted(method)?, *noise))?,
            Shown::Memory { noise } => {
                let config =
                    MemoryProjectionConfig::new().with_realigned(true).with_temperature(MEMORY_TEMPERATURE);
                let fitted = config.with_seed(world.seed).fit(&world.text_rows, &world.unpaired_rows)?;
                self.texts(&WithNoise::new(fitted, *noise))?
            }
            Shown::Pictures => self.pictures(&world.shares.pairs)?,
            Shown::FewPictures => self.pictures(self.few())?,
            Shown::Nothing => return Ok(None),
        };
        self.train(&variant.title, data).map(Some)
    }

    /// Stage 1 on these conversations: the model, and the steps that were skipped.
    pub fn train(&self, title: &str, data: ConversationDataset) -> Result<(ReVision<LlamaDecoder>, usize)> {
        let world = self.world;
        let outcome = ReVisionLearner::new(
            world.settings.stage1(world.seed),
            self.scratch.join(format!("{title}, stage 1")),
        )
        .with_label(format!("{}{title}, stage 1", self.label))
        .fit(world.language.model.clone(), data, None)?;
        Ok((outcome.model, outcome.skipped_steps))
    }

    /// Stage 2 on the first pictures of the pairs.
    pub fn stage2(
        &self,
        title: &str,
        model: ReVision<LlamaDecoder>,
        pictures: usize,
    ) -> Result<(ReVision<LlamaDecoder>, usize)> {
        let world = self.world;
        let data = self.pictures(&world.shares.pairs[..pictures.min(world.shares.pairs.len())])?;
        let folder = self.scratch.join(format!("{title}, stage 2, {pictures}"));
        let outcome = ReVisionLearner::new(world.settings.stage2(world.seed), folder)
            .with_label(format!("{}{title}, stage 2", self.label))
            .fit(model, data, None)?;
        Ok((outcome.model, outcome.skipped_steps))
    }

    /// Puts all questions about the test pictures.
    pub fn ask(&self, model: &ReVision<LlamaDecoder>) -> Result<Accuracy> {
        let world = self.world;
        let tokenizer = &world.language.tokenizer;
        let data = questions(&world.test, &world.test_rows, tokenizer)?;
        let answers = answer(model, &data, &answer_tokens(tokenizer)?, &world.device)?;
        Ok(score(answers, &world.test, &world.held_out))
    }

    /// Both stages of a variant, and its answers after each. The weights of stage 2 are saved where a folder is given.
    pub fn run(
        &self,
        variant: &Variant,
        save: Option<&Path>,
    ) -> Result<(VariantResult, Option<ReVision<LlamaDecoder>>)> {
        let started = Instant::now();
        let stage1 = self.stage1(variant)?;
        let after_stage1 = stage1.as_ref().map(|(model, _)| self.ask(model)).transpose()?;
        let skipped = stage1.as_ref().map_or(0, |(_, skipped)| *skipped);
        let stage1 = stage1.map(|(model, _)| model);
        let start = stage1.clone().unwrap_or_else(|| self.world.language.model.clone());
        let (model, skipped2) = self.stage2(&variant.title, start, self.world.settings.stage2_pictures)?;
        if let Some(folder) = save {
            self.save(&model, folder, variant)?;
        }
        let result = VariantResult {
            variant: variant.clone(),
            stage1: after_stage1,
            stage2: self.ask(&model)?,
            skipped_steps: skipped + skipped2,
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok((result, stage1))
    }

    /// Saves a model of both stages so that `burn-revision ask` and `serve` can load it.
    fn save(&self, model: &ReVision<LlamaDecoder>, folder: &Path, variant: &Variant) -> Result<()> {
        let (world, language) = (self.world, folder.join(LANGUAGE));
        let language = std::path::absolute(&language).map_err(|source| Error::io(&language, source))?;
        let tokenizer = world.language.tokenizer.clone();
        let mut saved = SavedReVision::new(model.clone(), tokenizer, language, FloatDType::F32)
            .with_stage(&world.settings.stage1(world.seed))?
            .with_stage(&world.settings.stage2(world.seed))?;
        if let Some(record) = PretrainedEncoder::open(folder.join(ENCODER))?.record()? {
            saved = saved.with_encoder(record)?;
        }
        saved.template = TEMPLATE;
        saved.save(&folder.join(variant.folder()))
    }

    /// The pictures of stage 2.
    fn few(&self) -> &[&'static Picture] {
        let pairs = &self.world.shares.pairs;
        &pairs[..self.world.settings.stage2_pictures.min(pairs.len())]
    }

    /// Stage 1 on text: captions moved into the pictures' place, with their questions.
    pub fn texts(&self, aligner: &dyn Aligner) -> Result<ConversationDataset> {
        self.some_texts(aligner, usize::MAX)
    }

    /// As [`texts`](Self::texts), with the first of them alone.
    pub fn some_texts(&self, aligner: &dyn Aligner, count: usize) -> Result<ConversationDataset> {
        let world = self.world;
        let (moved, _) = transport_table(aligner, &world.text_rows, NonFinite::Error, &world.device)?;
        // Noise is drawn anew at every step, and unit length comes after it.
        let source = VisualSource::new(moved, aligner.noise(), NonFinite::Error)?;
        let subjects = world.texts.iter().take(count).map(|Text { id, caption, questions }| Subject {
            id,
            caption: Some(caption.clone()),
            questions,
        });
        dataset(&conversations(subjects), source, &world.language.tokenizer)
    }

    /// Real pictures with their questions, and with captions where they tell what is shown.
    pub fn pictures(&self, pictures: &[&Picture]) -> Result<ConversationDataset> {
        let mut rng = StdRng::seed_from_u64(self.world.seed);
        let subjects = pictures.iter().map(|picture| Subject {
            id: &picture.id,
            caption: picture.concept.map(|concept| concept.caption(&mut rng)),
            questions: &picture.questions,
        });
        dataset(&conversations(subjects), images(&self.world.pair_rows)?, &self.world.language.tokenizer)
    }
}

/// The questions about pictures with these embeddings.
pub fn questions(
    pictures: &[&Picture],
    rows: &EmbeddingTable,
    tokenizer: &Tokenizer,
) -> Result<ConversationDataset> {
    let subjects =
        pictures.iter().map(|Picture { id, questions, .. }| Subject { id, caption: None, questions });
    dataset(&conversations(subjects), images(rows)?, tokenizer)
}

fn images(table: &EmbeddingTable) -> Result<VisualSource> {
    VisualSource::new(table.clone(), 0.0, NonFinite::Error)
}

fn dataset(
    conversations: &[Conversation],
    source: VisualSource,
    tokenizer: &Tokenizer,
) -> Result<ConversationDataset> {
    ConversationDataset::new(conversations, TEMPLATE, tokenizer, MAX_LEN, Some(Arc::new(source)))
}
