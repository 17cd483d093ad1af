//! Asking: each question is put to the model, and the answer is the most likely of the 13.

use std::collections::HashMap;

use burn::data::dataset::Dataset;
use burn::tensor::{Device, Int, Tensor};
use burn_revision::Result;
use burn_revision::language::{LanguageModel, LlamaDecoder};
use burn_revision::revision::{Batch, Conversation, ConversationDataset, ReVision, Role, Sample, Turn};
use serde::{Deserialize, Serialize};

use super::language::{MAX_LEN, TEMPLATE, answer_tokens};
use super::pictures::Picture;
use super::words::{ANSWERS, Concept, Kind};
use super::world::World;

/// Questions that go through a model together.
const BATCH: usize = 256;

/// The share of questions that are answered rightly.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accuracy {
    pub all: f64,
    pub yes_no: f64,
    pub shape: f64,
    pub colour: f64,
    /// Of the questions about pairs of shape and colour that neither encoder nor stage 1 saw, where some were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<f64>,
    /// The right answers for each picture, in the order of the test pictures.
    pub right: Vec<usize>,
    /// The answer to each question, by its index, picture after picture.
    pub answers: Vec<usize>,
}

/// The most likely answer to each question of `data`, as an index of `answers`, which are tokens.
///
/// These are the tokens that greedy generation begins with, where it begins with an answer.
pub fn answer(
    model: &ReVision<LlamaDecoder>,
    data: &ConversationDataset,
    answers: &[u32],
    device: &Device,
) -> Result<Vec<usize>> {
    let answers: Vec<i64> = answers.iter().map(|token| i64::from(*token)).collect();
    let answers = Tensor::<1, Int>::from_data(answers.as_slice(), device);
    let mut order: Vec<usize> = (0..data.len()).collect();
    // Questions of similar length together: less padding.
    order.sort_by_key(|item| data.samples()[*item].tokens.len());
    let mut found = vec![0; data.len()];
    for items in order.chunks(BATCH) {
        let samples: Vec<Sample> = items.iter().map(|item| question(data, *item)).collect();
        let batch = Batch::new(&samples, model.num_visual_tokens(), device);
        let states = model.language.forward(model.splice(&batch), None);
        let [rows, time, width] = states.dims();
        // One label is left in each sample: its answer, which the state before it predicts.
        let states = states.reshape([rows * time, width]).select(0, batch.predicting.clone());
        let likely = model.language.logits(states).select(1, answers.clone()).argmax(1);
        for (item, answer) in items.iter().zip(likely.into_data().iter::<i64>()) {
            found[*item] = answer as usize;
        }
    }
    Ok(found)
}

/// A sample with its embedding, up to the first token of its answer.
fn question(data: &ConversationDataset, item: usize) -> Sample {
    let mut sample = data.get(item).expect("embeddings of a table can be shown");
    let end = sample.prompt_len() + 1;
    sample.tokens.truncate(end);
    sample.labelled.truncate(end);
    sample
}

/// Holds answers against the truth.
pub fn score(answers: Vec<usize>, pictures: &[&Picture], held_out: &[Concept]) -> Accuracy {
    let mut given = answers.iter();
    let mut marks = Vec::new();
    let mut right = Vec::new();
    for picture in pictures {
        let unseen = picture.concept.is_some_and(|concept| held_out.contains(&concept));
        let before = marks.len();
        for question in &picture.questions {
            marks.push((question.kind(), unseen, given.next() == Some(&question.answer)));
        }
        right.push(marks[before..].iter().filter(|(.., right)| *right).count());
    }
    let share = |wanted: &dyn Fn(Kind, bool) -> bool| {
        let (mut right, mut all) = (0, 0);
        for (kind, unseen, is_right) in &marks {
            if wanted(*kind, *unseen) {
                right += usize::from(*is_right);
                all += 1;
            }
        }
        right as f64 / f64::max(1.0, f64::from(all))
    };
    Accuracy {
        all: share(&|_, _| true),
        yes_no: share(&|kind, _| kind == Kind::YesNo),
        shape: share(&|kind, _| kind == Kind::Shape),
        colour: share(&|kind, _| kind == Kind::Colour),
        unseen: (!held_out.is_empty()).then(|| share(&|_, unseen| unseen)),
        right,
        answers,
    }
}

/// The most frequent answer to each question among the pictures of "real pairs", whatever is shown: what the questions give
/// away. In the package, what is asked for is mostly not there.
pub fn prior(world: &World) -> Accuracy {
    let mut counts: HashMap<&str, [usize; ANSWERS.len()]> = HashMap::new();
    for question in world.shares.pairs.iter().flat_map(|picture| &picture.questions) {
        counts.entry(&question.text).or_default()[question.answer] += 1;
    }
    let most = |counts: &[usize; ANSWERS.len()]| {
        (0..ANSWERS.len()).max_by_key(|answer| counts[*answer]).unwrap_or(0)
    };
    let asked = world.test.iter().flat_map(|picture| &picture.questions);
    let answers = asked.map(|question| counts.get(question.text.as_str()).map_or(0, most)).collect();
    score(answers, &world.test, &world.held_out)
}

/// The language model without a picture.
pub fn blind(world: &World) -> Result<Accuracy> {
    let asked = world.test.iter().flat_map(|picture| &picture.questions).map(|question| (None, question));
    let answers = without_pictures(world, asked)?;
    Ok(score(answers, &world.test, &world.held_out))
}

/// The language model with a true caption as text, of the pictures whose questions tell one: the most that it can do.
pub fn told(world: &World) -> Result<f64> {
    let asked: Vec<_> = world
        .test
        .iter()
        .filter_map(|picture| Some((picture.concept?.captions().next()?, &picture.questions)))
        .flat_map(|(caption, questions)| {
            questions.iter().map(move |question| (Some(caption.clone()), question))
        })
        .collect();
    let truth: Vec<usize> = asked.iter().map(|(_, question)| question.answer).collect();
    let answers = without_pictures(world, asked.into_iter())?;
    let right = answers.iter().zip(&truth).filter(|(answer, truth)| answer == truth).count();
    Ok(right as f64 / truth.len() as f64)
}

fn without_pictures<'a>(
    world: &World,
    asked: impl Iterator<Item = (Option<String>, &'a super::words::Question)>,
) -> Result<Vec<usize>> {
    let conversations: Vec<Conversation> = asked
        .enumerate()
        .map(|(number, (caption, question))| {
            let human = [caption, Some(question.text.clone())].into_iter().flatten();
            let mut turns: Vec<Turn> = human.map(|text| Turn::new(Role::Human, text)).collect();
            turns.push(Turn::new(Role::Gpt, ANSWERS[question.answer]));
            Conversation { id: number.to_string(), image: None, turns }
        })
        .collect();
    let data = ConversationDataset::new(&conversations, TEMPLATE, &world.language.tokenizer, MAX_LEN, None)?;
    answer(&world.language.model, &data, &answer_tokens(&world.language.tokenizer)?, &world.device)
}
