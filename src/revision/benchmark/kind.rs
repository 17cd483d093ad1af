use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

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

    pub(super) fn name(self) -> &'static str {
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
    pub(super) fn instruction(self) -> &'static str {
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
