use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{Head, HeadConfig};
use crate::embedding::normalize_bounded;
use crate::encoder::logit_scale::LogitScale;
use crate::encoder::{InfoNceLoss, LogitScaleConfig};
use crate::{Error, Result};

/// Configuration of [`ContrastiveHeads`].
#[derive(Config, Debug)]
pub struct ContrastiveHeadsConfig {
    /// The head on the features of pictures.
    pub image: HeadConfig,
    /// The head on the features of texts.
    pub text: HeadConfig,
    /// The scale of the logits. Default: fixed at 60.
    #[config(default = "LogitScaleConfig::Fixed(60.0)")]
    pub logit_scale: LogitScaleConfig,
}

/// Two heads on frozen towers, and the scale of their logits: a dual encoder of which only the last layers are trained
/// (after LiT, arXiv 2111.07991, where the image tower is frozen).
#[derive(Module, Debug)]
pub struct ContrastiveHeads {
    /// The head on the features of pictures.
    pub image: Head,
    /// The head on the features of texts.
    pub text: Head,
    pub(super) logit_scale: LogitScale,
}

impl ContrastiveHeadsConfig {
    /// Heads with initial weights on `device`, for features with these means and standard deviations of their columns.
    ///
    /// # Errors
    ///
    /// Those of [`HeadConfig::init`]; [`Error::Mismatch`] for heads that end in different widths; [`Error::Config`] for a scale
    /// that is not positive and finite, or begins above its maximum.
    pub fn init(
        &self,
        image_columns: &[(f64, f64)],
        text_columns: &[(f64, f64)],
        device: &Device,
    ) -> Result<ContrastiveHeads> {
        if self.image.output_dim != self.text.output_dim {
            let what = "width of the text head (as that of the image head)";
            return Err(Error::mismatch(what, self.image.output_dim, self.text.output_dim));
        }
        let (init, max) = match self.logit_scale {
            LogitScaleConfig::Fixed(value) => (value, value),
            LogitScaleConfig::Learned { init, max } => (init, max),
        };
        if !(0.0 < init && init <= max && max.is_finite()) {
            let detail = format!("expected a number above 0 and up to its maximum, found {init} and {max}");
            return Err(Error::config("logit_scale", detail));
        }
        Ok(ContrastiveHeads {
            image: self.image.init(image_columns, device)?,
            text: self.text.init(text_columns, device)?,
            logit_scale: self.logit_scale.init(device),
        })
    }
}

impl ContrastiveHeads {
    /// Unit rows of pictures, from the features of their tower.
    ///
    /// # Shapes
    ///
    /// - features: `[n, input_dim]`
    /// - output: `[n, output_dim]`
    pub fn embed_images(&self, features: Tensor<2>) -> Tensor<2> {
        normalize_bounded(self.image.forward(features))
    }

    /// Unit rows of texts, from the features of their tower.
    ///
    /// # Shapes
    ///
    /// - features: `[n, input_dim]`
    /// - output: `[n, output_dim]`
    pub fn embed_texts(&self, features: Tensor<2>) -> Tensor<2> {
        normalize_bounded(self.text.forward(features))
    }

    /// The scale of the logits, `[1]`.
    pub fn logit_scale(&self) -> Tensor<1> {
        self.logit_scale.forward()
    }

    /// The contrastive loss of pairs, `[1]`; those of one group are no negatives of each other.
    ///
    /// # Shapes
    ///
    /// - image, text: `[n, input_dim]` of each head; rows belong together
    /// - groups: `n`
    pub fn forward(&self, image: Tensor<2>, text: Tensor<2>, groups: &[usize]) -> Tensor<1> {
        let (image, text) = (self.embed_images(image), self.embed_texts(text));
        InfoNceLoss::new().forward_grouped(image, text, self.logit_scale(), groups)
    }

    /// The heads with a learned scale clamped to its maximum.
    pub(super) fn with_scale_clamped(self) -> Self {
        Self { logit_scale: self.logit_scale.clamped(), ..self }
    }
}
