use std::path::Path;

/// A question of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchmarkQuestion {
    /// Its id in the benchmark.
    pub id: String,
    /// Names that its picture may have in a store of embeddings, the most exact one first; none for a question without.
    pub pictures: Vec<String>,
    /// The question with its choices and what is to be done.
    pub prompt: String,
    /// What its score is counted for: the subtask, category or type.
    pub category: String,
    /// The right answer.
    pub(super) expected: Expected,
}

/// What answers are compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    /// Yes or no.
    YesNo(bool),
    /// One of some choices.
    Choice { right: usize, choices: Vec<String>, group: String },
    /// What people answered, and the kind of question by its first words.
    Free { answers: Vec<String>, question_type: String },
}

/// The questions with their answers.
pub(super) fn pairs<'a>(
    questions: &'a [BenchmarkQuestion],
    answers: &'a [String],
) -> impl Iterator<Item = (&'a BenchmarkQuestion, &'a str)> {
    questions.iter().zip(answers.iter().map(String::as_str))
}

/// The name of a file without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
