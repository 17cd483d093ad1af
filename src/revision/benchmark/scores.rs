use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::BenchmarkKind;

/// A number of a benchmark's table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What it is of: a subtask or category, `overall`, or a sum as `perception`.
    pub category: String,
    /// What it is: `accuracy`, `f1` and so on.
    pub metric: String,
    /// Its value, in the unit of the benchmark's script.
    pub value: f64,
    /// The number of questions that it was counted over.
    pub questions: usize,
}

/// The scores of a benchmark, in the units of its own script.
///
/// | benchmark | scores | script |
/// |---|---|---|
/// | POPE | `accuracy`, `precision`, `recall`, `f1`, `yes_ratio` of each category, 0 to 1, and their means | LLaVA's `eval_pope.py`: an answer is *no* where its first sentence has the word no or not |
/// | MME | `accuracy` and `accuracy_plus` (both questions of a picture right) of each subtask in per cent, `score` their sum; `perception` and `cognition` | the benchmark's `calculation.py`: the first four characters decide |
/// | ScienceQA | `accuracy` in per cent, `image` for questions with a picture, and by subject | LLaVA's `eval_science_qa.py` |
/// | MMStar | `accuracy` of each category and ability, 0 to 1 | the benchmark's `mmstar.py` |
/// | MMBench | `accuracy` of each category and ability, 0 to 1; a question that is asked several times counts where all answers are right | VLMEvalKit's matching without a language model as a judge |
/// | VQA | `accuracy` in per cent, by type of answer and of question | `vqaEval.py` of VQA v2 |
///
/// A share of nothing is 0, where scripts divide by zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkScores {
    /// The benchmark.
    pub benchmark: BenchmarkKind,
    /// The number of questions.
    pub questions: usize,
    /// The table, `overall` first.
    pub scores: Vec<Score>,
}

impl BenchmarkScores {
    /// A number of the table.
    pub fn get(&self, category: &str, metric: &str) -> Option<f64> {
        let found = self.scores.iter().find(|score| score.category == category && score.metric == metric);
        found.map(|score| score.value)
    }
}

/// A table with a line for each category.
impl fmt::Display for BenchmarkScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut categories, mut metrics): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for score in &self.scores {
            for (list, name) in [(&mut categories, &*score.category), (&mut metrics, &*score.metric)] {
                if !list.contains(&name) {
                    list.push(name);
                }
            }
        }
        let title = format!("{} ({} questions)", self.benchmark, self.questions);
        let width = categories.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(title.len());
        write!(f, "{title:width$}")?;
        metrics.iter().try_for_each(|metric| write!(f, "  {metric:>13}"))?;
        for category in categories {
            write!(f, "\n{category:width$}")?;
            for metric in &metrics {
                match self.get(category, metric) {
                    Some(value) => write!(f, "  {value:>13.4}")?,
                    None => write!(f, "  {:>13}", "")?,
                }
            }
        }
        Ok(())
    }
}

/// A line of the table.
pub(super) fn line(category: impl Into<String>, metric: &str, value: f64, questions: usize) -> Score {
    Score { category: category.into(), metric: metric.into(), value, questions }
}

/// `part / whole`, and 0 of nothing.
pub(super) fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// Values by category, in the order in which categories appear.
#[derive(Default)]
pub(super) struct ByCategory(Vec<(String, Vec<f64>)>);

impl ByCategory {
    pub(super) fn push(&mut self, category: &str, value: f64) {
        match self.0.iter_mut().find(|(name, _)| name == category) {
            Some((_, values)) => values.push(value),
            None => self.0.push((category.to_string(), vec![value])),
        }
    }

    /// The mean of each category, times a factor.
    pub(super) fn means(&self, metric: &str, times: f64) -> Vec<Score> {
        let mean = |values: &[f64]| times * share(values.iter().sum(), values.len() as f64);
        self.0.iter().map(|(name, values)| line(name, metric, mean(values), values.len())).collect()
    }
}
