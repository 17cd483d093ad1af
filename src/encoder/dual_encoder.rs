//! The dual encoder: two towers and a logit scale.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};

use super::image_tower::{ImageTower, ImageTowerConfig};
use super::info_nce::InfoNceLoss;
use super::logit_scale::{LogitScale, LogitScaleConfig};
use super::pairs::{PairBatch, PairDataset};
use super::text_tower::{TextTower, TextTowerConfig};
use crate::embedding::normalize_bounded;
use crate::{Error, Result};

/// Configuration of a [`DualEncoder`].
#[derive(Config, Debug)]
pub struct DualEncoderConfig {
    /// The image tower.
    pub image: ImageTowerConfig,
    /// The text tower.
    pub text: TextTowerConfig,
    /// The scale of the logits. Default: fixed at 50.
    #[config(default = "LogitScaleConfig::Fixed(50.0)")]
    pub logit_scale: LogitScaleConfig,
}

/// A contrastive dual encoder: an image tower and a text tower with a common embedding space and no common weights.
///
/// Embeddings have unit length. Only the loss, a function of dot products, attracts the two clouds of embeddings; the
/// distance that remains after training is the modality gap.
///
/// A trained encoder is saved with [`save_pretrained`](Self::save_pretrained), for
/// [`PretrainedEncoder`](crate::encoder::PretrainedEncoder), or with [`Module::save_file`] and loaded with [`Module::load_file`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::{DualEncoderConfig, ImageTowerConfig, TextTowerConfig};
///
/// let device = Device::default();
/// let image = ImageTowerConfig::new(vec![16, 32], vec![4, 2], 8);
/// let text = TextTowerConfig::new(100, 16, 32, 1, 4, 8);
/// let encoder = DualEncoderConfig::new(image, text).init(&device);
/// let rows = encoder.embed_images(Tensor::zeros([2, 3, 32, 32], &device));
/// assert_eq!(rows.dims(), [2, 8]);
/// ```
#[derive(Module, Debug)]
pub struct DualEncoder {
    pub(super) image: ImageTower,
    pub(super) text: TextTower,
    logit_scale: LogitScale,
}

impl DualEncoderConfig {
    /// Whether there is such an encoder; otherwise what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let (image, text) = (&self.image, &self.text);
        image.check().map_err(|detail| format!("image: {detail}"))?;
        text.check().map_err(|detail| format!("text: {detail}"))?;
        match (image.embed_dim, text.embed_dim) {
            (image, text) if image != text => {
                Err(format!("embed_dim: the towers end in different widths, {image} and {text}"))
            }
            _ => self.logit_scale.check(),
        }
    }

    /// Initializes an encoder on `device`.
    ///
    /// # Panics
    ///
    /// If the towers have different embedding widths, `channels` of the image tower is empty or differs in length from
    /// `strides`, a stride is zero, `group_size` does not divide the channels, `n_heads` does not divide `d_model`, or the
    /// logit scale is not positive and finite or starts above its maximum.
    pub fn init(&self, device: &Device) -> DualEncoder {
        if let Err(detail) = self.check() {
            panic!("dual encoder: {detail}");
        }
        DualEncoder {
            image: self.image.init(device),
            text: self.text.init(device),
            logit_scale: self.logit_scale.init(device),
        }
    }
}

impl DualEncoder {
    /// Embeds images on the unit sphere.
    ///
    /// # Shapes
    ///
    /// - images: `[n, channels, height, width]`
    /// - output: `[n, embed_dim]`, unit rows
    pub fn embed_images(&self, images: Tensor<4>) -> Tensor<2> {
        normalize_bounded(self.image.forward(images))
    }

    /// Embeds texts on the unit sphere.
    ///
    /// # Shapes
    ///
    /// - tokens: `[n, len]`
    /// - pad_mask: `[n, len]`, true where a token is padding
    /// - output: `[n, embed_dim]`, unit rows
    pub fn embed_texts(&self, tokens: Tensor<2, Int>, pad_mask: Tensor<2, Bool>) -> Tensor<2> {
        normalize_bounded(self.text.forward(tokens, pad_mask))
    }

    /// Embeds the images and the texts of a whole dataset, `batch_size` pairs at a time.
    ///
    /// # Returns
    ///
    /// Images and texts, `[n, embed_dim]` each, unit rows in the order of the dataset.
    ///
    /// # Panics
    ///
    /// If the dataset is empty.
    pub fn embed_pairs(&self, pairs: &PairDataset, batch_size: usize) -> (Tensor<2>, Tensor<2>) {
        assert!(!pairs.is_empty(), "embed_pairs: expected at least 1 pair, found 0");
        let device = self.logit_scale.forward().device();
        let (images, texts) = pairs
            .batches(batch_size, &device)
            .map(|batch| (self.embed_images(batch.images), self.embed_texts(batch.tokens, batch.pad_mask)))
            .unzip();
        (Tensor::cat(images, 0), Tensor::cat(texts, 0))
    }

