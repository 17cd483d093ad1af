//! Questions of published benchmarks, and the scores that their own scripts give.

mod answers;
mod choices;
mod file;
mod mme;
mod pope;
mod science_qa;
mod scores;
mod tables;
mod vqa;
mod vqa_words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use answers::answer_benchmark;
pub use scores::{BenchmarkScores, Score};

/// A published benchmark. Its name is its value on the command line.
///
/// # Example
///
/// ```
/// use burn_revision::revision::BenchmarkKind;
/// let kind: BenchmarkKind = "mmbench".parse().unwrap();
/// assert_eq!(kind, BenchmarkKind::MmBench);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BenchmarkKind {
    /// Whether objects are in a picture (arXiv 2305.10355): `coco_pope_*.json`, a JSON object a line.
    Pope,
    /// Yes or no in fourteen subtasks (arXiv 2306.13394): a folder of `SUBTASK.txt` with picture, question and answer, or of
    /// the published folders, in which `PICTURE.txt` has the questions of a picture.
    Mme,
    /// School questions (arXiv 2209.09513): `problems.json`, or the folder that holds it.
    ScienceQa,
    /// Questions that need their picture (arXiv 2403.20330): the table `MMStar.tsv`.
    MmStar,
    /// Twenty abilities (arXiv 2307.06281): a table `mmbench_*.tsv`.
    MmBench,
    /// Free answers (arXiv 1612.00837): `*_questions.json`, with the annotations beside it.
    Vqa,
}

impl BenchmarkKind {
    /// Every benchmark.
    pub const ALL: [Self; 6] =
        [Self::Pope, Self::Mme, Self::ScienceQa, Self::MmStar, Self::MmBench, Self::Vqa];

    fn name(self) -> &'static str {
        match self {
            Self::Pope => "pope",
            Self::Mme => "mme",
            Self::ScienceQa => "scienceqa",
            Self::MmStar => "mmstar",
            Self::MmBench => "mmbench",
            Self::Vqa => "vqa",
        }
    }

    /// What stands behind a question, as in LLaVA-1.5's evaluation (arXiv 2310.03744).
    fn instruction(self) -> &'static str {
        match self {
            Self::Pope | Self::Mme | Self::Vqa => "Answer the question using a single word or phrase.",
            Self::ScienceQa | Self::MmStar | Self::MmBench => {
                "Answer with the option's letter from the given choices directly."
            }
        }
    }
}

impl fmt::Display for BenchmarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BenchmarkKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            Error::config("benchmark", format!("expected one of {}, found {text:?}", names.join(", ")))
        })
    }
}

/// How a benchmark is read.
#[derive(Clone, Debug, Default)]
pub struct BenchmarkOptions {
    /// Which benchmark it is; where absent, its files say so.
    pub kind: Option<BenchmarkKind>,
    /// The annotations of VQA; where absent, the file of the questions' name with `annotations` in place of `questions`.
    pub annotations: Option<PathBuf>,
    /// The split of ScienceQA [default: test].
    pub split: Option<String>,
    /// What stands behind each question; where absent, what LLaVA-1.5 writes there.
    pub instruction: Option<String>,
    /// Asks each question of MMBench as often as it has choices, these turned on by one each time; it counts as solved where
    /// all answers are right ("circular evaluation"). A file that holds the turned questions itself needs no such option.
    pub circular: bool,
}

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
    expected: Expected,
}

/// What answers are compared with.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    /// Yes or no.
    YesNo(bool),
    /// One of some choices.
    Choice { right: usize, choices: Vec<String>, group: String },
    /// What people answered, and the kind of question by its first words.
    Free { answers: Vec<String>, question_type: String },
}

/// The questions of a published benchmark.
///
/// Pictures are named by id and come from a store of embeddings; [`answer_benchmark`] asks a model.
///
/// # Example
///
/// ```
/// use burn_revision::revision::{Benchmark, BenchmarkOptions};
/// # fn main() -> burn_revision::Result<()> {
/// # let folder = std::env::temp_dir().join("burn-revision-benchmark-example");
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("coco_pope_random.json");
/// let lines = r#"{"question_id": 1, "image": "a.jpg", "text": "Is there a cat in the image?", "label": "yes"}
/// {"question_id": 2, "image": "b.jpg", "text": "Is there a dog in the image?", "label": "no"}"#;
/// std::fs::write(&path, lines).unwrap();
/// let benchmark = Benchmark::read(&[path], &BenchmarkOptions::default())?;
/// let scores = benchmark.score(&["Yes, there is.".to_string(), "yes".to_string()])?;
/// assert_eq!(scores.get("random", "accuracy"), Some(0.5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Benchmark {
    kind: BenchmarkKind,
    questions: Vec<BenchmarkQuestion>,
}

