use burn_revision::revision::{StageConfig, Trainable};
use serde::{Deserialize, Serialize};

/// The sizes of a run. What is not here is the library's default.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Visual tokens a picture.
    pub visual_tokens: usize,
    /// Whether stage 1 also reads the captions that the encoder was trained on.
    pub encoder_captions: bool,
    /// Optimizer steps of stage 1.
    pub stage1_steps: usize,
    /// Optimizer steps of stage 2.
    pub stage2_steps: usize,
    /// Samples a step.
    pub batch: usize,
    /// The highest learning rate of stage 1.
    pub stage1_rate: f64,
    /// The highest learning rate of stage 2.
    pub stage2_rate: f64,
    /// The standard deviation of the noise of "ReAlign + noise", for each coordinate.
    pub noise: f64,
    /// Held-out pictures that are measured.
    pub test_pictures: usize,
    /// Tokens that are written at most.
    pub new_tokens: usize,
}

impl Settings {
    /// The settings of the book's table.
    pub fn full() -> Self {
        Self {
            visual_tokens: 2,
            encoder_captions: true,
            stage1_steps: 200,
            stage2_steps: 36,
            batch: 16,
            stage1_rate: 2e-2,
            stage2_rate: 1e-3,
            noise: 0.04,
            test_pictures: 393,
            new_tokens: 10,
        }
    }

    /// Everything once, in minutes. Too little training for numbers that mean something.
    pub fn quick() -> Self {
        Self { stage1_steps: 12, stage2_steps: 3, test_pictures: 16, ..Self::full() }
    }

    fn sized(&self, stage: StageConfig, steps: usize, rate: f64, seed: u64) -> StageConfig {
        stage
            .with_learning_rate(rate)
            .with_warmup_ratio(0.1)
            .with_batch_size(self.batch)
            .with_micro_batch_size(self.batch)
            .with_max_steps(Some(steps))
            .with_checkpoint_steps(steps)
            .with_seed(seed)
    }

    /// Stage 1: the paper's, with a learning rate for few steps.
    pub fn stage1(&self, seed: u64) -> StageConfig {
        self.sized(StageConfig::pretrain(), self.stage1_steps, self.stage1_rate, seed)
    }

    /// Stage 2: projector, and adapters of the language model. All of it, tuned on so few pictures, says the same few
    /// captions to everything.
    pub fn stage2(&self, seed: u64) -> StageConfig {
        let stage = StageConfig::finetune().with_trainable(Trainable::ProjectorAndLora);
        self.sized(stage, self.stage2_steps, self.stage2_rate, seed)
    }
}
