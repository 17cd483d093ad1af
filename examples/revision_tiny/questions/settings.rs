//! The sizes of the example: one set for reading the result, one for a quick look.

use burn_revision::revision::{StageConfig, Trainable};
use serde::{Deserialize, Serialize};

/// All sizes of a run. What is not here is the library's default.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The training pictures with captions that the encoder learns from.
    pub encoder_pictures: usize,
    /// The pictures without words for the statistics.
    pub unpaired_pictures: usize,
    /// The pictures of "real pairs", and the most that stage 2 can have.
    pub pairs: usize,
    /// The pictures of stage 2.
    pub stage2_pictures: usize,
    /// The captions that stage 1 is shown in place of pictures.
    pub stage1_texts: usize,
    /// The test pictures that are measured.
    pub test_pictures: usize,
    /// The most tokens there are; as many words and pieces as make this many.
    pub vocab_size: usize,
    /// The dimension of the space that pictures and captions share.
    pub embedding_dim: usize,
    /// What similarities are multiplied by in the contrastive loss. The larger, the more of the gap is left.
    pub logit_scale: f64,
    /// The channels of the encoder's convolutions, and their strides.
    pub channels: Vec<usize>,
    pub strides: Vec<usize>,
    /// Passes over the encoder's pairs: pictures, and their mirror images.
    pub encoder_epochs: usize,
    /// Pairs a step.
    pub encoder_batch: usize,
    /// The highest learning rate of the encoder.
    pub encoder_rate: f64,
    /// The width of the language model.
    pub lm_width: usize,
    /// The layers of the language model.
    pub lm_layers: usize,
    /// Conversations that the language model reads.
    pub lm_texts: usize,
    /// The share of its questions of yes or no that ask for what is not there, in each part of what it reads. It learns to
    /// compare first: were half of the questions denied from the beginning, neither the denial nor what is there would tell
    /// anything without the other, and a small model would find neither.
    pub lm_denying: Vec<f64>,
    /// Optimizer steps in which it reads each part.
    pub lm_steps: usize,
    /// Conversations a step meanwhile.
    pub lm_batch: usize,
    /// The highest learning rate meanwhile.
    pub lm_rate: f64,
    /// The standard deviation of its initial weights.
    pub lm_initial: f64,
    /// Visual tokens a picture.
    pub visual_tokens: usize,
    /// Optimizer steps of stage 1.
    pub stage1_steps: usize,
    /// The highest learning rate of stage 1.
    pub stage1_rate: f64,
    /// Optimizer steps of stage 2.
    pub stage2_steps: usize,
    /// The highest learning rate of stage 2.
    pub stage2_rate: f64,
    /// Samples a step, for both stages.
    pub batch: usize,
    /// The standard deviation of the isotropic noise of "ReAlign + noise", for each coordinate.
    pub noise: f64,
    /// The numbers of pictures in stage 2 that the curve shows.
    pub curve: Vec<usize>,
}

impl Settings {
    /// The settings for reading the result.
    pub fn full() -> Self {
        Self {
            encoder_pictures: 1750,
            unpaired_pictures: 600,
            pairs: 1000,
            stage2_pictures: 300,
            stage1_texts: 1000,
            test_pictures: usize::MAX,
            vocab_size: 600,
            embedding_dim: 128,
            logit_scale: 200.0,
            channels: vec![32, 64, 128],
            strides: vec![4, 2, 2],
            encoder_epochs: 6,
            encoder_batch: 32,
            encoder_rate: 1.5e-3,
            lm_width: 64,
            lm_layers: 3,
            lm_texts: 36_000,
            lm_denying: vec![0.0, 0.3],
            lm_steps: 1100,
            lm_batch: 16,
            lm_rate: 1.5e-3,
            lm_initial: 0.1,
            visual_tokens: 2,
            stage1_steps: 700,
            stage1_rate: 5e-3,
            stage2_steps: 60,
            stage2_rate: 1e-3,
            batch: 64,
            noise: 0.05,
            curve: vec![50, 100, 300, 1000],
        }
    }

    /// Everything once, in less than a minute: for CI. Too little training for numbers that mean something.
    pub fn quick() -> Self {
        Self {
            encoder_pictures: 128,
            unpaired_pictures: 100,
            pairs: 100,
            stage2_pictures: 50,
            stage1_texts: 100,
            test_pictures: 50,
            encoder_epochs: 1,
            lm_texts: 400,
            lm_steps: 20,
            stage1_steps: 6,
            stage2_steps: 4,
            curve: vec![10, 50],
            ..Self::full()
        }
    }

    fn tiny(&self, stage: StageConfig, steps: usize, learning_rate: f64, seed: u64) -> StageConfig {
        stage
            .with_learning_rate(learning_rate)
            .with_batch_size(self.batch)
            .with_micro_batch_size(self.batch)
            .with_max_steps(Some(steps))
            .with_checkpoint_steps(steps)
            .with_seed(seed)
    }

    /// The language model alone, on texts.
    pub fn language(&self, seed: u64) -> StageConfig {
        let stage = StageConfig::new().with_trainable(Trainable::Language);
        let stage = self.tiny(stage.with_weight_decay(0.1), self.lm_steps, self.lm_rate, seed);
        stage.with_batch_size(self.lm_batch).with_micro_batch_size(self.lm_batch)
    }

    /// Stage 1: the paper's, with the learning rate of a small model.
    pub fn stage1(&self, seed: u64) -> StageConfig {
        self.tiny(StageConfig::pretrain(), self.stage1_steps, self.stage1_rate, seed)
    }

    /// Stage 2: the paper's, with the learning rate of a small model.
    pub fn stage2(&self, seed: u64) -> StageConfig {
        self.tiny(StageConfig::finetune(), self.stage2_steps, self.stage2_rate, seed)
    }
}
