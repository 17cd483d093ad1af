use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Int, Tensor};

use super::{SiglipConfig, SiglipText, SiglipVision};
use crate::{Error, Result};

/// SigLIP: both towers, and scale and bias of its logits. Hugging Face's `SiglipModel`.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::{SiglipConfig, SiglipTextConfig, SiglipVisionConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let text = SiglipTextConfig::new().with_vocab_size(100).with_hidden_size(16).with_num_hidden_layers(1).with_num_attention_heads(2);
/// let vision = SiglipVisionConfig::new()
///     .with_hidden_size(16)
///     .with_num_hidden_layers(1)
///     .with_num_attention_heads(2)
///     .with_image_size(32);
/// let model = SiglipConfig::new(text, vision).init(&device)?;
/// assert_eq!(model.vision_model.forward(Tensor::zeros([2, 3, 32, 32], &device)).dims(), [2, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Siglip {
    /// The text tower.
    pub text_model: SiglipText,
    /// The image tower.
    pub vision_model: SiglipVision,
    /// The logarithm of the scale of the logits, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
    /// What is added to the logits, `[1]`.
    pub logit_bias: Param<Tensor<1>>,
}

impl SiglipConfig {
    /// A model with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// Those of the towers; [`Error::Mismatch`] where their embeddings have different widths.
    pub fn init(&self, device: &Device) -> Result<Siglip> {
        let (text, image) = (self.text_config.embedding_dim(), self.vision_config.hidden_size);
        if text != image {
            return Err(Error::mismatch("width of text embeddings (as those of pictures)", image, text));
        }
        let constant = |value| Initializer::Constant { value }.init([1], device);
        Ok(Siglip {
            text_model: self.text_config.init(device)?,
            vision_model: self.vision_config.init(device)?,
            logit_scale: constant(10.0_f64.ln()),
            logit_bias: constant(-10.0),
        })
    }
}

impl Siglip {
    /// The logits of each picture for each text: cosines times the scale, plus the bias.
    ///
    /// # Shapes
    ///
    /// - pixels: `[n, channels, image_size, image_size]`
    /// - tokens: `[m, max_position_embeddings]`
    /// - output: `[n, m]`
    pub fn forward(&self, pixels: Tensor<4>, tokens: Tensor<2, Int>) -> Tensor<2> {
        let unit = crate::embedding::normalize;
        let (image, text) = (unit(self.vision_model.forward(pixels)), unit(self.text_model.forward(tokens)));
        image.matmul(text.transpose()) * self.logit_scale.val().exp().unsqueeze()
            + self.logit_bias.val().unsqueeze()
    }
}
