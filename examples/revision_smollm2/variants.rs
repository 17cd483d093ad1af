use std::path::Path;
use std::time::Instant;

use burn_revision::alignment::{Method, align_table, transport_table};
use burn_revision::embedding::NonFinite;
use burn_revision::language::LlamaDecoder;
use burn_revision::revision::*;
use burn_revision::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::world::{Measured, World};

/// What stage 1 is shown in place of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// Captions, moved by a method.
    Captions { method: String, noise: f64 },
    /// The pictures themselves: what text can at best come near.
    Pictures,
    /// Nothing: stage 2 alone.
    Nothing,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    pub title: String,
    pub shown: Shown,
}

impl Variant {
    /// The rows of the book's table.
    fn all(noise: f64) -> Vec<Self> {
        let captions = |title: &str, method: &str, noise: f64| Self {
            title: title.into(),
            shown: Shown::Captions { method: method.into(), noise },
        };
        let other = |title: &str, shown| Self { title: title.into(), shown };
        vec![
            captions("no alignment", "identity", 0.0),
            captions("mean shift", "mean-shift", 0.0),
            captions("C3", "c3", 0.0),
            captions("ReAlign", "realign", 0.0),
            captions("ReAlign + noise", "realign", noise),
            captions("AnisoAlign", "anisoalign", 0.0),
            other("real pairs", Shown::Pictures),
            other("no stage 1", Shown::Nothing),
        ]
    }

    /// The rows with these titles, and for names of methods a row of their own; all of the table for none.
    pub fn asked(names: &[String], noise: f64) -> Result<Vec<Self>> {
        let all = Self::all(noise);
        if names.is_empty() {
            return Ok(all);
        }
        let find = |name: &String| {
            if let Some(known) = all.iter().find(|variant| variant.title == *name) {
                return Ok(known.clone());
            }
            let titles: Vec<&str> = all.iter().map(|variant| variant.title.as_str()).collect();
            let method: Method = name.parse().map_err(|_| {
                Error::config(
                    "rows",
                    format!("expected the name of a method or one of {}, found {name}", titles.join(", ")),
                )
            })?;
            Ok(Self {
                title: name.clone(),
                shown: Shown::Captions { method: method.to_string(), noise: 0.0 },
            })
        };
        names.iter().map(find).collect()
    }

    /// Its folder among those of a seed.
    fn folder(&self) -> String {
        self.title.replace(' ', "_")
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

/// Runs both stages of a variant from the seed's projector, measures it after each, and keeps what it needs to go on after a kill.
pub fn run(variant: &Variant, world: &World, seed: u64, folder: &Path) -> Result<VariantResult> {
    let begun = Instant::now();
    let folder = folder.join(variant.folder());
    let fit = |name: &str, config: StageConfig, model: ReVision<LlamaDecoder>, data: ConversationDataset| {
        // A run that was broken off goes on where it stood.
        let learner = ReVisionLearner::new(config, folder.join(name)).resume();
        learner.with_label(format!("seed {seed}, {}, {name}", variant.title)).fit(model, data, None)
    };
    let data = match &variant.shown {
        Shown::Pictures => Some(world.pictures(&world.stage1_pairs)?),
        Shown::Nothing => None,
        Shown::Captions { method, noise } => Some(captions(world, method, *noise, seed)?),
    };
    let mut model = world.model(seed)?;
    let mut stage1 = None;
    if let Some(data) = data {
        model = fit("stage1", world.settings.stage1(seed), model, data)?.model;
        stage1 = Some(world.measure(&model)?);
    }
    let model = LoraConfig::new().attach(model)?;
    let data = world.pictures(&world.stage2)?;
    let model = fit("stage2", world.settings.stage2(seed), model, data)?.model;
    let stage2 = world.measure(&model)?;
    Ok(VariantResult { variant: variant.clone(), stage1, stage2, seconds: begun.elapsed().as_secs_f64() })
}

/// The captions of stage 1, each with its own embedding, moved by a method. Noise is drawn anew whenever one is shown.
fn captions(world: &World, method: &str, noise: f64, seed: u64) -> Result<ConversationDataset> {
    let (text, image) = &world.statistics;
    let aligner = method.parse::<Method>()?.fit(text, image)?;
    let (rows, policy, device) = (&world.stage1.embeddings, NonFinite::Error, &world.device);
    let (moved, _) = match aligner.has_shaped_noise() {
        true => align_table(aligner.as_ref(), rows, policy, seed, device)?,
        false => transport_table(aligner.as_ref(), rows, policy, device)?,
    };
    let source = VisualSource::new(moved, aligner.noise().hypot(noise), policy)?;
    world.dataset(&world.stage1.conversations, source)
}
