//! ScienceQA: school questions with choices (arXiv 2209.09513).

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::choices::{LETTERS, with_choices};
use super::file::json;
use super::question::{BenchmarkQuestion, Expected, pairs};
use super::scores::{ByCategory, Score};
use crate::{Error, Result};

#[derive(Deserialize)]
struct Problem {
    question: String,
    choices: Vec<String>,
    answer: usize,
    #[serde(default)]
    hint: String,
    image: Option<String>,
    #[serde(default)]
    subject: String,
    split: String,
}

/// The problems of a split, of `problems.json` or a folder with it.
pub(super) fn read(path: &Path, split: &str) -> Result<Vec<BenchmarkQuestion>> {
    let path = if path.is_dir() { path.join("problems.json") } else { path.to_path_buf() };
    let problems: Map<String, Value> = json(&path)?;
    let mut questions = Vec::new();
    for (id, problem) in problems {
        let refuse = |detail: String| Error::format(&path, format!("problem {id:?}: {detail}"));
        let problem: Problem = serde_json::from_value(problem).map_err(|error| refuse(error.to_string()))?;
        let choices = problem.choices.len();
        if choices == 0 || choices > LETTERS.len() || problem.answer >= choices {
            let most = LETTERS.len();
            return Err(refuse(format!(
                "expected 1 to {most} choices and the answer among them, found {choices} choices and the answer {}",
                problem.answer
            )));
        }
        if problem.split != split {
            continue;
        }
        let pictures = problem.image.iter().filter(|image| !image.is_empty());
        let pictures = pictures
            .flat_map(|image| [format!("{id}/{image}"), format!("{split}/{id}/{image}"), id.clone()])
            .collect();
        questions.push(BenchmarkQuestion {
            pictures,
            prompt: with_choices(&problem.hint, &problem.question, &problem.choices),
            category: problem.subject,
            expected: Expected::Choice { right: problem.answer, choices: problem.choices, group: id.clone() },
            id,
        });
    }
    questions.sort_by(|a, b| alphanumeric_sort::compare_str(&a.id, &b.id));
    Ok(questions)
}

/// The letter that an answer names.
fn parse(answer: &str) -> Option<char> {
    let answer = answer.replace('\n', ". ");
    let is_letter = |letter: &char| LETTERS.contains(letter);
    let alone = answer.trim();
    let mut letters = alone.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        return Some(letter).filter(is_letter);
    }
    if let Some(letter) = answer.chars().next().filter(is_letter)
        && answer[letter.len_utf8()..].starts_with(". ")
    {
        return Some(letter);
    }
    let said = "The answer is ";
    let named = answer.match_indices(said).filter_map(|(at, _)| {
        let mut rest = answer[at + said.len()..].chars();
        Some((rest.next().filter(is_letter)?, rest.next() == Some('.')))
    });
    let named: Vec<(char, bool)> = named.collect();
    // A sentence that ends behind the letter comes before one that does not.
    named.iter().find(|(_, ends)| *ends).or(named.first()).map(|(letter, _)| *letter)
}

pub(super) fn score(questions: &[BenchmarkQuestion], answers: &[String]) -> Vec<Score> {
    let (mut all, mut subjects) = (ByCategory::default(), ByCategory::default());
    for (question, answer) in pairs(questions, answers) {
        let Expected::Choice { right, choices, .. } = &question.expected else { continue };
        let found = parse(answer).and_then(|letter| LETTERS.iter().position(|other| *other == letter));
        let value = f64::from(found.filter(|found| *found < choices.len()) == Some(*right));
        all.push("overall", value);
        if !question.pictures.is_empty() {
            all.push("image", value);
        }
        if !question.category.is_empty() {
            subjects.push(&question.category, value);
        }
    }
    let mut scores = all.means("accuracy", 100.0);
    scores.extend(subjects.means("accuracy", 100.0));
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_in_the_ways_that_answers_are_written() {
        for (answer, letter) in [
            ("B", Some('B')),
            (" C\n", None),
            ("B. because", Some('B')),
            ("B\nbecause", Some('B')),
            ("F", None),
            ("b", None),
            ("The answer is D", Some('D')),
            ("The answer is A or The answer is C.", Some('C')),
            ("It is B", None),
            ("", None),
        ] {
            assert_eq!(parse(answer), letter, "{answer:?}");
        }
    }
}
