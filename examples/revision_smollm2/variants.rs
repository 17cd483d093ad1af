use std::path::Path;
use std::time::Instant;

use burn_revision::Result;
use burn_revision::alignment::{Method, transport_table};
use burn_revision::embedding::NonFinite;
use burn_revision::language::LlamaDecoder;
use burn_revision::revision::*;
use serde::Serialize;

use crate::world::{Measured, World};

/// What stage 1 is shown in place of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    NoAlignment,
    MeanShift,
    C3,
    ReAlign,
    AnisoAlign,
    /// The pictures themselves: what text can at best come near.
    RealPairs,
    /// Nothing: stage 2 alone.
    NoStage1,
}

impl Variant {
    pub const ALL: [Self; 7] = [
        Self::ReAlign,
        Self::NoAlignment,
        Self::MeanShift,
        Self::C3,
        Self::AnisoAlign,
        Self::RealPairs,
        Self::NoStage1,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::NoAlignment => "no alignment",
            Self::MeanShift => "mean shift",
            Self::C3 => "C3",
            Self::ReAlign => "ReAlign",
            Self::AnisoAlign => "AnisoAlign",
            Self::RealPairs => "real pairs (upper bound)",
            Self::NoStage1 => "no stage 1",
        }
    }

    fn method(self) -> Option<Method> {
        let name = match self {
            Self::NoAlignment => "identity",
            Self::MeanShift => "mean-shift",
            Self::C3 => "c3",
            Self::ReAlign => "realign",
            Self::AnisoAlign => "anisoalign",
            Self::RealPairs | Self::NoStage1 => return None,
        };
        Some(name.parse().expect("the name of a method"))
    }
}

/// What came of a variant.
#[derive(Clone, Debug, Serialize)]
pub struct VariantResult {
    pub variant: Variant,
    pub stage1: Option<Measured>,
    pub stage2: Measured,
    pub seconds: f64,
}

/// Runs both stages of a variant, measures it after each, and saves the model.
pub fn run(variant: Variant, world: &World, folder: &Path) -> Result<VariantResult> {
    let begun = Instant::now();
    let folder = folder.join(variant.title().replace([' ', '(', ')'], "_"));
    let fit = |name: &str, config: StageConfig, model: ReVision<LlamaDecoder>, data: ConversationDataset| {
        // A run that was broken off goes on where it stood.
        let learner = ReVisionLearner::new(config, folder.join(name)).resume();
        learner.with_label(format!("{}, {name}", variant.title())).fit(model, data, None)
    };
    let data = match (variant, variant.method()) {
        (Variant::RealPairs, _) => Some(world.pictures(&world.stage1_pairs)?),
        (_, None) => None,
        (_, Some(method)) => {
            let (text, image) = &world.statistics;
            let aligner = method.fit(text, image)?;
            let aligned =
                transport_table(aligner.as_ref(), &world.stage1.embeddings, NonFinite::Error, &world.device)?;
            let source = VisualSource::new(aligned.0, aligner.noise(), NonFinite::Error)?;
            Some(world.dataset(&world.stage1.conversations, source)?)
        }
    };
    let mut model = world.model.clone();
    let mut stage1 = None;
    if let Some(data) = data {
        model = fit("stage1", world.settings.stage1(world.seed), model, data)?.model;
        stage1 = Some(world.measure(&model)?);
    }
    let data = world.pictures(&world.stage2)?;
    let model = fit("stage2", world.settings.stage2(world.seed), model, data)?.model;
    let stage2 = world.measure(&model)?;
    Ok(VariantResult { variant, stage1, stage2, seconds: begun.elapsed().as_secs_f64() })
}
