//! Questions of published benchmarks, and the scores that their own scripts give.

mod answers;
mod choices;
mod file;
mod kind;
mod mme;
mod pope;
mod question;
mod questions;
mod science_qa;
mod scores;
mod tables;
#[cfg(test)]
mod tests;
mod vqa;
mod vqa_words;

pub use answers::answer_benchmark;
pub use kind::BenchmarkKind;
pub use question::BenchmarkQuestion;
pub use questions::{Benchmark, BenchmarkOptions};
pub use scores::{BenchmarkScores, Score};