impl Benchmark {
    /// Reads a benchmark: one file or folder, or for POPE several files.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a file that cannot be read, [`Error::Format`] with file and line for what is no question of the
    /// benchmark and for a benchmark without questions, [`Error::Config`] for options that it does not have.
    pub fn read(paths: &[PathBuf], options: &BenchmarkOptions) -> Result<Self> {
        let Some(first) = paths.first() else {
            return Err(Error::config("benchmark", "names no file"));
        };
        let kind = match options.kind {
            Some(kind) => kind,
            None => file::recognise(first)?,
        };
        if paths.len() > 1 && kind != BenchmarkKind::Pope {
            let detail = format!("{kind} is one file or folder, found {}", paths.len());
            return Err(Error::config("benchmark", detail));
        }
        for (key, given, belongs_to) in [
            ("annotations", options.annotations.is_some(), BenchmarkKind::Vqa),
            ("split", options.split.is_some(), BenchmarkKind::ScienceQa),
            ("circular", options.circular, BenchmarkKind::MmBench),
        ] {
            if given && kind != belongs_to {
                return Err(Error::config(key, format!("is for {belongs_to}, and this is {kind}")));
            }
        }
        let instruction = options.instruction.as_deref().unwrap_or(kind.instruction());
        let mut questions = Vec::new();
        for path in paths {
            let read = match kind {
                BenchmarkKind::Pope => pope::read(path),
                BenchmarkKind::Mme => mme::read(path),
                BenchmarkKind::ScienceQa => {
                    science_qa::read(path, options.split.as_deref().unwrap_or("test"))
                }
                BenchmarkKind::MmStar | BenchmarkKind::MmBench => tables::read(path, kind, options.circular),
                BenchmarkKind::Vqa => vqa::read(path, options.annotations.as_deref()),
            }?;
            if read.is_empty() {
                return Err(Error::format(path, format!("holds no question of {kind}")));
            }
            questions.extend(read);
        }
        if !instruction.is_empty() {
            for question in &mut questions {
                question.prompt = format!("{}\n{instruction}", question.prompt);
            }
        }
        Ok(Self { kind, questions })
    }

    /// Which benchmark it is.
    pub fn kind(&self) -> BenchmarkKind {
        self.kind
    }

    /// The questions, in the order of their files.
    pub fn questions(&self) -> &[BenchmarkQuestion] {
        &self.questions
    }

    /// Keeps the first questions only.
    pub fn truncate(&mut self, count: usize) {
        self.questions.truncate(count);
    }

    /// The scores of an answer to each question, in the order of the [`questions`](Self::questions).
    ///
    /// They follow the benchmark's published script: see [`BenchmarkScores`].
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where there are not as many answers as questions.
    pub fn score(&self, answers: &[String]) -> Result<BenchmarkScores> {
        if answers.len() != self.questions.len() {
            return Err(Error::mismatch("answers to questions", self.questions.len(), answers.len()));
        }
        let scores = match self.kind {
            BenchmarkKind::Pope => pope::score(&self.questions, answers),
            BenchmarkKind::Mme => mme::score(&self.questions, answers),
            BenchmarkKind::ScienceQa => science_qa::score(&self.questions, answers),
            BenchmarkKind::MmStar => tables::score_mmstar(&self.questions, answers),
            BenchmarkKind::MmBench => tables::score_mmbench(&self.questions, answers),
            BenchmarkKind::Vqa => vqa::score(&self.questions, answers),
        };
        Ok(BenchmarkScores { benchmark: self.kind, questions: self.questions.len(), scores })
    }
}

/// The questions with their answers.
fn pairs<'a>(
    questions: &'a [BenchmarkQuestion],
    answers: &'a [String],
) -> impl Iterator<Item = (&'a BenchmarkQuestion, &'a str)> {
    questions.iter().zip(answers.iter().map(String::as_str))
}

/// The name of a file without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
