use std::io::Write;

use serde_json::json;

use super::args::OutputOptions;
use super::generate::{check_dim, generation, open_pictures, pictures};
use super::model_args::EvalCommand;
use super::outcome::Outcome;
use super::progress::interrupted;
use burn_revision::device::from_environment;
use burn_revision::revision::{Benchmark, BenchmarkOptions, SavedReVision, answer_benchmark};
use burn_revision::training::keep_freed_memory;
use burn_revision::{Error, Result, atomic};

/// `eval --benchmark`: the scores of a published benchmark, by its own rules.
pub fn on_benchmark(command: &EvalCommand, output: &OutputOptions) -> Result<Outcome> {
    keep_freed_memory();
    let device = from_environment()?;
    let writing = generation(&command.writing)?;
    let arguments = &command.benchmark;
    let options = BenchmarkOptions {
        kind: arguments.benchmark_kind,
        annotations: arguments.annotations.clone(),
        split: arguments.split.clone(),
        instruction: arguments.instruction.clone(),
        circular: arguments.circular,
    };
    let mut benchmark = Benchmark::read(&arguments.benchmark, &options)?;
    if let Some(samples) = command.samples {
        benchmark.truncate(samples);
    }
    let saved = SavedReVision::load_for_inference(&command.model, command.weights.storage(), &device)?;
    let store = open_pictures(&command.pictures)?;
    let source = pictures(&command.pictures, &store, &saved, &device)?.with_id_match(command.id_match)?;
    let SavedReVision { model, tokenizer, template, .. } = saved;
    check_dim(&source, &model)?;
    let total = benchmark.questions().len();
    let mut done = 0;
    let answers =
        answer_benchmark(&model, &benchmark, &source, &tokenizer, template, &writing, &device, |_, _| {
            done += 1;
            if !output.quiet && (done % 100 == 0 || done == total) {
                eprintln!("{done} of {total} questions answered");
            }
            if interrupted().is_requested() { Err(Error::Interrupted) } else { Ok(()) }
        })?;
    if let Some(path) = &command.output {
        atomic::write(path, |file| {
            benchmark.questions().iter().zip(&answers).try_for_each(|(question, answer)| {
                let line = json!({
                    "question_id": question.id, "category": question.category, "prompt": question.prompt, "text": answer,
                });
                writeln!(file, "{line}")
            })
        })?;
    }
    let scores = benchmark.score(&answers)?;
    let mut outcome = Outcome::default();
    outcome.line(scores.to_string());
    outcome.entry("scores", json!(scores));
    outcome.notes([&store]);
    Ok(outcome)
}
