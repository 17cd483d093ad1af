use std::io::Write;
use std::path::Path;

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use serde::Serialize;
use serde_json::json;

use super::args::OutputOptions;
use super::contrast_args::ContrastCommand;
use super::encoder_record;
use super::outcome::Outcome;
use super::progress::interrupted;
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, Record, Store, write_table_with_records};
use burn_revision::encoder::{
    ContrastTraining, ContrastWatch, Contrasted, ContrastiveHeadsConfig, FeaturePairs, GapTrackerConfig,
    HeadConfig, HeadsFolder, Item, PretrainedEncoder, TextList, TowerReference,
};
use burn_revision::training::{ProgressLine, keep_freed_memory};
use burn_revision::{Error, Result, atomic};

/// `contrast`: heads on two towers, from features to the folder of an encoder.
pub fn contrast(command: &ContrastCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    if command.output.join("config.json").exists() && !command.overwrite {
        let detail = format!("{} has an encoder already: --overwrite replaces it", command.output.display());
        return Err(Error::config("output", detail));
    }
    // Before anything is trained.
    for rows in [&command.image_rows, &command.text_rows].into_iter().flatten() {
        if rows.exists() && !command.overwrite {
            let detail = format!("{} is there already: --overwrite replaces it", rows.display());
            return Err(Error::config("output", detail));
        }
    }
    let device = from_environment()?;
    device.seed(command.seed);
    let towers =
        [tower(&command.image_tower, &command.output)?, tower(&command.text_tower, &command.output)?];
    let (images, texts) = (Store::open(&command.images)?, Store::open(&command.texts)?);
    let pairs = pairs(command, &images, &texts)?;
    check_widths(command, &pairs, &device)?;
    let (train, valid) = pairs.split(command.validation, command.seed)?;

    let config = config(command, &train);
    let [image_columns, text_columns] = train.columns();
    let heads = config.init(&image_columns, &text_columns, &device)?;
    let training = ContrastTraining::new()
        .with_epochs(command.epochs)
        .with_batch_size(command.batch_size)
        .with_learning_rate(command.learning_rate)
        .with_weight_decay(command.weight_decay)
        .with_patience(command.patience)
        .with_seed(command.seed);
    let steps = command.epochs * train.len().div_ceil(command.batch_size.max(1));
    let tracker = GapTrackerConfig::new()
        .with_every(command.track_every)
        // The frame is that of the middle of the training.
        .with_freeze_at(steps / 2)
        .without_probe()?;
    let watch = ContrastWatch {
        line: (!output.quiet).then(|| ProgressLine::new("contrast", 0, steps)),
        tracker: (!valid.is_empty()).then_some(tracker),
        stop: interrupted().clone(),
    };
    let trained = training.fit(heads, &train, &valid, watch, &device)?;

    let [image_tower, text_tower] = towers;
    HeadsFolder::new(config, image_tower, text_tower).write(&command.output, &trained.heads)?;
    write_lines(&command.output.join("epochs.jsonl"), &trained.epochs)?;
    let gaps = trained.tracker.as_ref().map(|tracker| tracker.records()).unwrap_or_default();
    write_lines(&command.output.join("gap.jsonl"), gaps)?;
    let heads = &trained.heads;
    // Models that learn from these rows know the encoder by it.
    let record = PretrainedEncoder::open(&command.output)?.record()?;
    if let Some(path) = &command.image_rows {
        write_rows(&images, path, &device, |features| heads.embed_images(features))?;
        encoder_record::write(record.as_ref(), path)?;
    }
    if let Some(path) = &command.text_rows {
        write_rows(&texts, path, &device, |features| heads.embed_texts(features))?;
        encoder_record::write(record.as_ref(), path)?;
    }
    let mut outcome = outcome(command, &trained, &train, &valid, pairs.unpaired());
    outcome.notes([&images, &texts]);
    Ok(outcome)
}

/// A tower, which has to be one, and how the folder names it.
fn tower(path: &Path, output: &Path) -> Result<TowerReference> {
    TowerReference::new(path, &PretrainedEncoder::open(path)?.fingerprint()?, output)
}

/// Refuses features that cannot be those of the towers, before anything is trained on them.
fn check_widths(command: &ContrastCommand, pairs: &FeaturePairs, device: &Device) -> Result<()> {
    let image = PretrainedEncoder::open(&command.image_tower)?.image(FloatDType::F32, device)?.dim();
    let text = PretrainedEncoder::open(&command.text_tower)?.text(FloatDType::F32, device)?.dim();
    for (what, expected, found) in [
        (format!("width of {} (as of the tower)", command.images.display()), image, pairs.image_dim()),
        (format!("width of {} (as of the tower)", command.texts.display()), text, pairs.text_dim()),
    ] {
        if expected != found {
            return Err(Error::mismatch(what, expected, found));
        }
    }
    Ok(())
}

