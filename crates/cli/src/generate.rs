use std::io::Write;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::json;

use super::args::OutputOptions;
use super::model_args::{GenerateCommand, PicturesOptions, WritingOptions};
use super::outcome::Outcome;
use super::progress::interrupted;
use burn_revision::alignment::{Aligner, Statistics, align_table};
use burn_revision::device::from_environment;
use burn_revision::embedding::{NonFinite, Record, Store, StoreOptions};
use burn_revision::language::{GenerationConfig, LanguageModel};
use burn_revision::revision::*;
use burn_revision::training::keep_freed_memory;
use burn_revision::{Error, Result};

/// `generate`: texts about embeddings.
pub fn generate(command: &GenerateCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    let device = from_environment()?;
    let SavedReVision { model, tokenizer, template, .. } = SavedReVision::load(&command.model, &device)?;
    // Adapters are merged into the weights once, not at every token.
    let model = model.materialize();
    // Rows are read and aligned as they are asked for, from stores of any size.
    let store = Store::open_with(
        &command.pictures.embeddings,
        &StoreOptions { key: command.pictures.key.clone(), ..StoreOptions::default() },
    )?;
    let source = VisualSource::open(&store, 0.0)?;
    let aligner = aligner(&command.pictures, &store, &device)?;
    check_dim(&source, &model)?;
    let ids = match command.ids.is_empty() {
        true => store.records().map(|record| record.map(|record| id(&record))).collect::<Result<_>>()?,
        false => command.ids.clone(),
    };
    let rows: Vec<usize> = ids
        .iter()
        .map(|id| {
            let what = command.pictures.embeddings.display().to_string();
            source.position(id).ok_or_else(|| Error::MissingId { what, id: id.clone() })
        })
        .collect::<Result<_>>()?;
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
    let size = command.writing.batch_size.max(1);
    for (batch, (ids, rows)) in ids.chunks(size).zip(rows.chunks(size)).enumerate() {
        let writing = writing.clone().with_first_sequence((batch * size) as u64);
        if interrupted().is_requested() {
            return Err(Error::Interrupted);
        }
        let shown = source.show(rows, 0, 0)?;
        let mut visual =
            Tensor::from_data(TensorData::new(shown, [rows.len(), source.dim()]), (&device, DType::F32));
        if let Some(aligner) = &aligner {
            let numbers: Vec<u64> = rows.iter().map(|row| *row as u64).collect();
            visual = aligner.align_rows(visual, 0, &numbers);
        }
        for (id, tokens) in ids.iter().zip(model.generate(&sample, visual, &end, &writing)) {
            let text = tokenizer.decode(&tokens).trim().to_string();
            if !output.json && !output.quiet {
                let line = text.replace('\n', " ");
                if writeln!(std::io::stdout(), "{id}\t{line}").is_err() {
                    // The reader has closed the pipe.
                    return Ok(Outcome::default());
                }
            }
            texts.push(json!({ "id": id, "text": text }));
        }
    }
    outcome.entry("texts", json!(texts));
    Ok(outcome)
}

/// The id of a record of a store, which is text or a number.
fn id(record: &Record) -> String {
    match &record["id"] {
        serde_json::Value::String(id) => id.clone(),
        id => id.to_string(),
    }
}

/// The method whose statistics are named, for rows of the store.
fn aligner(
    options: &PicturesOptions,
    store: &Store,
    device: &Device,
) -> Result<Option<Box<dyn Aligner + Sync>>> {
    let Some(stats) = &options.stats else { return Ok(None) };
    let statistics = Statistics::load(stats)?;
    if statistics.dim() != store.dim() {
        return Err(Error::mismatch(
            "dimension of embeddings for the statistics",
            statistics.dim(),
            store.dim(),
        ));
    }
    statistics.init(device).map(Some)
}

/// Embeddings of pictures, or of texts that are aligned first.
pub fn pictures(options: &PicturesOptions, device: &Device) -> Result<VisualSource> {
    let store = Store::open_with(
        &options.embeddings,
        &StoreOptions { key: options.key.clone(), ..StoreOptions::default() },
    )?;
    let Some(aligner) = aligner(options, &store, device)? else { return VisualSource::open(&store, 0.0) };
    let aligned = align_table(aligner.as_ref(), &store.read_table()?, NonFinite::Error, 0, device)?;
    VisualSource::new(aligned.0, 0.0, NonFinite::Error)
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

pub fn check_dim(
    source: &VisualSource,
    model: &ReVision<burn_revision::language::LlamaDecoder>,
) -> Result<()> {
    match (model.projector.input(), source.dim()) {
        (expected, found) if expected == found => Ok(()),
        (expected, found) => {
            Err(Error::mismatch("dimension of embeddings for the projector", expected, found))
        }
    }
}

pub fn generation(options: &WritingOptions) -> Result<GenerationConfig> {
    for (name, value) in [("temperature", options.temperature), ("top-p", options.top_p)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::config(name, format!("must be finite and at least 0, found {value}")));
        }
    }
    Ok(GenerationConfig::new()
        .with_max_new_tokens(options.max_new_tokens)
        .with_temperature(options.temperature)
        .with_top_p(options.top_p)
        .with_seed(options.seed))
}
