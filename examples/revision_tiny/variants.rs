//! The variants that are compared: what stage 1 is shown, and what it does to held-out pictures afterwards.

use std::path::Path;
use std::sync::Arc;

use burn_revision::Result;
use burn_revision::alignment::{
    Aligner, AnisoAlignConfig, C3Config, Identity, MeanShiftConfig, ReAlign, ReAlignConfig, WithNoise,
    align_table, transport_table,
};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::geometry::{KnnConfig, KnnMixing, Moments, modality_gap, paired_cosine};
use burn_revision::language::{GenerationConfig, LlamaDecoder};
use burn_revision::revision::{
    CaptionScores, ConversationDataset, ReVision, ReVisionLearner, Template, VisualSource, evaluate,
};
use serde::{Deserialize, Serialize};

use crate::pictures::Picture;
use crate::world::{EVAL_BATCH, Embeddings, MAX_LEN, World, conversations};

/// What stage 1 is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Text embeddings where the encoder put them.
    NoAlignment,
    /// Text moved by the difference of the means.
    MeanShift,
    /// Mean shift, with the noise of C3.
    C3,
    /// ReAligned text.
    ReAlign,
    /// Text after AnisoAlign.
    AnisoAlign,
    /// ReAligned text with isotropic noise: alignment and regularisation together.
    ReAlignNoise,
    /// Unaligned text with the same noise: regularisation alone.
    NoiseAlone,
    /// Nothing: stage 2 is all there is.
    NoStage1,
    /// The pictures themselves, paired with their names: what stage 1 on text stands in for.
    RealPairs,
}

impl Variant {
    /// In the order of the table.
    pub const ALL: [Self; 9] = [
        Self::NoAlignment,
        Self::MeanShift,
        Self::C3,
        Self::ReAlign,
        Self::AnisoAlign,
        Self::NoiseAlone,
        Self::ReAlignNoise,
        Self::NoStage1,
        Self::RealPairs,
    ];

    /// The title in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::NoAlignment => "no alignment",
            Self::MeanShift => "mean shift",
            Self::C3 => "C3",
            Self::ReAlign => "ReAlign",
            Self::AnisoAlign => "AnisoAlign",
            Self::ReAlignNoise => "ReAlign + noise",
            Self::NoiseAlone => "no alignment + noise",
            Self::NoStage1 => "no stage 1",
            Self::RealPairs => "real pairs (upper bound)",
        }
    }

    /// The folder of its weights.
    pub fn folder(self) -> String {
        serde_json::to_value(self).expect("a name").as_str().expect("a string").to_string()
    }
}

/// Where a method puts held-out names, measured against held-out pictures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Geometry {
    /// The distance between the mean aligned name and the mean picture.
    pub gap: f64,
    /// The share of a point's 20 nearest neighbours that belong to the other modality, over all points.
    pub knn_mixing: f64,
    /// The mean cosine between a name's embedding before and after.
    pub source_cosine: f64,
}

/// What came of a variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VariantResult {
    pub variant: Variant,
    /// Absent where no text is moved.
    pub geometry: Option<Geometry>,
    /// Absent where there was no stage 1.
    pub stage1: Option<CaptionScores>,
    pub stage2: CaptionScores,
    pub stage1_captions: Vec<String>,
    pub stage2_captions: Vec<String>,
    pub skipped_steps: usize,
    pub seconds: f64,
}

/// The methods, fitted on unpaired sets: the names of stage 1 and the extra pictures.
pub struct Methods {
    pub realign: ReAlign,
    aligners: Vec<(Variant, Box<dyn Aligner>)>,
}

impl Methods {
    pub fn fit(world: &World) -> Result<Self> {
        let (texts, images) = (&world.stage1.texts, &world.extra.images);
        let realign = ReAlignConfig::new().fit(texts, images)?;
        let mean_shift = MeanShiftConfig::new().fit(texts, images)?;
        let c3 = C3Config::new().fit(texts, images)?;
        let anisoalign = AnisoAlignConfig::new().with_seed(world.seed).fit(texts, images)?;
        let noise = world.settings.noise;
        let identity = Identity::new(texts.dim());
        let aligners: Vec<(Variant, Box<dyn Aligner>)> = vec![
            (Variant::NoAlignment, Box::new(identity)),
            (Variant::MeanShift, Box::new(mean_shift)),
            (Variant::C3, Box::new(c3)),
            (Variant::ReAlign, Box::new(realign.clone())),
            (Variant::AnisoAlign, Box::new(anisoalign)),
            (Variant::ReAlignNoise, Box::new(WithNoise::new(realign.clone(), noise))),
            (Variant::NoiseAlone, Box::new(WithNoise::new(identity, noise))),
        ];
        Ok(Self { realign, aligners })
    }

