//! MME: yes or no in fourteen subtasks (arXiv 2306.13394).

use std::path::Path;

use super::file::{at, entries, text};
use super::question::{BenchmarkQuestion, Expected, pairs, stem};
use super::scores::{Score, line, share};
use crate::{Error, Result};

const PERCEPTION: [&str; 10] = [
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
];
const COGNITION: [&str; 4] =
    ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"];

/// Of a folder, either `SUBTASK.txt` with lines of picture, question and answer, or folders of subtasks.
pub(super) fn read(folder: &Path) -> Result<Vec<BenchmarkQuestion>> {
    if !folder.is_dir() {
        return Err(Error::format(folder, "mme is a folder, of files or folders named after its subtasks"));
    }
    let mut questions = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if is_subtask(&name) {
                questions.extend(read_subtask(&path, &name)?);
            }
        } else if path.extension().is_some_and(|ending| ending == "txt") {
            let subtask = stem(&path);
            if !is_subtask(&subtask) {
                let names = PERCEPTION.iter().chain(&COGNITION).copied().collect::<Vec<_>>().join(", ");
                return Err(Error::format(
                    &path,
                    format!("is named after no subtask of mme, which are {names}"),
                ));
            }
            questions.extend(read_lines(&path, &subtask, None)?);
        }
    }
    Ok(questions)
}

fn is_subtask(name: &str) -> bool {
    PERCEPTION.contains(&name) || COGNITION.contains(&name)
}

/// A published folder: `PICTURE.txt` beside the picture, or in `questions_answers_YN`.
fn read_subtask(folder: &Path, subtask: &str) -> Result<Vec<BenchmarkQuestion>> {
    let apart = folder.join("questions_answers_YN");
    let texts = if apart.is_dir() { apart } else { folder.to_path_buf() };
    let files = entries(&texts)?;
    let files = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "txt"));
    let questions = files.map(|path| read_lines(path, subtask, Some(&stem(path))));
    Ok(questions.collect::<Result<Vec<_>>>()?.concat())
}

/// Lines of question and answer, with the picture in front where it is not that of the file. Two follow each other for
/// each picture.
fn read_lines(path: &Path, subtask: &str, picture: Option<&str>) -> Result<Vec<BenchmarkQuestion>> {
    let mut questions: Vec<BenchmarkQuestion> = Vec::new();
    for (number, text) in text(path)?.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let fields: Vec<&str> = text.split('\t').collect();
        let (image, question, answer) = match (picture, &fields[..]) {
            (Some(picture), [question, answer]) => (picture, *question, *answer),
            // What a model answered may stand behind.
            (None, [image, question, answer] | [image, question, answer, _]) => (*image, *question, *answer),
            (picture, fields) => {
                let expected = if picture.is_some() { "2" } else { "3 or 4" };
                let detail = format!("expected {expected} fields between tabs, found {}", fields.len());
                return Err(at(path, number + 1, detail));
            }
        };
        let expected = match answer.trim().to_lowercase().as_str() {
            "yes" => true,
            "no" => false,
            other => {
                return Err(at(path, number + 1, format!("expected the answer Yes or No, found {other:?}")));
            }
        };
        if let Some(first) = questions.last().filter(|_| questions.len() % 2 == 1)
            && first.pictures[0] != picture_name(subtask, image)
        {
            let detail = format!("expected the second question of {}, found {image}", first.pictures[1]);
            return Err(at(path, number + 1, detail));
        }
        questions.push(BenchmarkQuestion {
            id: format!("{subtask}/{image}/{}", number + 1),
            pictures: vec![picture_name(subtask, image), image.to_string()],
            prompt: question.trim().to_string(),
            category: subtask.to_string(),
            expected: Expected::YesNo(expected),
        });
    }
    if questions.len() % 2 == 1 {
        return Err(Error::format(
            path,
            format!("expected two questions a picture, found {}", questions.len()),
        ));
    }
    Ok(questions)
}

/// Pictures of different subtasks have the same names.
fn picture_name(subtask: &str, image: &str) -> String {
    format!("{subtask}/{image}")
}

/// What the first four characters of an answer say.
fn parse(answer: &str) -> Option<bool> {
    let answer = answer.to_lowercase();
    let start: String = answer.chars().take(4).collect();
    match (start.contains("yes"), start.contains("no")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

pub(super) fn score(questions: &[BenchmarkQuestion], answers: &[String]) -> Vec<Score> {
    let right = |(question, answer): (&BenchmarkQuestion, &str)| match question.expected {
        Expected::YesNo(expected) => parse(answer) == Some(expected),
        _ => false,
    };
    let mut groups = Vec::new();
    let mut rows = Vec::new();
    for (group, subtasks) in [("perception", &PERCEPTION[..]), ("cognition", &COGNITION[..])] {
        let (mut total, mut count) = (0.0, 0);
        for subtask in subtasks {
            let of_subtask = pairs(questions, answers).filter(|(question, _)| question.category == *subtask);
            let right: Vec<bool> = of_subtask.map(right).collect();
            if right.is_empty() {
                continue;
            }
            let single = right.iter().filter(|right| **right).count() as f64;
            let pictures = right.chunks(2);
            let both = pictures.clone().filter(|pair| pair.iter().all(|right| *right)).count() as f64;
            let accuracy = 100.0 * share(single, right.len() as f64);
            let plus = 100.0 * share(both, pictures.len() as f64);
            rows.push(line(*subtask, "score", accuracy + plus, right.len()));
            rows.push(line(*subtask, "accuracy", accuracy, right.len()));
            rows.push(line(*subtask, "accuracy_plus", plus, right.len()));
            total += accuracy + plus;
            count += right.len();
        }
        if count > 0 {
            groups.push(line(group, "score", total, count));
        }
    }
    let total = groups.iter().map(|group| group.value).sum();
    let mut scores = vec![line("overall", "score", total, questions.len())];
    scores.extend(groups);
    scores.extend(rows);
    scores
}
