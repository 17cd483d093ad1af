//! Training: what burn-train leaves to its users, for every model of this crate.
//!
//! The contrastive encoder, the language model and both stages of ReVision are trained by burn-train's
//! [`Learner`](burn::train::Learner) and [`SupervisedTraining`](burn::train::SupervisedTraining). This room adds
//! the parts that a long or an interrupted run needs:
//!
//! * [`StepPlan`]: which samples make up which optimizer step, as a function of seed and step alone, so that a
//!   resumed run sees what an unbroken one would have seen;
//! * [`StepLoader`]: a burn-train data loader over a plan, cut into *segments*. burn-train writes a checkpoint
//!   after each of its epochs; handing it one segment as an epoch gives checkpoints at a step cadence;
//! * [`GradientGuard`]: clipping by the global norm, and a batch that is not finite never reaches the weights;
//! * [`latest_checkpoint`]: where a run can go on;
//! * [`adamw`]: the optimizer of both papers;
//! * [`LossOutput`]: what a step reports;
//! * [`cosine_with_warmup`]: the learning-rate schedule of both papers;
//! * [`ProgressLine`]: progress that can be read with and without a terminal; [`MetricsLog`]: the same for programs;
//! * [`keep_freed_memory`]: fewer page faults on the CPU;
//! * [`StopRequest`]: the end of a run that loses nothing.

mod checkpoint;
mod guard;
mod journal;
mod loader;
mod log;
mod memory;
mod optimizer;
mod output;
mod plan;
mod progress;
mod schedule;
mod stop;
mod tokens;

pub use checkpoint::latest_checkpoint;
pub(crate) use checkpoint::{checkpoint_files, checkpointers, remove_checkpoints_after};
pub use guard::GradientGuard;
pub(crate) use journal::StepJournal;
pub use loader::{SequentialLoader, StepBatcher, StepLoader};
pub use log::MetricsLog;
pub use memory::keep_freed_memory;
pub use optimizer::adamw;
pub use output::LossOutput;
pub use plan::{Step, StepPlan};
pub use progress::ProgressLine;
pub use schedule::cosine_with_warmup;
pub use stop::StopRequest;
pub use tokens::{TokenInput, TokenMetric};
