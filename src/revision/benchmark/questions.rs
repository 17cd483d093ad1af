use std::path::PathBuf;

use super::kind::BenchmarkKind;
use super::question::BenchmarkQuestion;
use super::scores::BenchmarkScores;
use super::{file, mme, pope, science_qa, tables, vqa};
use crate::{Error, Result};

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

/// The questions of a published benchmark.
///
/// Pictures are named by id and come from a store of embeddings; [`answer_benchmark`](super::answer_benchmark) asks a model.
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
