use burn::tensor::FloatDType;

use super::model_args::{ExportCommand, ImportCommand};
use super::outcome::Outcome;
use super::train::{absolute_path, load_language_model};
use burn_revision::device::from_environment;
use burn_revision::language::Pretrained;
use burn_revision::revision::{Projector, ReVisionConfig, SavedReVision};
use burn_revision::{Error, Result};

/// `export`: the projector of a model as a file.
pub fn export(command: &ExportCommand) -> Result<Outcome> {
    let projector = SavedReVision::load_projector(&command.model, &from_environment()?)?;
    projector.write(&command.output, command.dtype)?;
    let mut outcome = Outcome::default();
    outcome.line(format!(
        "{} from {} to {} dimensions in {}",
        projector.kind(),
        projector.input(),
        projector.output(),
        command.output.display()
    ));
    outcome.entry("kind", projector.kind().to_string());
    outcome.entry("output", command.output.display().to_string());
    Ok(outcome)
}

/// `import`: a model from a projector and a language model.
pub fn import(command: &ImportCommand) -> Result<Outcome> {
    if command.output.exists() {
        return Err(Error::config("output", format!("{} is there already", command.output.display())));
    }
    let (device, precision) = (from_environment()?, FloatDType::from(command.precision));
    let projector = Projector::read(&command.projector, &device)?;
    let Pretrained { model: language, tokenizer } =
        load_language_model(&command.language_model, precision, &device)?;
    // An error now rather than at the first question.
    command.template.end(&tokenizer)?;
    let model = ReVisionConfig::new(projector.input())
        .with_projector(projector.kind())
        .with_num_visual_tokens(command.visual_tokens)
        .init(language, &device)?
        .with_projector(projector)?;
    let mut saved = SavedReVision::new(model, tokenizer, absolute_path(&command.language_model), precision);
    saved.template = command.template;
    saved.save(&command.output)?;
    let mut outcome = Outcome::default();
    outcome.line(format!("the model is in {}", command.output.display()));
    outcome.entry("model", command.output.display().to_string());
    Ok(outcome)
}
