use burn::config::Config;
use burn::module::{Lora, Module, ParamGroup};
use serde::{Deserialize, Serialize};

use super::ReVision;
use super::parameters::count_parameters;
use crate::language::LanguageModel;
use crate::{Error, Result};

/// What a stage trains; everything else is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trainable {
    /// The projector, with a frozen language model: stage 1.
    Projector,
    /// Projector and language model: stage 2.
    ProjectorAndLanguage,
    /// Projector and low-rank adapters of a frozen language model: stage 2 with little memory.
    ProjectorAndLora,
    /// The language model alone: training a language model on text.
    Language,
}

/// Low-rank adapters of the language model (arXiv 2106.09685): `W + alpha / rank * A B` with frozen `W`.
///
/// # Example
///
/// ```
/// use burn_revision::revision::{LoraConfig, StageConfig, Trainable};
/// let stage = StageConfig::finetune()
///     .with_trainable(Trainable::ProjectorAndLora)
///     .with_lora(LoraConfig::new().with_rank(8).with_targets(vec!["q_proj".into(), "v_proj".into()]));
/// assert_eq!(stage.lora.alpha, 32.0);
/// ```
#[derive(Config, Debug)]
pub struct LoraConfig {
    /// The rank of `A B`.
    #[config(default = 16)]
    pub rank: usize,
    /// The scale of the adapters; it is divided by the rank.
    #[config(default = 32.0)]
    pub alpha: f64,
    /// The names of the layers with adapters.
    #[config(
        default = "[\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\"].map(String::from).to_vec()"
    )]
    pub targets: Vec<String>,
}

impl LoraConfig {
    /// Attaches initial adapters to the language model of `model`, with which it computes the same as before.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a rank of zero, and for a target that is the name of no layer.
    pub fn attach<L: LanguageModel>(&self, model: ReVision<L>) -> Result<ReVision<L>> {
        if self.rank == 0 {
            return Err(Error::config("lora.rank", "must be at least 1, found 0"));
        }
        for target in &self.targets {
            if count_parameters(&model.language, group(&[target.as_str()])) == 0 {
                return Err(Error::config("lora.targets", format!("no layer is called {target:?}")));
            }
        }
        let targets: Vec<&str> = self.targets.iter().map(String::as_str).collect();
        if targets.is_empty() {
            return Err(Error::config("lora.targets", "expected at least one layer, found none"));
        }
        let lora = Lora::new(self.rank, self.alpha).set_param_group(group(&targets));
        let ReVision { projector, language, num_visual_tokens } = model;
        Ok(ReVision { projector, language: language.freeze().apply_lora(lora), num_visual_tokens })
    }
}

/// The weights of the layers with these names.
fn group(targets: &[&str]) -> ParamGroup {
    let names: Vec<String> = targets
        .iter()
        .map(|target| {
            target
                .chars()
                .flat_map(|c| if c.is_alphanumeric() || c == '_' { vec![c] } else { vec!['\\', c] })
                .collect()
        })
        .collect();
    ParamGroup::from_regex(format!(r"(^|\.)({})\.weight$", names.join("|"))).expect("names are escaped")
}

impl Trainable {
    /// The parameters of a [`ReVision`] that are trained, by path.
    pub(super) fn group(&self) -> ParamGroup {
        // Burn's predicates match anywhere in a path; these are anchored at its beginning.
        let pattern = match self {
            Self::Projector => r"^projector\.",
            Self::ProjectorAndLanguage => r"^(projector|language)\.",
            Self::ProjectorAndLora => r"^(projector\.|language\..*\.lora\.[ab]$)",
            Self::Language => r"^language\.",
        };
        ParamGroup::from_regex(pattern).expect("the pattern is valid")
    }

    /// The low-rank adapters of a model, by path.
    pub(super) fn adapters() -> ParamGroup {
        ParamGroup::from_regex(r"\.lora\.[ab]$").expect("the pattern is valid")
    }

    /// Freezes and unfreezes the parts of `model`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where there is nothing to train: an identity projector has no weights, and adapters must be
    /// attached first, with [`LoraConfig::attach`].
    pub fn apply<L: LanguageModel>(&self, model: ReVision<L>) -> Result<ReVision<L>> {
        if count_parameters(&model, self.group()) == 0 {
            return Err(Error::config("trainable", format!("{self:?} matches no parameter of the model")));
        }
        if *self == Self::ProjectorAndLora && !has_lora(&model) {
            return Err(Error::config("trainable", "the language model has no adapters: attach them first"));
        }
        let (projector, language) = match self {
            // Unfreezing would reach the weights under the adapters as well.
            Self::ProjectorAndLora => (
                model.projector.unfreeze(),
                model.language.freeze().set_require_grad_group(Self::adapters(), true),
            ),
            Self::Projector => (model.projector.unfreeze(), model.language.freeze()),
            Self::ProjectorAndLanguage => (model.projector.unfreeze(), model.language.unfreeze()),
            Self::Language => (model.projector.freeze(), model.language.unfreeze()),
        };
        Ok(ReVision { projector, language, ..model })
    }
}

