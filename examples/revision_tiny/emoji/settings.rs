//! The sizes of the example: one set for reading the result, one for a quick look.

use burn_revision::revision::StageConfig;
use serde::{Deserialize, Serialize};

/// All sizes of a run. What is not here is the library's default.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The tokens that captions are made of.
    pub vocab_size: usize,
    /// The dimension of the space that pictures and names share.
    pub embedding_dim: usize,
    /// What similarities are multiplied by in the contrastive loss. The larger, the more of the gap is left.
    pub logit_scale: f64,
    /// Passes over the encoder's pairs.
    pub encoder_epochs: usize,
    /// Pairs a step.
    pub encoder_batch: usize,
    /// Steps of the encoder between two looks at its gap; the frame is fixed after a fifth of all steps.
    pub gap_every: usize,
    /// The width of the language model.
    pub lm_width: usize,
    /// The layers of the language model.
    pub lm_layers: usize,
    /// Optimizer steps in which the language model learns names, without a picture.
    pub lm_steps: usize,
    /// Visual tokens a picture.
    pub visual_tokens: usize,
    /// Optimizer steps of stage 1.
    pub stage1_steps: usize,
    /// Optimizer steps of stage 2.
    pub stage2_steps: usize,
    /// Samples a step, for the language model and both stages.
    pub batch: usize,
    /// The standard deviation of the isotropic noise of "ReAlign + noise", for each coordinate.
    pub noise: f64,
    /// The held-out pictures that are measured.
    pub test_pictures: usize,
}

impl Settings {
    /// The settings of the README's table.
    pub fn full() -> Self {
        Self {
            vocab_size: 800,
            embedding_dim: 128,
            logit_scale: 60.0,
            encoder_epochs: 15,
            encoder_batch: 128,
            gap_every: 20,
            lm_width: 128,
            lm_layers: 2,
            lm_steps: 500,
            visual_tokens: 4,
            stage1_steps: 150,
            stage2_steps: 80,
            batch: 64,
            noise: 0.05,
            test_pictures: usize::MAX,
        }
    }

    /// Everything once, in less than a minute: for CI. Too little training for numbers that mean something.
    pub fn quick() -> Self {
        Self {
            encoder_epochs: 2,
            gap_every: 8,
            lm_steps: 60,
            stage1_steps: 20,
            stage2_steps: 10,
            test_pictures: 64,
            ..Self::full()
        }
    }

    fn tiny(&self, stage: StageConfig, steps: usize, learning_rate: f64, seed: u64) -> StageConfig {
        stage
            .with_learning_rate(learning_rate)
            .with_batch_size(self.batch)
            .with_micro_batch_size(16)
            .with_max_steps(Some(steps))
            .with_checkpoint_steps(steps)
            .with_seed(seed)
    }

    /// The language model alone, on names.
    pub fn language(&self, seed: u64) -> StageConfig {
        let stage = StageConfig::new().with_trainable(burn_revision::revision::Trainable::Language);
        self.tiny(stage.with_weight_decay(0.1), self.lm_steps, 3e-3, seed)
    }

    /// Stage 1: the paper's, with the learning rate of a small model.
    pub fn stage1(&self, seed: u64) -> StageConfig {
        self.tiny(StageConfig::pretrain(), self.stage1_steps, 1e-2, seed)
    }

    /// Stage 2: the paper's, with the learning rate of a small model.
    pub fn stage2(&self, seed: u64) -> StageConfig {
        self.tiny(StageConfig::finetune(), self.stage2_steps, 5e-4, seed)
    }
}
