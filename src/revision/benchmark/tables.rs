//! The tables of MMStar (arXiv 2403.20330) and MMBench (arXiv 2307.06281).

use std::path::Path;

use super::choices::{LETTERS, matched, with_choices};
use super::file::at;
use super::kind::BenchmarkKind;
use super::question::{BenchmarkQuestion, Expected, pairs};
use super::scores::{ByCategory, Score};
use crate::{Error, Result};

/// Where the copies of a question of MMBench with turned choices have their numbers.
const TURNED: u64 = 1_000_000;

/// The columns that are read, of a file.
struct Columns {
    question: usize,
    answer: usize,
    index: usize,
    category: Option<usize>,
    ability: Option<usize>,
    hint: Option<usize>,
    choices: Vec<usize>,
}

impl Columns {
    fn find(path: &Path, header: &csv::StringRecord) -> Result<Self> {
        let find = |names: &[&str]| header.iter().position(|column| names.contains(&column));
        let needed = |name: &str| {
            find(&[name]).ok_or_else(|| {
                let found = header.iter().collect::<Vec<_>>().join(", ");
                at(path, 1, format!("expected a column {name}, found {found}"))
            })
        };
        Ok(Self {
            question: needed("question")?,
            answer: needed("answer")?,
            index: needed("index")?,
            category: find(&["category"]),
            ability: find(&["l2-category", "l2_category"]),
            hint: find(&["hint"]),
            choices: LETTERS.iter().map_while(|letter| find(&[letter.to_string().as_str()])).collect(),
        })
    }
}

/// The text of a field; tables say `nan` for none.
fn given(text: &str) -> Option<&str> {
    let missing = text.is_empty() || ["nan", "none"].contains(&text.to_lowercase().as_str());
    (!missing).then_some(text)
}

/// The questions of a table with tabs, which may hold the pictures themselves: they are named by index.
pub(super) fn read(path: &Path, kind: BenchmarkKind, circular: bool) -> Result<Vec<BenchmarkQuestion>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .from_path(path)
        .map_err(|error| Error::format(path, error.to_string()))?;
    let header = reader.headers().map_err(|error| refuse(path, &error))?.clone();
    let columns = Columns::find(path, &header)?;
    let mut questions = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| refuse(path, &error))?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let field = |column: usize| record.get(column).unwrap_or_default();
        let optional =
            |column: Option<usize>| column.and_then(|column| given(field(column))).unwrap_or_default();
        let index = field(columns.index);
        let number: u64 = index
            .parse()
            .map_err(|_| at(path, line, format!("expected a number as index, found {index:?}")))?;
        let choices: Vec<String> =
            columns.choices.iter().map_while(|column| given(field(*column))).map(str::to_string).collect();
        let answer = field(columns.answer).trim();
        let letter = answer.chars().next().filter(|_| answer.chars().count() == 1);
        let right = letter.and_then(|letter| LETTERS.iter().position(|other| *other == letter));
        // Questions of MMStar may hold the choices in their text.
        let most =
            if choices.is_empty() && kind == BenchmarkKind::MmStar { LETTERS.len() } else { choices.len() };
        let Some(right) = right.filter(|right| *right < most) else {
            let detail = format!("expected the letter of one of {most} choices as answer, found {answer:?}");
            return Err(at(path, line, detail));
        };
        let (category, ability) = (optional(columns.category), optional(columns.ability));
        let category = match kind {
            BenchmarkKind::MmStar => format!("{category}/{ability}"),
            // Its category is the finer one.
            _ => format!("{ability}/{category}"),
        };
        let original = number % TURNED;
        let mut pictures = vec![index.to_string()];
        if number != original {
            pictures.push(original.to_string());
        }
        let turns = if circular && number < TURNED { choices.len() } else { 1 };
        for turn in 0..turns {
            let mut turned = choices.clone();
            turned.rotate_left(turn);
            questions.push(BenchmarkQuestion {
                id: (number + turn as u64 * TURNED).to_string(),
                pictures: pictures.clone(),
                prompt: with_choices(optional(columns.hint), field(columns.question), &turned),
                category: category.clone(),
                expected: Expected::Choice {
                    right: if turns > 1 { (right + turns - turn) % turns } else { right },
                    choices: turned,
                    group: original.to_string(),
                },
            });
        }
        if circular && number >= TURNED {
            return Err(at(path, line, "holds turned choices itself, which `circular` would turn again"));
        }
    }
    Ok(questions)
}

fn refuse(path: &Path, error: &csv::Error) -> Error {
    match error.position() {
        Some(position) => at(path, position.line() as usize, error),
        None => Error::format(path, error.to_string()),
    }
}

/// Whether an answer of MMStar begins with the letter, in one of the ways that its script knows.
fn begins_with(answer: &str, letter: char) -> bool {
    let answer = answer.to_lowercase().trim().replace('\n', " ");
    let letter = letter.to_ascii_lowercase();
    let after = |start: &str| answer.strip_prefix(start).is_some_and(|rest| rest.starts_with(letter));
    answer.starts_with(letter) || ["(", "option ", "the answer is "].iter().any(|start| after(start))
}

/// The two levels of a category.
fn levels(category: &str) -> (&str, &str) {
    category.split_once('/').unwrap_or((category, ""))
}

pub(super) fn score_mmstar(questions: &[BenchmarkQuestion], answers: &[String]) -> Vec<Score> {
    let (mut all, mut coarse, mut fine) =
        (ByCategory::default(), ByCategory::default(), ByCategory::default());
    for (question, answer) in pairs(questions, answers) {
        let Expected::Choice { right, .. } = question.expected else { continue };
        let value = f64::from(begins_with(answer, LETTERS[right]));
        let (category, ability) = levels(&question.category);
        all.push("overall", value);
        coarse.push(category, value);
        fine.push(&format!("{category} ({ability})"), value);
    }
    [all, coarse, fine].iter().flat_map(|values| values.means("accuracy", 1.0)).collect()
}

pub(super) fn score_mmbench(questions: &[BenchmarkQuestion], answers: &[String]) -> Vec<Score> {
    // A question with all its turns.
    let mut groups: Vec<(&str, &str, bool)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (question, answer) in pairs(questions, answers) {
        let Expected::Choice { right, choices, group } = &question.expected else { continue };
        let solved = matched(answer, choices) == Some(*right);
        let place = *places.entry(group).or_insert_with(|| {
            groups.push((group, &question.category, true));
            groups.len() - 1
        });
        groups[place].2 &= solved;
    }
    let (mut all, mut coarse, mut fine) =
        (ByCategory::default(), ByCategory::default(), ByCategory::default());
    for (_, category, solved) in groups {
        let value = f64::from(solved);
        let (ability, category) = levels(category);
        all.push("overall", value);
        if !ability.is_empty() {
            coarse.push(ability, value);
        }
        if !category.is_empty() {
            fine.push(category, value);
        }
    }
    [all, coarse, fine].iter().flat_map(|values| values.means("accuracy", 1.0)).collect()
}