    /// The scale of the logits, `[1]`.
    pub fn logit_scale(&self) -> Tensor<1> {
        self.logit_scale.forward()
    }

    /// The contrastive loss of a batch, `[1]`.
    pub(super) fn forward(&self, batch: PairBatch) -> Tensor<1> {
        let image = self.embed_images(batch.images);
        let text = self.embed_texts(batch.tokens, batch.pad_mask);
        let (loss, scale) = (InfoNceLoss::new(), self.logit_scale.forward());
        match batch.groups {
            Some(groups) => loss.forward_grouped(image, text, scale, &groups),
            None => loss.forward(image, text, scale),
        }
    }

    /// Checks that all texts fit the text tower.
    ///
    /// # Errors
    ///
    /// [`Error::Sample`] for the first text with too many tokens or an unknown one.
    pub(super) fn check(&self, pairs: &PairDataset) -> Result<()> {
        let (longest, known) = (self.text.max_len(), self.text.vocab_size());
        for (row, pair) in pairs.pairs().iter().enumerate() {
            let refuse = |detail| Err(Error::sample(format!("pair {row}"), detail));
            if pair.tokens.len() > longest {
                return refuse(format!("{} tokens; the text tower takes {longest}", pair.tokens.len()));
            }
            if let Some(token) = pair.tokens.iter().find(|token| **token as usize >= known) {
                return refuse(format!("token {token}; the text tower knows {known} tokens"));
            }
        }
        Ok(())
    }

    /// The encoder with a learned logit scale clamped to its maximum.
    pub(super) fn with_scale_clamped(self) -> Self {
        Self { logit_scale: self.logit_scale.clamped(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Pair;
    use approx::assert_abs_diff_eq;
    use burn::tensor::Tolerance;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn config() -> DualEncoderConfig {
        let image = ImageTowerConfig::new(vec![16, 32], vec![4, 2], 8).with_image_size(8);
        DualEncoderConfig::new(image, TextTowerConfig::new(30, 6, 16, 1, 2, 8))
    }

    fn pairs(count: usize) -> PairDataset {
        let mut rng = StdRng::seed_from_u64(9);
        let mut pair = || Pair {
            pixels: (0..3 * 8 * 8).map(|_| rng.random_range(-1.0..1.0)).collect(),
            tokens: (0..rng.random_range(1..6)).map(|_| rng.random_range(0..30)).collect(),
        };
        PairDataset::new((0..count).map(|_| pair()).collect(), [3, 8, 8]).unwrap()
    }

    #[test]
    fn every_embedding_has_unit_length() {
        let (image, text) = config().init(&Device::default()).embed_pairs(&pairs(11), 4);
        for rows in [image, text] {
            assert_eq!(rows.dims(), [11, 8]);
            for norm in (rows.clone() * rows).sum_dim(1).into_data().iter::<f32>() {
                assert_abs_diff_eq!(norm, 1.0, epsilon = 1e-5);
            }
        }
    }

    #[test]
    fn the_batch_size_changes_no_embedding() {
        let encoder = config().init(&Device::default());
        let tolerance = Tolerance::<f32>::absolute(1e-5);
        let (image, text) = encoder.embed_pairs(&pairs(7), 7);
        let (image_alone, text_alone) = encoder.embed_pairs(&pairs(7), 1);
        image.into_data().assert_approx_eq(&image_alone.into_data(), tolerance);
        text.into_data().assert_approx_eq(&text_alone.into_data(), tolerance);
    }

    #[test]
    fn a_saved_encoder_comes_back_with_its_embeddings_and_its_scale() {
        let device = Device::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encoder");
        let encoder = config().with_logit_scale(LogitScaleConfig::Fixed(37.0)).init(&device);
        let before = encoder.embed_pairs(&pairs(5), 5);
        encoder.clone().save_file(&path).unwrap();

        let fresh =
            config().with_logit_scale(LogitScaleConfig::Learned { init: 2.0, max: 50.0 }).init(&device);
        let other = fresh.embed_pairs(&pairs(5), 5).0;
        assert!((other - before.0.clone()).abs().max().into_scalar::<f32>() > 1e-3);
        let loaded = fresh.load_file(&path);
        let after = loaded.embed_pairs(&pairs(5), 5);
        assert_eq!(before.0.into_data(), after.0.into_data());
        assert_eq!(before.1.into_data(), after.1.into_data());
        assert_eq!(encoder.logit_scale().into_data(), loaded.logit_scale().into_data());
    }

    #[test]
    #[should_panic(expected = "different widths")]
    fn towers_of_different_widths_panic() {
        let mut config = config();
        config.text.embed_dim = 9;
        config.init(&Device::default());
    }
}
