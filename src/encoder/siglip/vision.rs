use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm};
use burn::tensor::{Device, Tensor};

use super::SiglipVisionConfig;
use crate::encoder::patches::patches;
use crate::encoder::transformer::{AttentionPooling, Mlp, TransformerEncoder};
use crate::{Result, assert_shape};

/// The image tower of SigLIP: Hugging Face's `SiglipVisionModel`, a vision transformer that is pooled by attention.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::SiglipVisionConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let config = SiglipVisionConfig::new()
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_image_size(32)
///     .with_patch_size(8);
/// assert_eq!(config.init(&device)?.forward(Tensor::zeros([2, 3, 32, 32], &device)).dims(), [2, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct SiglipVision {
    embeddings: VisionEmbeddings,
    encoder: TransformerEncoder,
    post_layernorm: LayerNorm,
    head: Option<PoolingHead>,
    image_size: usize,
}

#[derive(Module, Debug)]
struct VisionEmbeddings {
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

/// A learned query attends to all positions, and its answer goes through an MLP.
#[derive(Module, Debug)]
struct PoolingHead {
    probe: Param<Tensor<3>>,
    attention: AttentionPooling,
    layernorm: LayerNorm,
    mlp: Mlp,
}

impl SiglipVisionConfig {
    /// A tower with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for sizes of zero, a number of heads that does not divide the width, and
    /// pictures smaller than a patch.
    pub fn init(&self, device: &Device) -> Result<SiglipVision> {
        self.check()?;
        let (width, patch) = (self.hidden_size, self.patch_size);
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        let layers = self.layers();
        let head = self.vision_use_head.then(|| PoolingHead {
            probe: normal.init([1, 1, width], device),
            attention: AttentionPooling::init(width, self.num_attention_heads, device),
            layernorm: layers.norm(device),
            mlp: layers.mlp(device),
        });
        Ok(SiglipVision {
            embeddings: VisionEmbeddings {
                patch_embedding: Conv2dConfig::new([self.num_channels, width], [patch, patch])
                    .with_stride([patch, patch])
                    .init(device),
                position_embedding: EmbeddingConfig::new(self.num_patches(), width)
                    .with_initializer(normal)
                    .init(device),
            },
            encoder: layers.init(self.num_hidden_layers, device),
            post_layernorm: layers.norm(device),
            head,
            image_size: self.image_size,
        })
    }
}

impl SiglipVision {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pixels: `[n, channels, image_size, image_size]`
    /// - output: `[n, hidden_size]`, not normalised
    ///
    /// # Panics
    ///
    /// If the tower has no head that pools (`vision_use_head`).
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let head = self.head.as_ref().expect("a SigLIP tower without head has no embedding of a picture");
        let hidden = self.post_layernorm.forward(self.encoder.forward(self.embed(pixels), false));
        head.forward(hidden)
    }

    /// Whether the tower pools, and so has an embedding of a picture.
    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// The side of the pictures, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    fn embed(&self, pixels: Tensor<4>) -> Tensor<3> {
        let size = self.image_size;
        assert_shape!(pixels, [_, _, size, size], "pictures for SigLIP");
        let positions = self.embeddings.position_embedding.weight.val();
        patches(&self.embeddings.patch_embedding, pixels) + positions.unsqueeze()
    }

    /// The states before the first and after each layer, without the last norm: `[n, patches, hidden_size]` each.
    #[cfg(test)]
    pub(in crate::encoder) fn hidden_states(&self, pixels: Tensor<4>) -> Vec<Tensor<3>> {
        self.encoder.hidden_states(self.embed(pixels), false)
    }
}

impl PoolingHead {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        let pooled = self.attention.forward(self.probe.val(), hidden);
        (pooled.clone() + self.mlp.forward(self.layernorm.forward(pooled))).squeeze_dim(1)
    }
}
