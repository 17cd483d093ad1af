use std::io::Write;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::json;

use super::args::OutputOptions;
use super::encoder_record;
use super::model_args::{GenerateCommand, PicturesOptions, WritingOptions};
use super::outcome::Outcome;
use super::progress::interrupted;
use burn_revision::alignment::Statistics;
use burn_revision::device::from_environment;
use burn_revision::embedding::{Modality, Record, Store, StoreOptions};
use burn_revision::language::{GenerationConfig, InferenceDecoder, LanguageModel};
use burn_revision::revision::*;
use burn_revision::training::keep_freed_memory;
use burn_revision::{Error, Result};

/// `generate`: texts about embeddings.
pub fn generate(command: &GenerateCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    let device = from_environment()?;
    let saved = SavedReVision::load_for_inference(&command.model, command.weights.storage(), &device)?;
    let store = open_pictures(&command.pictures)?;
    let source = pictures(&command.pictures, &store, &saved, &device)?;
    let SavedReVision { model, tokenizer, template, .. } = saved;
    check_dim(&source, &model)?;
    if template == Template::Plain && command.prompt.is_some() {
        return Err(Error::config(
            "prompt",
            "the model was trained with the template `plain`, which has no questions",
        ));
    }
    let prompt = question(command.prompt.as_deref(), template);
    let conversation = Conversation {
        id: "prompt".into(),
        image: Some(String::new()),
        turns: vec![Turn::new(Role::Human, prompt)],
    };
    let sample = template.prompt(&conversation, &tokenizer)?;
    let length = sample.tokens.len() + model.num_visual_tokens();
    let max_positions = model.language.max_positions();
    if length >= max_positions {
        return Err(Error::config("prompt", format!("{length} positions; the model has {max_positions}")));
    }
    let (end, writing) = (template.stops(&tokenizer)?, generation(&command.writing)?);

    let mut outcome = Outcome::default();
    let mut texts = Vec::new();
    let mut asked = asked(command, &store, &source)?;
    for batch in 0.. {
        let (ids, rows): (Vec<String>, Vec<usize>) =
            asked.by_ref().take(writing.batch_size).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        if ids.is_empty() {
            break;
        }
        if interrupted().is_requested() {
            return Err(Error::Interrupted);
        }
        let writing = writing.clone().with_first_sequence((batch * writing.batch_size) as u64);
        let shown = TensorData::new(source.show(&rows, 0, 0)?, [rows.len(), source.dim()]);
        let visual = Tensor::from_data(shown, (&device, DType::F32));
        for (id, tokens) in ids.iter().zip(model.generate(&sample, visual, &end, &writing)?) {
            let text = tokenizer.decode(&tokens).trim().to_string();
            if output.json {
                texts.push(json!({ "id": id, "text": text }));
            } else if !output.quiet {
                let line = text.replace('\n', " ");
                if writeln!(std::io::stdout(), "{id}\t{line}").is_err() {
                    // The reader has closed the pipe.
                    return Ok(Outcome::default());
                }
            }
        }
    }
    outcome.entry("texts", json!(texts));
    outcome.notes([&store]);
    Ok(outcome)
}

/// Ids and the rows that they name.
type Asked<'a> = Box<dyn Iterator<Item = Result<(String, usize)>> + 'a>;

/// The ids and rows that are asked for; without `--ids` those of the whole store, one after the other.
fn asked<'a>(command: &'a GenerateCommand, store: &'a Store, source: &'a VisualSource) -> Result<Asked<'a>> {
    let place = |id: String| match source.position(&id) {
        Some(row) => Ok((id, row)),
        None => Err(Error::MissingId { what: command.pictures.embeddings.display().to_string(), id }),
    };
    if command.ids.is_empty() {
        return Ok(Box::new(store.records().map(move |record| place(id(&record?)))));
    }
    // A misspelt id is no reason to stop half-way.
    let found = command.ids.iter().cloned().map(place).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(found.into_iter().map(Ok)))
}

/// The id of a record of a store, which is text or a number.
fn id(record: &Record) -> String {
    match &record["id"] {
        serde_json::Value::String(id) => id.clone(),
        id => id.to_string(),
    }
}

/// The store of pictures, or of texts that stand in for them.
pub fn open_pictures(options: &PicturesOptions) -> Result<Store> {
    let modality = if options.stats.is_some() { Modality::Text } else { Modality::Image };
    let (key, id_column) = (options.key.clone(), options.id_column.clone());
    let how = StoreOptions { key, id_column, modality: Some(modality), ..StoreOptions::default() };
    Store::open_with(&options.embeddings, &how)
}

/// Embeddings as the model was trained to see them: pictures, or with `--stats` texts that are aligned as they are read.
pub fn pictures(
    options: &PicturesOptions,
    store: &Store,
    saved: &SavedReVision<InferenceDecoder>,
    device: &Device,
) -> Result<VisualSource> {
    encoder_record::check(store, saved)?;
    match &options.stats {
        Some(path) => {
            let statistics = Statistics::load(path)?;
            if statistics.dim() != store.dim() {
                let what = format!("dimension of {} for the statistics", store.place().display());
                return Err(Error::mismatch(what, statistics.dim(), store.dim()));
            }
            saved.check_alignment(&statistics)?;
            VisualSource::open(store, 0.0)?.with_texts_aligned(statistics.init(device)?, device)
        }
        None if options.aligned => VisualSource::open(store, 0.0),
        None => saved.pictures(store, device),
    }
}

/// The question with the mark of the picture.
fn question(prompt: Option<&str>, template: Template) -> String {
    let text = match (prompt, template) {
        (Some(prompt), _) if prompt.contains(IMAGE_PLACEHOLDER) => return prompt.to_string(),
        (Some(prompt), _) => prompt,
        (None, Template::Plain | Template::Completion) => "",
        (None, _) => "Describe the picture.",
    };
    format!("{IMAGE_PLACEHOLDER}\n{text}").trim_end().to_string()
}

pub fn check_dim(source: &VisualSource, model: &ReVision<InferenceDecoder>) -> Result<()> {
    match (model.projector.input(), source.dim()) {
        (expected, found) if expected == found => Ok(()),
        (expected, found) => {
            Err(Error::mismatch("dimension of embeddings for the projector", expected, found))
        }
    }
}

pub fn generation(options: &WritingOptions) -> Result<GenerationConfig> {
    let config = GenerationConfig::new()
        .with_max_new_tokens(options.max_new_tokens)
        .with_temperature(options.temperature)
        .with_top_k(options.top_k)
        .with_top_p(options.top_p)
        .with_seed(options.seed)
        .with_batch_size(options.batch_size);
    config.validate()?;
    Ok(config)
}
