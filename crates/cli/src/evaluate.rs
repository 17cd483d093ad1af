use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::args::OutputOptions;
use super::benchmark::on_benchmark;
use super::generate::{check_dim, generation, open_pictures, pictures};
use super::model_args::EvalCommand;
use super::outcome::Outcome;
use burn_revision::device::from_environment;
use burn_revision::language::LanguageModel;
use burn_revision::revision::{ConversationDataset, SavedReVision, evaluate as measure, read_conversations};
use burn_revision::training::keep_freed_memory;
use burn_revision::{Result, atomic};

/// `eval`: a model measured on conversations, or on a published benchmark.
pub fn evaluate(command: &EvalCommand, output: &OutputOptions) -> Result<Outcome> {
    match &command.conversations {
        Some(conversations) => on_conversations(command, conversations, output),
        None => on_benchmark(command, output),
    }
}

fn on_conversations(command: &EvalCommand, conversations: &Path, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    let device = from_environment()?;
    let writing = generation(&command.writing)?;
    let saved = SavedReVision::load_for_inference(&command.model, command.weights.storage(), &device)?;
    let store = open_pictures(&command.pictures)?;
    let source = pictures(&command.pictures, &store, &saved, &device)?.with_id_match(command.id_match)?;
    let SavedReVision { model, tokenizer, template, .. } = saved;
    check_dim(&source, &model)?;
    let mut conversations = read_conversations(conversations)?;
    let (dataset, mut report) = ConversationDataset::collect(
        conversations.by_ref().take(command.samples.unwrap_or(usize::MAX)),
        template,
        &tokenizer,
        model.language.max_positions().saturating_sub(model.num_visual_tokens()),
        Some(Arc::new(source)),
        command.bad_samples,
    )?;
    report.mended = conversations.mended();
    if !output.quiet {
        eprintln!("{report}");
    }
    let (scores, captions) = measure(&model, &dataset, &tokenizer, &writing, writing.batch_size, &device)?;
    if let Some(path) = &command.output {
        atomic::write(path, |file| {
            dataset.samples().iter().zip(&captions).try_for_each(|(sample, text)| {
                writeln!(file, "{}", json!({ "id": sample.id, "image": sample.image, "text": text.trim() }))
            })
        })?;
    }
    let mut outcome = Outcome::default();
    outcome.line(format!(
        "NLL {:.4} (perplexity {:.2}) over {} tokens of {} samples",
        scores.nll,
        scores.nll.exp(),
        scores.tokens,
        scores.samples
    ));
    outcome.line(format!(
        "word F1 {:.4}  exact match {:.4}  BLEU-4 {:.4}  ROUGE-L {:.4}  CIDEr-D {}",
        scores.word_f1,
        scores.exact_match,
        scores.bleu_4,
        scores.rouge_l,
        scores.cider_d.map_or_else(|| "-".to_string(), |cider| format!("{cider:.4}")),
    ));
    outcome.entry("scores", json!(scores));
    outcome.entry("data", json!(report));
    outcome.notes([&store]);
    Ok(outcome)
}
