use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::ClipVisionConfig;
use crate::encoder::patches::patches;
use crate::encoder::transformer::TransformerEncoder;
use crate::{Result, assert_shape};

/// The image tower of CLIP with its projection: Hugging Face's `CLIPVisionModelWithProjection`, a vision transformer (arXiv
/// 2010.11929) that is pooled at its class token.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::ClipVisionConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let config = ClipVisionConfig::new()
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_image_size(32)
///     .with_patch_size(8)
///     .with_projection_dim(8);
/// let tower = config.init(&device)?;
/// assert_eq!(tower.forward(Tensor::zeros([2, 3, 32, 32], &device)).dims(), [2, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct ClipVision {
    pub(super) vision_model: VisionTransformer,
    pub(super) visual_projection: Linear,
}

#[derive(Module, Debug)]
pub(super) struct VisionTransformer {
    embeddings: VisionEmbeddings,
    // The spelling of the published weights.
    pre_layrnorm: LayerNorm,
    encoder: TransformerEncoder,
    post_layernorm: LayerNorm,
    image_size: usize,
}

#[derive(Module, Debug)]
struct VisionEmbeddings {
    class_embedding: Param<Tensor<1>>,
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

impl ClipVisionConfig {
    /// A tower with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for sizes of zero, a number of heads that does not divide the width, and
    /// pictures smaller than a patch.
    pub fn init(&self, device: &Device) -> Result<ClipVision> {
        self.check()?;
        let (width, patch) = (self.hidden_size, self.patch_size);
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        let layers = self.layers();
        Ok(ClipVision {
            vision_model: VisionTransformer {
                embeddings: VisionEmbeddings {
                    class_embedding: normal.init([width], device),
                    patch_embedding: Conv2dConfig::new([self.num_channels, width], [patch, patch])
                        .with_stride([patch, patch])
                        .with_bias(false)
                        .init(device),
                    position_embedding: EmbeddingConfig::new(self.num_patches() + 1, width)
                        .with_initializer(normal)
                        .init(device),
                },
                pre_layrnorm: layers.norm(device),
                encoder: layers.init(self.num_hidden_layers, device),
                post_layernorm: layers.norm(device),
                image_size: self.image_size,
            },
            visual_projection: LinearConfig::new(width, self.projection_dim).with_bias(false).init(device),
        })
    }
}

impl ClipVision {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pixels: `[n, channels, image_size, image_size]`
    /// - output: `[n, projection_dim]`, not normalised
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.visual_projection.forward(self.vision_model.forward(pixels))
    }

    /// The side of the pictures, in pixels.
    pub fn image_size(&self) -> usize {
        self.vision_model.image_size
    }

    /// The states before the first and after each layer: `[n, 1 + patches, hidden_size]` each.
    #[cfg(test)]
    pub(in crate::encoder) fn hidden_states(&self, pixels: Tensor<4>) -> Vec<Tensor<3>> {
        let hidden = self.vision_model.pre_layrnorm.forward(self.vision_model.embed(pixels));
        self.vision_model.encoder.hidden_states(hidden, false)
    }
}

impl VisionTransformer {
    fn embed(&self, pixels: Tensor<4>) -> Tensor<3> {
        let size = self.image_size;
        assert_shape!(pixels, [_, _, size, size], "pictures for CLIP");
        let [n, _, _, _] = pixels.dims();
        let patches = patches(&self.embeddings.patch_embedding, pixels);
        let class = self.embeddings.class_embedding.val().reshape([1, 1, -1]).repeat_dim(0, n);
        Tensor::cat(vec![class, patches], 1) + self.embeddings.position_embedding.weight.val().unsqueeze()
    }

    /// The state of the class token.
    fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let hidden = self.encoder.forward(self.pre_layrnorm.forward(self.embed(pixels)), false);
        let class: Tensor<2> = hidden.narrow(1, 0, 1).squeeze_dim(1);
        self.post_layernorm.forward(class)
    }
}
