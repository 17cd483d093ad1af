use burn::config::Config;

use crate::encoder::clip::check_sizes;
use crate::encoder::transformer::{Activation, EncoderLayerConfig};
use crate::{Error, Result};

/// Configuration of [`SiglipText`](super::SiglipText): the fields of `text_config` of a published `config.json`.
#[derive(Config, Debug)]
pub struct SiglipTextConfig {
    /// The number of tokens.
    #[config(default = 32000)]
    pub vocab_size: usize,
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
    /// The number of tokens of a text, padding included.
    #[config(default = 64)]
    pub max_position_embeddings: usize,
    /// The activation of the MLPs.
    #[config(default = "Activation::GeluTanh")]
    pub hidden_act: Activation,
    /// What is added to variances in norms.
    #[config(default = 1e-6)]
    pub layer_norm_eps: f64,
    /// The width of the embedding; by default that of the hidden states.
    #[config(default = "None")]
    pub projection_size: Option<usize>,
}

/// Configuration of [`SiglipVision`](super::SiglipVision): the fields of `vision_config` of a published `config.json`.
#[derive(Config, Debug)]
pub struct SiglipVisionConfig {
    /// The width of the hidden states and of the embedding.
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
    #[config(default = 16)]
    pub patch_size: usize,
    /// The activation of the MLPs.
    #[config(default = "Activation::GeluTanh")]
    pub hidden_act: Activation,
    /// What is added to variances in norms.
    #[config(default = 1e-6)]
    pub layer_norm_eps: f64,
    /// Whether pictures are pooled by attention; without, the tower has hidden states and no embedding.
    #[config(default = true)]
    pub vision_use_head: bool,
}

/// Configuration of [`Siglip`](super::Siglip): a published `config.json`.
#[derive(Config, Debug)]
pub struct SiglipConfig {
    /// The text tower.
    pub text_config: SiglipTextConfig,
    /// The image tower.
    pub vision_config: SiglipVisionConfig,
}

impl SiglipTextConfig {
    /// The width of the embedding.
    pub fn embedding_dim(&self) -> usize {
        self.projection_size.unwrap_or(self.hidden_size)
    }

    /// Refuses sizes that no tower can have.
    pub(super) fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("projection_size", self.embedding_dim()),
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

impl SiglipVisionConfig {
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
