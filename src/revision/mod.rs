//! ReVision: a language model that sees through a projector, and the two stages that teach it.
//!
//! * [`Projector`] maps contrastive embeddings to the width of the language model;
//! * [`ReVision`] puts the projected *visual tokens* where a conversation says `<image>` and computes the loss on
//!   the answers;
//! * [`Conversation`], [`Template`] and [`ConversationDataset`] turn conversations into labelled tokens and join
//!   them by id with a [`VisualSource`]: aligned text in stage 1, real pictures in stage 2 and at inference;
//! * [`StageConfig`] says what a stage trains and how, with the paper's settings as
//!   [`pretrain`](StageConfig::pretrain) and [`finetune`](StageConfig::finetune);
//! * [`ReVisionLearner`] runs a stage on burn-train, and resumes it exactly;
//! * [`evaluate`] measures captions;
//! * [`SavedReVision`] keeps what was trained, [`Projector::read`] and [`Projector::write`] exchange projectors with LLaVA
//!   and Bunny.
//!
//! Source: arXiv 2602.07026, Sec. 5 and App. H.

mod batch;
mod captions;
mod conversation;
mod dataset;
mod dropped;
mod evaluation;
mod learner;
mod model;
mod projector;
mod projector_file;
mod saved;
mod source;
mod stage;
mod stage_model;

pub use batch::{Batch, MicroBatch};
pub use captions::{CaptionOverlap, CiderScores, cider_d};
pub use conversation::{
    Conversation, Conversations, IMAGE_PLACEHOLDER, Role, Template, TokenizedSample, Turn, read_conversations,
};
pub use dataset::ConversationDataset;
pub use dropped::{BadSamples, DatasetReport, Dropped};
pub use evaluation::{CaptionScores, Evaluation, evaluate, mean_nll, word_f1};
pub use learner::{ReVisionLearner, StageOutcome};
pub use model::{ReVision, ReVisionConfig};
pub use projector::{Projector, ProjectorKind};
pub use saved::{LoadedReVision, SavedReVision, Tuned};
pub use source::VisualSource;
pub use stage::{LoraConfig, StageConfig, Trainable};
pub use stage_model::StageModel;
