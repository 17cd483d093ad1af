//! ReVision: a language model that takes embeddings of pictures through a projector, and its two training stages.
//!
//! * [`Projector`] maps contrastive embeddings to the width of the language model;
//! * [`ReVision`] inserts the projected *visual tokens* at `<image>` in a conversation and computes the loss on the
//!   answers;
//! * [`Conversation`], [`Template`] and [`ConversationDataset`] turn conversations into labelled tokens and join
//!   them by id with a [`VisualSource`]: aligned text in stage 1, real pictures in stage 2 and at inference;
//! * [`Sample`] is one conversation as tokens, [`Batch`] samples on a device; [`ConversationBatcher`] makes the one of the
//!   others for Burn's data loaders;
//! * [`StageConfig`] has the settings of a stage, with the paper's settings as
//!   [`pretrain`](StageConfig::pretrain) and [`finetune`](StageConfig::finetune);
//! * [`ReVisionLearner`] runs a stage on burn-train, and resumes it exactly;
//! * [`evaluate`] measures captions, [`Benchmark`] reads and scores the questions of published benchmarks;
//! * [`ReVision::stream`] writes an answer token by token; with the feature `image`, `Assistant` leads from the bytes of a
//!   picture and a conversation to the text of an answer;
//! * [`TokenPrices`] says what data costs that a language model writes;
//! * [`SavedReVision`] saves what was trained, [`Projector::read`] and [`Projector::write`] exchange projectors with LLaVA
//!   and Bunny.
//!
//! Source: arXiv 2602.07026, Sec. 5 and App. H.

mod answers;
#[cfg(feature = "image")]
mod assistant;
mod batch;
mod benchmark;
mod captions;
mod conversation;
mod cost;
mod dataset;
mod dropped;
mod ending;
mod evaluation;
mod id_match;
mod label_loss;
mod learner;
mod model;
mod parameters;
mod projector;
mod projector_file;
mod replicas;
#[cfg(test)]
mod replicas_tests;
mod run_folder;
mod saved;
mod share;
mod shown_alignment;
mod source;
mod stage;
mod stage_model;
mod tensor_file;
#[cfg(test)]
mod testing;
mod tuned;

pub use answers::{AnswerEvent, Answers};
#[cfg(feature = "image")]
pub use assistant::{Answer, Assistant};
pub use batch::{Batch, ConversationBatcher};
pub use benchmark::{
    Benchmark, BenchmarkKind, BenchmarkOptions, BenchmarkQuestion, BenchmarkScores, Score, answer_benchmark,
};
pub use conversation::{
    Conversation, Conversations, IMAGE_PLACEHOLDER, Role, Sample, Template, Turn, read_conversations,
};
pub use cost::{TokenCount, TokenPrices};
pub use dataset::ConversationDataset;
pub use dropped::{BadSamples, DatasetReport};
pub use evaluation::{CaptionScores, evaluate, mean_nll};
pub use id_match::IdMatch;
pub use learner::{ReVisionLearner, StageOutcome};
pub use model::{ReVision, ReVisionConfig};
pub use projector::{Projector, ProjectorKind};
pub use saved::SavedReVision;
pub use source::VisualSource;
pub use stage::{LoraConfig, StageConfig, Trainable};