/// Whether the language model of `model` has low-rank adapters.
pub(super) fn has_lora<L: LanguageModel>(model: &ReVision<L>) -> bool {
    count_parameters(&model.language, Trainable::adapters()) > 0
}

/// The settings of a stage.
///
/// [`pretrain`](Self::pretrain) and [`finetune`](Self::finetune) are the settings of arXiv 2602.07026 (Sec. 6 and
/// App. H.2, and the authors' scripts); every field can be changed with `with_...`.
///
/// # Example
///
/// ```
/// use burn_revision::revision::StageConfig;
/// let stage = StageConfig::pretrain().with_batch_size(64).with_max_steps(Some(150));
/// assert_eq!(stage.learning_rate, 5e-4);
/// ```
#[derive(Config, Debug)]
pub struct StageConfig {
    /// The parameters to train.
    #[config(default = "Trainable::Projector")]
    pub trainable: Trainable,
    /// The adapters that [`Trainable::ProjectorAndLora`] attaches where there are none.
    #[config(default = "LoraConfig::new()")]
    pub lora: LoraConfig,
    /// The highest learning rate.
    #[config(default = 5e-4)]
    pub learning_rate: f64,
    /// Samples an optimizer step.
    #[config(default = 256)]
    pub batch_size: usize,
    /// Samples that go through the model together; gradients are averaged over all labels of the step.
    #[config(default = 8)]
    pub micro_batch_size: usize,
    /// The number of devices that share the micro-batches of a step: those of the model's backend, its own first. The result
    /// is that of one device up to the rounding of sums, and a run may go on with another number of them.
    #[config(default = 1)]
    pub devices: usize,
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
    /// The maximum norm of the gradient, over all trained parameters together.
    #[config(default = "Some(1.0)")]
    pub max_grad_norm: Option<f64>,
    /// The number of steps that may be skipped because their gradients are not finite.
    #[config(default = 10)]
    pub max_skipped_steps: usize,
    /// Optimizer steps between checkpoints (and validation).
    #[config(default = 500)]
    pub checkpoint_steps: usize,
    /// The number of checkpoints that are kept, at least 2.
    #[config(default = 2)]
    pub keep_checkpoints: usize,
    /// The seed of the order and of the noise.
    #[config(default = 0)]
    pub seed: u64,
    /// Whether results of cheap operations are computed again for the gradients instead of being kept: less memory, more
    /// time, and the same gradients. Without it, a model on a device with gradient checkpointing has it nevertheless.
    #[config(default = false)]
    pub gradient_checkpointing: bool,
}

impl StageConfig {
    /// Stage 1, on aligned text: trains the projector, with a frozen language model.
    pub fn pretrain() -> Self {
        Self::new()
    }

    /// Stage 2, on real pictures: trains projector and language model.
    pub fn finetune() -> Self {
        Self::new()
            .with_trainable(Trainable::ProjectorAndLanguage)
            .with_learning_rate(1e-5)
            .with_micro_batch_size(16)
    }

    /// Refuses settings that cannot work.
    pub(super) fn validate(&self) -> Result<()> {
        for (key, value, least) in [
            ("micro_batch_size", self.micro_batch_size, 1),
            ("devices", self.devices, 1),
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A run that is resumed unchanged is the same run, whatever its settings are.
        #[test]
        fn settings_come_back_from_json_to_the_bit(
            learning_rate in 1e-7_f64..1.0, warmup_ratio in 0.0_f64..1.0, weight_decay: f32, norm: f64, alpha: f64,
        ) {
            prop_assume!(weight_decay.is_finite() && norm.is_finite() && alpha.is_finite());
            let mut stage = StageConfig::pretrain()
                .with_learning_rate(learning_rate / 11.0)
                .with_warmup_ratio(warmup_ratio)
                .with_weight_decay(weight_decay)
                .with_max_grad_norm(Some(norm));
            stage.lora.alpha = alpha;
            let back: StageConfig = serde_json::from_slice(&serde_json::to_vec(&stage).unwrap()).unwrap();
            let floats = |stage: &StageConfig| {
                let norm = stage.max_grad_norm.map(f64::to_bits);
                let decay = stage.weight_decay.to_bits();
                (stage.learning_rate.to_bits(), stage.warmup_ratio.to_bits(), decay, norm, stage.lora.alpha.to_bits())
            };
            prop_assert_eq!(floats(&back), floats(&stage));
        }
    }

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