    fn get(&self, variant: Variant) -> Option<&dyn Aligner> {
        self.aligners.iter().find(|(v, _)| *v == variant).map(|(_, aligner)| aligner.as_ref())
    }

    fn geometry(&self, variant: Variant, world: &World) -> Result<Option<Geometry>> {
        let Some(aligner) = self.get(variant) else { return Ok(None) };
        let Embeddings { images, texts } = &world.test;
        let (aligned, _) = align_table(aligner, texts, NonFinite::Error, world.seed, &world.device)?;
        let moments = |table: &EmbeddingTable| -> Result<Moments> {
            let mut moments = Moments::new(table.dim());
            moments.update_rows(table.rows())?;
            Ok(moments)
        };
        let mixing = KnnMixing::measure(&aligned, images, &KnnConfig::new(), &world.device)?;
        Ok(Some(Geometry {
            gap: modality_gap(&moments(&aligned)?, &moments(images)?)?,
            knn_mixing: mixing.pooled,
            source_cosine: paired_cosine(texts, &aligned)?,
        }))
    }
}

/// How captions are written, here and in the replay: greedily, to the end or the longest length.
pub fn generation() -> GenerationConfig {
    GenerationConfig::new().with_max_new_tokens(MAX_LEN)
}

/// Conversations of pictures about what `source` shows.
pub fn dataset(pictures: &[&Picture], source: VisualSource, world: &World) -> Result<ConversationDataset> {
    let conversations = conversations(pictures);
    ConversationDataset::new(
        &conversations,
        Template::Plain,
        &world.tokenizer,
        MAX_LEN,
        Some(Arc::new(source)),
    )
}

fn images(table: &EmbeddingTable) -> Result<VisualSource> {
    VisualSource::new(table.clone(), 0.0, NonFinite::Error)
}

/// Runs both stages of a variant and measures it after each; saves its weights where a folder is given.
pub fn run(
    variant: Variant,
    methods: &Methods,
    world: &World,
    scratch: &Path,
    save: Option<&Path>,
    label: &str,
) -> Result<VariantResult> {
    let started = std::time::Instant::now();
    let settings = world.settings;
    let test = dataset(&world.test_pictures, images(&world.test.images)?, world)?;
    let measure = |model: &ReVision<LlamaDecoder>| -> Result<(CaptionScores, Vec<String>)> {
        evaluate(model, &test, &world.tokenizer, &generation(), EVAL_BATCH, &world.device)
    };

    let source = match (methods.get(variant), variant) {
        (Some(aligner), _) => {
            let (table, _) = transport_table(aligner, &world.stage1.texts, NonFinite::Error, &world.device)?;
            Some(VisualSource::new(table, aligner.noise(), NonFinite::Error)?)
        }
        (None, Variant::RealPairs) => Some(images(&world.stage1.images)?),
        (None, _) => None,
    };
    let folder = scratch.join(variant.folder());
    let stage = |name: &str, config, model, data| {
        ReVisionLearner::new(config, folder.join(name))
            .with_label(format!("{label}  {}, {name}", variant.title()))
            .fit(model, data, None)
    };

    let mut skipped_steps = 0;
    let mut model = world.model.clone();
    let mut stage1 = None;
    if let Some(source) = source {
        let data = dataset(&world.stage1_pictures, source, world)?;
        let outcome = stage("stage 1", settings.stage1(world.seed), model, data)?;
        skipped_steps += outcome.skipped_steps;
        model = outcome.model;
        stage1 = Some(measure(&model)?);
    }
    let data = dataset(&world.stage2_pictures, images(&world.stage2.images)?, world)?;
    let outcome = stage("stage 2", settings.stage2(world.seed), model, data)?;
    skipped_steps += outcome.skipped_steps;
    let (stage2, stage2_captions) = measure(&outcome.model)?;
    if let Some(folder) = save {
        outcome.model.save(&folder.join(variant.folder()))?;
    }

    let (stage1, stage1_captions) = stage1.unzip();
    Ok(VariantResult {
        variant,
        geometry: methods.geometry(variant, world)?,
        stage1,
        stage2,
        stage1_captions: stage1_captions.unwrap_or_default(),
        stage2_captions,
        skipped_steps,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The language model without any picture, on the same names.
pub fn blind(world: &World) -> Result<CaptionScores> {
    let texts: Vec<_> = world
        .test_pictures
        .iter()
        .map(|picture| burn_revision::revision::Conversation::text(&picture.id, &picture.name))
        .collect();
    let texts = ConversationDataset::new(&texts, Template::Plain, &world.tokenizer, MAX_LEN, None)?;
    Ok(evaluate(&world.model, &texts, &world.tokenizer, &generation(), EVAL_BATCH, &world.device)?.0)
}
