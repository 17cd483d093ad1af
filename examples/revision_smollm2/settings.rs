use burn_revision::revision::{StageConfig, Trainable};

/// The sizes of a run. What is not here is the library's default.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Settings {
    /// Visual tokens a picture.
    pub visual_tokens: usize,
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
    /// Held-out pictures that are measured.
    pub test_pictures: usize,
    /// Tokens that are written at most.
    pub new_tokens: usize,
}

impl Settings {
    /// The settings of the README's table.
    pub fn full() -> Self {
        Self {
            visual_tokens: 4,
            stage1_steps: 80,
            stage2_steps: 12,
            batch: 16,
            stage1_rate: 2e-3,
            stage2_rate: 2e-5,
            test_pictures: 120,
            new_tokens: 12,
        }
    }

    /// Everything once, in about five minutes. Too little training for numbers that mean something.
    pub fn quick() -> Self {
        Self { stage1_steps: 6, stage2_steps: 2, test_pictures: 16, ..Self::full() }
    }

    fn sized(&self, stage: StageConfig, steps: usize, rate: f64, seed: u64) -> StageConfig {
        stage
            .with_learning_rate(rate)
            .with_batch_size(self.batch)
            .with_micro_batch_size(self.batch)
            .with_max_steps(Some(steps))
            .with_checkpoint_steps(steps)
            .with_seed(seed)
    }

    /// Stage 1: the paper's, with the learning rate of few steps.
    pub fn stage1(&self, seed: u64) -> StageConfig {
        self.sized(StageConfig::pretrain(), self.stage1_steps, self.stage1_rate, seed)
    }

    /// Stage 2: projector and the whole language model.
    pub fn stage2(&self, seed: u64) -> StageConfig {
        let stage = StageConfig::finetune().with_trainable(Trainable::ProjectorAndLanguage);
        self.sized(stage, self.stage2_steps, self.stage2_rate, seed)
    }
}