fn pairs(command: &ContrastCommand, images: &Store, texts: &Store) -> Result<FeaturePairs> {
    if let Some(path) = &command.pairs {
        // A picture may stand in it several times.
        let list = TextList::read(path, Some("text"), None)?;
        let pair =
            |(row, item): (usize, &Item<String>)| match item.record.get("image").and_then(|id| id.as_str()) {
                Some(image) => Ok((image.to_string(), item.content.clone())),
                None => {
                    let fields: Vec<&String> = item.record.keys().collect();
                    let detail = format!(
                        "row {row}: expected the id of a picture in \"image\", found the fields {fields:?}"
                    );
                    Err(Error::Format { path: path.clone(), detail })
                }
            };
        let list: Vec<(String, String)> = list.items().iter().enumerate().map(pair).collect::<Result<_>>()?;
        return FeaturePairs::of_list(images, texts, &list);
    }
    let only = match command.only.as_deref().map(|only| (only, only.split_once('='))) {
        None => None,
        Some((_, Some(both))) => Some(both),
        Some((only, None)) => {
            return Err(Error::config("only", format!("expected FIELD=VALUE, found {only:?}")));
        }
    };
    FeaturePairs::of_stores(images, texts, command.pair_by.as_deref(), only)
}

fn config(command: &ContrastCommand, train: &FeaturePairs) -> ContrastiveHeadsConfig {
    let [image_is_unit, text_is_unit] = train.is_unit();
    let head = |input, is_unit| {
        HeadConfig::new(input, command.dim)
            .with_hidden_dim(command.hidden)
            .with_dropout(command.dropout)
            .with_unit_input(is_unit)
    };
    ContrastiveHeadsConfig::new(head(train.image_dim(), image_is_unit), head(train.text_dim(), text_is_unit))
        .with_logit_scale(command.logit_scale.clone())
}

/// Writes what heads make of the features of a store, with its records.
fn write_rows(
    store: &Store,
    path: &Path,
    device: &Device,
    embed: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Result<()> {
    let (table, mut rows) = (store.read_table()?, Vec::new());
    for part in table.rows().chunks(1024 * table.dim()) {
        let features = TensorData::new(part.to_vec(), [part.len() / table.dim(), table.dim()]);
        let embedded = embed(Tensor::from_data(features, (device, DType::F32)));
        rows.extend(embedded.into_data().try_into_vec::<f32>().expect("heads are float32"));
    }
    let dim = rows.len() / table.len();
    for (row, values) in rows.chunks_exact(dim).enumerate() {
        // Features far outside those of the training overflow on the way, and have no place in the common space.
        let square: f32 = values.iter().map(|value| value * value).sum();
        if (square - 1.0).abs() > 0.01 || square.is_nan() {
            let largest = table.row(row).iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            let detail = format!(
                "row {row} ({:?}): the head makes a row of length {:e} of it, expected 1; its largest feature is {largest:e}",
                table.ids()[row],
                square.sqrt()
            );
            return Err(Error::format(store.place(), detail));
        }
    }
    let records: Vec<Record> = store.records().collect::<Result<_>>()?;
    write_table_with_records(&EmbeddingTable::new(table.ids().to_vec(), rows, dim)?, &records, path)
}

fn write_lines<T: Serialize>(path: &Path, records: &[T]) -> Result<()> {
    atomic::write(path, |file| records.iter().try_for_each(|record| writeln!(file, "{}", json!(record))))
}

fn outcome(
    command: &ContrastCommand,
    trained: &Contrasted,
    train: &FeaturePairs,
    valid: &FeaturePairs,
    unpaired: usize,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut line = format!("trained on {} pairs, held out {}", train.len(), valid.len());
    if unpaired > 0 {
        line += &format!("; {unpaired} pictures have no text");
    }
    outcome.line(line);
    let epoch = &trained.epochs[trained.best - 1];
    outcome.line(format!(
        "epoch {} of {}: loss {:.3}, scale of the logits {:.1}",
        trained.best,
        trained.epochs.len(),
        epoch.loss,
        epoch.logit_scale
    ));
    if !valid.is_empty() {
        for (what, [first, five, ten]) in
            [("texts for a picture", epoch.image_to_text), ("pictures for a text", epoch.text_to_image)]
        {
            outcome.line(format!("held-out {what}: R@1 {first:.3}, R@5 {five:.3}, R@10 {ten:.3}"));
        }
        outcome.line(format!("held-out gap: {:.3}", epoch.gap));
    }
    if trained.skipped > 0 {
        outcome.line(format!("{} steps were left out: gradients not finite", trained.skipped));
    }
    outcome.line(format!("encoder in {}", command.output.display()));
    outcome.entry("train", json!(train.len()));
    outcome.entry("held_out", json!(valid.len()));
    outcome.entry("unpaired", json!(unpaired));
    outcome.entry("best", json!(trained.best));
    outcome.entry("epochs", json!(trained.epochs));
    outcome
}
