//! VQA: free answers that are compared with those of ten people (arXiv 1505.00468, 1612.00837).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::file::json;
use super::pope::name;
use super::question::{BenchmarkQuestion, Expected, pairs};
use super::scores::{ByCategory, Score};
use super::vqa_words::{normalised, one_line};
use crate::{Error, Result};

#[derive(Deserialize)]
struct Questions {
    questions: Vec<Question>,
    data_subtype: Option<String>,
}

#[derive(Deserialize)]
struct Question {
    question_id: Value,
    image_id: Value,
    question: String,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: Value,
    #[serde(default)]
    question_type: String,
    #[serde(default)]
    answer_type: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

/// The questions of a file, with the answers of the file of annotations.
pub(super) fn read(path: &Path, annotations: Option<&Path>) -> Result<Vec<BenchmarkQuestion>> {
    let annotations = match annotations {
        Some(path) => path.to_path_buf(),
        None => beside(path)?,
    };
    let file: Questions = json(path)?;
    let answers: Annotations = json(&annotations)?;
    let mut by_question: HashMap<String, Annotation> = answers
        .annotations
        .into_iter()
        .map(|annotation| (name(&annotation.question_id), annotation))
        .collect();
    let mut questions = Vec::with_capacity(file.questions.len());
    for question in file.questions {
        let id = name(&question.question_id);
        let annotation = by_question.remove(&id).filter(|annotation| !annotation.answers.is_empty());
        let Some(annotation) = annotation else {
            let detail = format!("expected answers to question {id} of {}, found none", path.display());
            return Err(Error::format(&annotations, detail));
        };
        questions.push(BenchmarkQuestion {
            id,
            pictures: pictures(&question.image_id, file.data_subtype.as_deref()),
            prompt: question.question,
            category: annotation.answer_type,
            expected: Expected::Free {
                answers: annotation.answers.into_iter().map(|answer| answer.answer).collect(),
                question_type: annotation.question_type,
            },
        });
    }
    Ok(questions)
}

/// `v2_mscoco_val2014_annotations.json` for `v2_OpenEnded_mscoco_val2014_questions.json`, or the same name otherwise.
fn beside(path: &Path) -> Result<PathBuf> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = file.replace("questions", "annotations");
    let published = plain.replace("OpenEnded_", "");
    let found =
        [published, plain].into_iter().filter(|name| *name != file).map(|name| path.with_file_name(name));
    found.clone().find(|path| path.is_file()).ok_or_else(|| {
        let names: Vec<String> = found.map(|path| path.display().to_string()).collect();
        Error::config(
            "annotations",
            format!("needed for {}, found none of: {}", path.display(), names.join(", ")),
        )
    })
}

/// Pictures of COCO are named by numbers with a place for twelve digits.
fn pictures(id: &Value, subtype: Option<&str>) -> Vec<String> {
    let number = id.as_u64().or_else(|| id.as_str()?.parse().ok());
    let coco = number.zip(subtype).map(|(number, subtype)| format!("COCO_{subtype}_{number:012}.jpg"));
    coco.into_iter().chain([name(id)]).collect()
}

/// The mean over people of `min(1, n / 3)`, where `n` others answered the same.
fn accuracy(answer: &str, truths: &[String]) -> f64 {
    let mut answer = one_line(answer);
    let mut truths: Vec<String> = truths.iter().map(|truth| one_line(truth)).collect();
    // Where all agree, answers are compared as they are.
    if truths.iter().any(|truth| *truth != truths[0]) {
        answer = normalised(&answer);
        truths.iter_mut().for_each(|truth| *truth = normalised(truth));
    }
    let same = truths.iter().filter(|truth| **truth == answer).count() as f64;
    let of_person = |truth: &String| {
        let others = if *truth == answer { same - 1.0 } else { same };
        (others / 3.0).min(1.0)
    };
    truths.iter().map(of_person).sum::<f64>() / truths.len() as f64
}

pub(super) fn score(questions: &[BenchmarkQuestion], answers: &[String]) -> Vec<Score> {
    let (mut all, mut of_answers, mut of_questions) =
        (ByCategory::default(), ByCategory::default(), ByCategory::default());
    for (question, answer) in pairs(questions, answers) {
        let Expected::Free { answers, question_type } = &question.expected else { continue };
        let value = accuracy(answer, answers);
        all.push("overall", value);
        for (values, category) in [(&mut of_answers, &question.category), (&mut of_questions, question_type)]
        {
            if !category.is_empty() {
                values.push(category, value);
            }
        }
    }
    [all, of_answers, of_questions].iter().flat_map(|values| values.means("accuracy", 100.0)).collect()
}
