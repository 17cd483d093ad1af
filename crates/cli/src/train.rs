use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use serde_json::json;

use super::args::OutputOptions;
use super::encoder_record;
use super::model_args::TrainCommand;
use super::outcome::Outcome;
use super::progress::interrupted;
use super::run_description::RunDescription;
use burn_revision::alignment::Statistics;
use burn_revision::device::from_environment;
use burn_revision::embedding::Store;
use burn_revision::language::{LanguageModel, Pretrained};
use burn_revision::revision::*;
use burn_revision::training::{ProgressLine, keep_freed_memory};
use burn_revision::{Error, Result};

/// `train`: one stage, from its description to the folder of the model.
pub fn train(command: &TrainCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    let run = RunDescription::read(&command.config)?;
    let mut stage = run.stage.config();
    let device = from_environment()?;
    // The seed determines initial projectors and adapters, as it does the order of the samples.
    device.seed(stage.seed);
    let log = |line: String| {
        if !output.quiet {
            eprintln!("{line}");
        }
    };
    let mut saved = start(&run, &device)?.with_stage(&stage)?;
    if let Some(adapters) = saved.lora() {
        if run.stage.lora.is_some() && adapters.to_string() != stage.lora.to_string() {
            let detail = format!("the model has adapters already, with other settings: {adapters}");
            return Err(Error::config("lora", detail));
        }
        stage.lora = adapters.clone();
    }
    saved.template = run.data.template.unwrap_or(saved.template);
    if let Some(stats) = run.data.stats.as_ref().or(run.data.aligned_with.as_ref()) {
        saved = saved.with_alignment(Statistics::load(stats)?)?;
    } else if run.data.embeddings.is_some() && saved.alignment().is_none() {
        log("note: [data] names no `stats` or `aligned_with`: the model will not know how its texts were aligned".into());
    }
    saved = encoder_record::declared(saved, &run.data)?;
    let (train, report) = dataset(&run, &run.data.conversations, &saved, true, &device)?;
    train.check(&saved.model)?;
    log(format!("training data: {report}"));
    let mut outcome = Outcome::default();
    outcome.entry("data", json!(report));
    let valid = match &run.data.valid {
        None => None,
        Some(path) => {
            let (valid, report) = dataset(&run, path, &saved, false, &device)?;
            valid.check(&saved.model)?;
            log(format!("validation data: {report}"));
            outcome.entry("valid_data", json!(report));
            Some(valid)
        }
    };
    if command.dry_run {
        outcome.line(format!("{report}"));
        return Ok(outcome);
    }

    let label = format!("{}", run.output.file_name().unwrap_or_default().display());
    let mut learner =
        ReVisionLearner::new(stage.clone(), &run.output).with_label(label).with_stop(interrupted().clone());
    if command.resume {
        learner = learner.resume();
    }
    if output.quiet {
        learner = learner.with_renderer(Box::new(ProgressLine::quiet()));
    }
    #[cfg(feature = "tui")]
    if command.tui {
        learner = learner.with_renderer(curves()?);
    }
    let result = learner.fit(saved.model, train, valid)?;
    let folder = run.output.join("model");
    saved.model = result.model;
    saved.save(&folder)?;
    outcome.line(format!("{} steps, the model is in {}", result.steps, folder.display()));
    if result.skipped_steps > 0 {
        outcome.line(format!("{} steps were skipped: their gradients were not finite", result.skipped_steps));
    }
    if let Some(loss) = result.valid_loss {
        outcome.line(format!("validation loss {loss:.4}"));
    }
    outcome.entry("model", folder.display().to_string());
    outcome.entry("encoder", json!(saved.encoder()));
    outcome.entry("steps", result.steps);
    outcome.entry("skipped_steps", result.skipped_steps);
    outcome.entry("valid_loss", json!(result.valid_loss));
    Ok(outcome)
}

