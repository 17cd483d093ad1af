//! Training: what burn-train leaves to its users, for every model of this crate.
//!
//! The contrastive encoder, the language model and both stages of ReVision are trained by burn-train's
//! [`Learner`](burn::train::Learner) and [`SupervisedTraining`](burn::train::SupervisedTraining). This module adds
//! what a long or an interrupted run needs. Its public part:
//!
//! * [`ProgressLine`]: progress that can be read with and without a terminal;
//! * [`StopRequest`]: ends a run without losing a step;
//! * [`keep_freed_memory`]: fewer page faults on the CPU.
//!
//! The rest serves [`DualEncoderTraining`](crate::encoder::DualEncoderTraining) and
//! [`ReVisionLearner`](crate::revision::ReVisionLearner):
//!
//! ```text
//! plan         which samples make up which optimizer step: a function of seed and step alone
//! batcher      makes the input of a step
//! loader       a data loader over a plan, cut into segments: burn-train writes a checkpoint after each
//! sequential   a data loader over all samples, for validation
//! prefetch     a step's input is made while the step before is taken
//! worker       a thread that does jobs in order
//! checkpoint   the files of a checkpoint, and the newest complete one
//! journal      after how many steps each checkpoint was written
//! clipping     gradients by their norm over all parameters
//! guard        gradients that are not finite never reach the weights
//! optimizer    AdamW without decay of biases and gains
//! schedule     linear warm-up, then half a cosine
//! output       what a step reports
//! loss, tokens metrics
//! log          their file
//! ```

mod batcher;
mod checkpoint;
mod clipping;
mod guard;
mod journal;
mod loader;
mod log;
mod loss;
mod memory;
mod optimizer;
mod output;
mod plan;
mod prefetch;
mod progress;
mod schedule;
mod sequential;
mod stop;
mod tokens;
mod worker;

pub(crate) use batcher::StepBatcher;
pub(crate) use checkpoint::{checkpoint_files, checkpointers, latest_checkpoint, remove_checkpoints_after};
pub use clipping::clip_by_global_norm;
pub(crate) use guard::GradientGuard;
pub(crate) use journal::StepJournal;
pub(crate) use loader::StepLoader;
pub(crate) use log::{LastValidation, MetricsLog};
pub(crate) use loss::LossMetric;
pub use memory::keep_freed_memory;
pub use optimizer::adamw;
pub(crate) use output::LossOutput;
pub(crate) use plan::{Step, StepPlan};
pub use progress::ProgressLine;
pub(crate) use schedule::cosine_with_warmup;
pub(crate) use sequential::SequentialLoader;
pub use stop::StopRequest;
pub(crate) use tokens::TokenMetric;
pub(crate) use worker::{Pending, Worker};
