//! POPE: whether objects are in a picture (arXiv 2305.10355).

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::file::{at, text};
use super::question::{BenchmarkQuestion, Expected, pairs, stem};
use super::scores::{Score, line, share};
use crate::Result;

#[derive(Deserialize)]
struct Entry {
    question_id: Value,
    image: String,
    text: String,
    label: String,
    category: Option<String>,
}

/// An object a line. The category is that of the line, or what the name of the file has behind `coco_pope_`.
pub(super) fn read(path: &Path) -> Result<Vec<BenchmarkQuestion>> {
    let stem = stem(path);
    let of_file = stem.rsplit_once("pope_").map_or(stem.as_str(), |(_, name)| name);
    let content = text(path)?;
    let lines = content.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(number, text)| {
            let number = number + 1;
            let entry: Entry = serde_json::from_str(text).map_err(|error| at(path, number, error))?;
            let label = match entry.label.as_str() {
                "yes" => true,
                "no" => false,
                other => {
                    return Err(at(path, number, format!("expected the label yes or no, found {other:?}")));
                }
            };
            Ok(BenchmarkQuestion {
                id: name(&entry.question_id),
                pictures: vec![entry.image],
                prompt: entry.text,
                category: entry.category.unwrap_or_else(|| of_file.to_string()),
                expected: Expected::YesNo(label),
            })
        })
        .collect()
}

/// An id, which may be a number or a text.
pub(super) fn name(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An answer is *no* where the words no or not are in its first sentence.
fn says_yes(answer: &str) -> bool {
    let first = answer.split('.').next().unwrap_or_default().replace(',', "");
    !first.split(' ').any(|word| ["No", "not", "no"].contains(&word))
}

#[derive(Default, Clone)]
struct Counts {
    category: String,
    true_yes: f64,
    false_yes: f64,
    true_no: f64,
    false_no: f64,
}

impl Counts {
    fn all(&self) -> f64 {
        self.true_yes + self.false_yes + self.true_no + self.false_no
    }

    fn metrics(&self) -> [(&'static str, f64); 5] {
        let precision = share(self.true_yes, self.true_yes + self.false_yes);
        let recall = share(self.true_yes, self.true_yes + self.false_no);
        [
            ("accuracy", share(self.true_yes + self.true_no, self.all())),
            ("precision", precision),
            ("recall", recall),
            ("f1", share(2.0 * precision * recall, precision + recall)),
            ("yes_ratio", share(self.true_yes + self.false_yes, self.all())),
        ]
    }
}

pub(super) fn score(questions: &[BenchmarkQuestion], answers: &[String]) -> Vec<Score> {
    let mut categories: Vec<Counts> = Vec::new();
    for (question, answer) in pairs(questions, answers) {
        let at = categories.iter().position(|counts| counts.category == question.category);
        let at = at.unwrap_or_else(|| {
            categories.push(Counts { category: question.category.clone(), ..Counts::default() });
            categories.len() - 1
        });
        let counts = &mut categories[at];
        let Expected::YesNo(expected) = question.expected else { continue };
        let count = match (says_yes(answer), expected) {
            (true, true) => &mut counts.true_yes,
            (true, false) => &mut counts.false_yes,
            (false, false) => &mut counts.true_no,
            (false, true) => &mut counts.false_no,
        };
        *count += 1.0;
    }
    let rows: Vec<_> = categories.iter().map(|counts| (counts, counts.metrics())).collect();
    // As papers report it: the mean over the categories.
    let mean = (0..5).map(|metric| {
        let sum: f64 = rows.iter().map(|(_, metrics)| metrics[metric].1).sum();
        let name = rows.first().map_or("", |(_, metrics)| metrics[metric].0);
        line("overall", name, share(sum, rows.len() as f64), questions.len())
    });
    let own = rows.iter().flat_map(|(counts, metrics)| {
        metrics.iter().map(|(name, value)| line(&counts.category, name, *value, counts.all() as usize))
    });
    mean.chain(own).collect()
}
