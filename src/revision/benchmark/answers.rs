use burn::tensor::{Device, Tensor};

use super::Benchmark;
use super::question::BenchmarkQuestion;
use crate::language::{GenerationConfig, LanguageModel, Tokenizer, generate_each};
use crate::revision::{
    Batch, Conversation, IMAGE_PLACEHOLDER, ReVision, Role, Sample, Template, Turn, VisualSource,
};
use crate::{Error, Result};

/// Asks a model the questions of a benchmark, `generation.batch_size` of them together, on which no answer depends.
///
/// # Arguments
///
/// * `pictures` - Embeddings, in which each question's picture is found by one of its names.
/// * `answered` - Is called with each answer as it is there; its error ends the work.
///
/// # Returns
///
/// The answers without space around them, for [`Benchmark::score`].
///
/// # Errors
///
/// [`Error::MissingId`] for a picture that is not among the embeddings, [`Error::Sample`] for a question that leaves the model
/// no position for an answer, [`Error::Config`] for the template `plain`, which has no questions, and what
/// [`generate`](crate::language::generate) refuses.
#[expect(clippy::too_many_arguments, reason = "a model, its text, its pictures and where they are")]
pub fn answer_benchmark<L: LanguageModel>(
    model: &ReVision<L>,
    benchmark: &Benchmark,
    pictures: &VisualSource,
    tokenizer: &Tokenizer,
    template: Template,
    generation: &GenerationConfig,
    device: &Device,
    mut answered: impl FnMut(&BenchmarkQuestion, &str) -> Result<()>,
) -> Result<Vec<String>> {
    generation.validate()?;
    if template == Template::Plain {
        return Err(Error::config("benchmark", "the model's template `plain` has no questions"));
    }
    let end = template.stops(tokenizer)?;
    let questions = benchmark.questions();
    // A picture that is missing is no reason to stop half-way.
    let rows = questions.iter().map(|question| row(question, pictures)).collect::<Result<Vec<_>>>()?;
    let mut answers = Vec::with_capacity(questions.len());
    for (questions, rows) in questions.chunks(generation.batch_size).zip(rows.chunks(generation.batch_size)) {
        let prompts = questions.iter().zip(rows).map(|(question, row)| {
            let embedding = row.map(|row| pictures.show(&[row], 0, 0)).transpose()?;
            prompt(model, question, embedding, template, tokenizer, device)
        });
        let prompts = prompts.collect::<Result<Vec<_>>>()?;
        let config = generation.clone().with_first_sequence(generation.first_sequence + answers.len() as u64);
        let texts = generate_each(&model.language, prompts, &end, &config)?;
        for (question, tokens) in questions.iter().zip(texts) {
            let answer = tokenizer.decode(&tokens).trim().to_string();
            answered(question, &answer)?;
            answers.push(answer);
        }
    }
    Ok(answers)
}

/// The row of the question's picture, where it has one.
fn row(question: &BenchmarkQuestion, pictures: &VisualSource) -> Result<Option<usize>> {
    if question.pictures.is_empty() {
        return Ok(None);
    }
    let found = question.pictures.iter().find_map(|name| pictures.position(name));
    found.map(Some).ok_or_else(|| Error::MissingId {
        what: format!("the embeddings for question {}", question.id),
        id: question.pictures.join(", "),
    })
}

/// The embeddings of a question with its picture, `[1, time, width]`.
fn prompt<L: LanguageModel>(
    model: &ReVision<L>,
    question: &BenchmarkQuestion,
    embedding: Option<Vec<f32>>,
    template: Template,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<Tensor<3>> {
    let text = match embedding {
        Some(_) => format!("{IMAGE_PLACEHOLDER}\n{}", question.prompt),
        None => question.prompt.clone(),
    };
    let conversation = Conversation {
        id: question.id.clone(),
        image: embedding.is_some().then(String::new),
        turns: vec![Turn::new(Role::Human, text)],
    };
    let mut sample: Sample = template.prompt(&conversation, tokenizer)?;
    sample.embedding = embedding;
    let prompt = model.splice(&Batch::new(&[sample], model.num_visual_tokens(), device));
    let (length, positions) = (prompt.dims()[1], model.language.max_positions());
    if length >= positions {
        let detail = format!("its {length} positions leave none for an answer; the model has {positions}");
        return Err(Error::sample(&question.id, detail));
    }
    Ok(prompt)
}