/// burn-train's curves, which take Ctrl-C from the program.
#[cfg(feature = "tui")]
fn curves() -> Result<Box<dyn burn::train::renderer::MetricsRenderer>> {
    if !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return Err(Error::config("--tui", "curves need a terminal, and standard output is none"));
    }
    let keyboard = interrupted().interrupter().clone();
    Ok(Box::new(burn::train::renderer::tui::TuiMetricsRendererWrapper::new(keyboard, None)))
}

/// The model at the start of a run.
fn start(run: &RunDescription, device: &Device) -> Result<SavedReVision> {
    if let Some(from) = &run.from {
        return SavedReVision::load(from, device);
    }
    let (path, projector) = match (&run.language_model, &run.projector) {
        (Some(path), Some(projector)) => (path, projector),
        _ => unreachable!("the description was checked"),
    };
    let precision = run.precision.map_or(FloatDType::F32, FloatDType::from);
    let Pretrained { model: language, tokenizer } = load_language_model(path, precision, device)?;
    let dim = match (&projector.weights, &run.data.embeddings) {
        (Some(weights), _) => Projector::read(weights, device)?.input(),
        (None, Some(embeddings)) => Store::open_with(embeddings, &run.data.store_options())?.dim(),
        (None, None) => language.width(),
    };
    let revision = ReVisionConfig::new(dim)
        .with_projector(projector.kind.unwrap_or(ProjectorKind::MlpGelu(2)))
        .with_num_visual_tokens(projector.num_visual_tokens);
    let mut model = revision.init(language, device)?;
    if let Some(weights) = &projector.weights {
        model = model.with_projector(Projector::read(weights, device)?)?;
    }
    Ok(SavedReVision::new(model, tokenizer, absolute_path(path), precision))
}

/// A published language model, after what is worth knowing about its files.
pub fn load_language_model(path: &Path, precision: FloatDType, device: &Device) -> Result<Pretrained> {
    for notice in Pretrained::notices(path)? {
        eprintln!("{}: {notice}", path.display());
    }
    Pretrained::load(path, precision, device)
}

/// The path of a language model from any working directory; names on the Hub are unchanged.
pub fn absolute_path(path: &Path) -> std::path::PathBuf {
    match path.exists() {
        true => std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
        false => path.to_path_buf(),
    }
}

/// The default limit on the tokens of a conversation, as in the paper: the longest sequence of a model may be far more than
/// a machine has memory for.
const MAX_LENGTH: usize = 2048;

fn dataset(
    run: &RunDescription,
    conversations: &Path,
    saved: &SavedReVision,
    is_training: bool,
    device: &Device,
) -> Result<(ConversationDataset, DatasetReport)> {
    let data = &run.data;
    let pictures = data.valid_embeddings.as_ref().filter(|_| !is_training);
    let source = pictures.or(data.embeddings.as_ref()).map(|path| {
        let store = Store::open_with(path, &data.store_options())?;
        let noise = if is_training { data.noise } else { 0.0 };
        let source = match (pictures, &data.stats, &data.aligned_with) {
            (None, Some(_), _) => {
                let aligner = saved.alignment().expect("the statistics were read").init(device)?;
                VisualSource::open(&store, noise)?.with_texts_aligned(aligner, device)
            }
            (None, None, Some(_)) => VisualSource::open(&store, noise),
            _ => saved.pictures(&store, device)?.with_noise(noise),
        };
        source?.with_id_match(data.id_match)
    });
    let model = &saved.model;
    let longest = model.language.max_positions().saturating_sub(model.num_visual_tokens());
    let mut conversations = read_conversations(conversations)?;
    let (dataset, mut report) = ConversationDataset::collect(
        conversations.by_ref(),
        saved.template,
        &saved.tokenizer,
        data.max_length.unwrap_or(MAX_LENGTH).min(longest),
        source.transpose()?.map(Arc::new),
        data.bad_samples,
    )?;
    report.mended = conversations.mended();
    Ok((dataset, report))
}
