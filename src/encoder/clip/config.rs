use burn::config::Config;

use crate::encoder::transformer::{Activation, EncoderLayerConfig};
use crate::{Error, Result};

/// Configuration of [`ClipText`](super::ClipText): the fields of `text_config` of a published `config.json`.
#[derive(Config, Debug)]
pub struct ClipTextConfig {
    /// The number of tokens.
    #[config(default = 49408)]
    pub vocab_size: usize,
    /// The width of the hidden states.
    #[config(default = 512)]
    pub hidden_size: usize,
    /// The width between the two layers of an MLP.
    #[config(default = 2048)]
    pub intermediate_size: usize,
    /// The number of layers.
    #[config(default = 12)]
    pub num_hidden_layers: usize,
    /// The number of attention heads.
    #[config(default = 8)]
    pub num_attention_heads: usize,
    /// The longest text, in tokens.
    #[config(default = 77)]
    pub max_position_embeddings: usize,
    /// The activation of the MLPs.
    #[config(default = "Activation::QuickGelu")]
    pub hidden_act: Activation,
    /// What is added to variances in norms.
    #[config(default = 1e-5)]
    pub layer_norm_eps: f64,
    /// The token at which a text is pooled. Where it is 2, as older configurations say wrongly, texts are pooled at the
    /// largest token.
    #[config(default = 49407)]
    pub eos_token_id: i64,
    /// The width of the embedding of a tower on its own.
    #[config(default = 512)]
    pub projection_dim: usize,
}

/// Configuration of [`ClipVision`](super::ClipVision): the fields of `vision_config` of a published `config.json`.
#[derive(Config, Debug)]
pub struct ClipVisionConfig {
    /// The width of the hidden states.
    #[config(default = 768)]
    pub hidden_size: usize,
    /// The width between the two layers of an MLP.
    #[config(default = 3072)]
    pub intermediate_size: usize,
    /// The number of layers.
    #[config(default = 12)]
    pub num_hidden_layers: usize,
    /// The number of attention heads.
    #[config(default = 12)]
    pub num_attention_heads: usize,
    /// The number of channels of a picture.
    #[config(default = 3)]
    pub num_channels: usize,
    /// The side of a picture, in pixels.
    #[config(default = 224)]
    pub image_size: usize,
    /// The side of a patch, in pixels.
    #[config(default = 32)]
    pub patch_size: usize,
    /// The activation of the MLPs.
    #[config(default = "Activation::QuickGelu")]
    pub hidden_act: Activation,
    /// What is added to variances in norms.
    #[config(default = 1e-5)]
    pub layer_norm_eps: f64,
    /// The width of the embedding of a tower on its own.
    #[config(default = 512)]
    pub projection_dim: usize,
}

/// Configuration of [`Clip`](super::Clip): a published `config.json`.
#[derive(Config, Debug)]
pub struct ClipConfig {
    /// The text tower.
    pub text_config: ClipTextConfig,
    /// The image tower.
    pub vision_config: ClipVisionConfig,
    /// The width of the common space.
    #[config(default = 512)]
    pub projection_dim: usize,
}

/// Refuses a number of attention heads that does not divide the width, and sizes of zero.
pub(in crate::encoder) fn check_sizes(
    tower: &str,
    sizes: &[(&str, usize)],
    heads: (usize, usize),
) -> Result<()> {
    if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
        return Err(Error::config(format!("{tower}.{name}"), "must be at least 1, found 0"));
    }
    let (heads, width) = heads;
    if heads == 0 || !width.is_multiple_of(heads) {
        let detail = format!("must divide hidden_size {width}, found {heads}");
        return Err(Error::config(format!("{tower}.num_attention_heads"), detail));
    }
    Ok(())
}

impl ClipTextConfig {
    /// Refuses sizes that no tower can have.
    pub(super) fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("projection_dim", self.projection_dim),
        ];
        check_sizes("text_config", &sizes, (self.num_attention_heads, self.hidden_size))
    }

    pub(super) fn layers(&self) -> EncoderLayerConfig {
        EncoderLayerConfig::new(
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.hidden_act,
            self.layer_norm_eps,
        )
    }
}

impl ClipVisionConfig {
    /// The number of patches of a picture.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Refuses sizes that no tower can have.
    pub(super) fn check(&self) -> Result<()> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("num_channels", self.num_channels),
            ("patch_size", self.patch_size),
            ("projection_dim", self.projection_dim),
        ];
        check_sizes("vision_config", &sizes, (self.num_attention_heads, self.hidden_size))?;
        if self.image_size < self.patch_size {
            let detail =
                format!("must be at least patch_size {}, found {}", self.patch_size, self.image_size);
            return Err(Error::config("vision_config.image_size", detail));
        }
        Ok(())
    }

    pub(super) fn layers(&self) -> EncoderLayerConfig {
        EncoderLayerConfig::new(
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.hidden_act,
            self.layer_norm_eps,
        )
    }
}
