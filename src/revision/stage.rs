use burn::config::Config;
use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ReVision;
use crate::language::LanguageModel;
use crate::{Error, Result};

/// What a stage trains; everything else is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainable {
    /// The projector, in front of a frozen language model: stage 1.
    Projector,
    /// Projector and language model: stage 2.
    ProjectorAndLanguage,
    /// The language model alone: how a language model learns from text.
    Language,
}

impl Trainable {
    /// The parameters of a [`ReVision`] that are trained, by path.
    pub fn group(&self) -> ParamGroup {
        // Burn's predicates match anywhere in a path; these are anchored at its beginning.
        let pattern = match self {
            Self::Projector => r"^projector\.",
            Self::ProjectorAndLanguage => r"^(projector|language)\.",
            Self::Language => r"^language\.",
        };
        ParamGroup::from_regex(pattern).expect("the pattern is valid")
    }

    /// Freezes and unfreezes the parts of `model`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where nothing would be trained: an identity projector has no weights.
    pub fn apply<L: LanguageModel>(&self, model: ReVision<L>) -> Result<ReVision<L>> {
        if count_parameters(&model, self.group()) == 0 {
            return Err(Error::config("trainable", format!("{self:?} matches no parameter of the model")));
        }
        let (projector, language) = match self {
            Self::Projector => (model.projector.unfreeze(), model.language.freeze()),
            Self::ProjectorAndLanguage => (model.projector.unfreeze(), model.language.unfreeze()),
            Self::Language => (model.projector.freeze(), model.language.unfreeze()),
        };
        Ok(ReVision { projector, language, ..model })
    }
}

/// The number of tensors of `module` in `group`.
pub(super) fn count_parameters<M: Module>(module: &M, group: ParamGroup) -> usize {
    struct Counter {
        path: Vec<String>,
        group: ParamGroup,
        count: usize,
    }
    impl ModuleVisitor for Counter {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.count += usize::from(self.group.matches(&param.id, Some(&self.path.join("."))));
        }
    }
    let mut counter = Counter { path: Vec::new(), group, count: 0 };
    module.visit(&mut counter);
    counter.count
}

/// How a stage is trained.
///
/// [`pretrain`](Self::pretrain) and [`finetune`](Self::finetune) are the settings of arXiv 2602.07026 (Sec. 6 and
/// App. H.2, and the authors' scripts); every field can be changed from there with `with_...`.
///
/// ```
/// use burn_revision::revision::StageConfig;
/// let stage = StageConfig::pretrain().with_batch_size(64).with_max_steps(Some(150));
/// assert_eq!(stage.learning_rate, 5e-4);
/// ```
#[derive(Config, Debug)]
pub struct StageConfig {
    /// What is trained.
    #[config(default = "Trainable::Projector")]
    pub trainable: Trainable,
    /// The highest learning rate.
    #[config(default = 5e-4)]
    pub learning_rate: f64,
    /// Samples an optimizer step.
    #[config(default = 256)]
    pub batch_size: usize,
    /// Samples that go through the model together; gradients of a step's parts are averaged over its labels.
    #[config(default = 8)]
    pub micro_batch_size: usize,
    /// Passes over the samples.
    #[config(default = 1)]
    pub epochs: usize,
    /// Optimizer steps, instead of `epochs`.
    pub max_steps: Option<usize>,
    /// The share of the steps over which the learning rate rises.
    #[config(default = 0.03)]
    pub warmup_ratio: f64,
    /// Decoupled weight decay.
    #[config(default = 0.0)]
    pub weight_decay: f32,
    /// The longest gradient, over all trained parameters together.
    #[config(default = "Some(1.0)")]
    pub max_grad_norm: Option<f64>,
    /// How many steps may be skipped because their gradients are not finite.
    #[config(default = 10)]
    pub max_skipped_steps: usize,
    /// Optimizer steps between checkpoints (and validation).
    #[config(default = 500)]
    pub checkpoint_steps: usize,
    /// How many checkpoints are kept, at least 2.
    #[config(default = 2)]
    pub keep_checkpoints: usize,
    /// The seed of the order and of the noise.
    #[config(default = 0)]
    pub seed: u64,
}

impl StageConfig {
    /// Stage 1, on aligned text: the projector learns in front of a frozen language model.
    pub fn pretrain() -> Self {
        Self::new()
    }

    /// Stage 2, on real pictures: projector and language model learn.
    pub fn finetune() -> Self {
        Self::new()
            .with_trainable(Trainable::ProjectorAndLanguage)
            .with_learning_rate(1e-5)
            .with_micro_batch_size(16)
    }

    /// Refuses settings under which nothing could run.
    pub(super) fn validate(&self) -> Result<()> {
        for (key, value, least) in [
            ("micro_batch_size", self.micro_batch_size, 1),
            ("checkpoint_steps", self.checkpoint_steps, 1),
            // An old checkpoint is deleted before it is certain that the new one could be written.
            ("keep_checkpoints", self.keep_checkpoints, 2),
        ] {
            if value < least {
                return Err(Error::config(key, format!("must be at least {least}, found {value}")));
            }
        }
        if self.max_grad_norm.is_some_and(|norm| norm <= 0.0 || norm.is_nan()) {
            return Err(Error::config(
                "max_grad_norm",
                format!("must be above 0, found {:?}", self.max_grad_norm),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// arXiv 2602.07026, Sec. 6 and the authors' scripts: batches of 256, one epoch, cosine with 3 % warm-up, no decay.
    #[test]
    fn the_presets_are_the_papers() {
        let (pretrain, finetune) = (StageConfig::pretrain(), StageConfig::finetune());
        assert_eq!(
            (pretrain.trainable, finetune.trainable),
            (Trainable::Projector, Trainable::ProjectorAndLanguage)
        );
        assert_eq!((pretrain.learning_rate, finetune.learning_rate), (5e-4, 1e-5));
        for stage in [pretrain, finetune] {
            assert_eq!((stage.batch_size, stage.epochs, stage.max_steps), (256, 1, None));
            assert_eq!((stage.warmup_ratio, stage.weight_decay), (0.03, 0.0));
        }
    }
}
