use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Int, Tensor};

use super::{ClipConfig, ClipText, ClipVision};
use crate::Result;

/// CLIP: both towers and the scale of its logits. Hugging Face's `CLIPModel`.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::{ClipConfig, ClipTextConfig, ClipVisionConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = ClipTextConfig::new().with_vocab_size(100).with_hidden_size(16).with_num_hidden_layers(1).with_num_attention_heads(2);
/// let vision = ClipVisionConfig::new()
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_image_size(32)
///     .with_patch_size(8);
/// let clip = ClipConfig::new(text, vision).with_projection_dim(8).init(&device)?;
/// assert_eq!(clip.vision.forward(Tensor::zeros([2, 3, 32, 32], &device)).dims(), [2, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Clip {
    /// The text tower.
    pub text: ClipText,
    /// The image tower.
    pub vision: ClipVision,
    /// The logarithm of the scale of the logits, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
}

impl ClipConfig {
    /// A model with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// Those of [`ClipTextConfig::init`](super::ClipTextConfig::init) and
    /// [`ClipVisionConfig::init`](super::ClipVisionConfig::init).
    pub fn init(&self, device: &Device) -> Result<Clip> {
        let text = self.text_config.clone().with_projection_dim(self.projection_dim);
        let vision = self.vision_config.clone().with_projection_dim(self.projection_dim);
        Ok(Clip {
            text: text.init(device)?,
            vision: vision.init(device)?,
            logit_scale: Initializer::Constant { value: (1.0_f64 / 0.07).ln() }.init([1], device),
        })
    }
}

impl Clip {
    /// The logits of each picture for each text: cosines times the scale.
    ///
    /// # Shapes
    ///
    /// - pixels: `[n, channels, image_size, image_size]`
    /// - tokens: `[m, time]`
    /// - output: `[n, m]`
    pub fn forward(&self, pixels: Tensor<4>, tokens: Tensor<2, Int>) -> Tensor<2> {
        let unit = crate::embedding::normalize;
        let (image, text) = (unit(self.vision.forward(pixels)), unit(self.text.forward(tokens)));
        image.matmul(text.transpose()) * self.logit_scale.val().exp().unsqueeze()
    }
}
