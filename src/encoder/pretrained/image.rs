use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::unit_rows::{raw_rows, unit_rows};
#[cfg(feature = "image")]
use crate::encoder::PictureProcessor;
use crate::encoder::{ClipVision, EfficientNetLite, Head, SiglipVision, image_tower};

/// A published image tower, and what it wants done to pictures first.
///
/// [`PretrainedEncoder`](super::PretrainedEncoder) reads one.
#[derive(Clone, Debug)]
pub struct ImageEncoder {
    pub(super) tower: ImageTower,
    #[cfg(feature = "image")]
    pub(super) processor: PictureProcessor,
    pub(super) device: Device,
    pub(super) dtype: DType,
    pub(super) dim: usize,
    pub(super) side: usize,
    pub(super) fingerprint: String,
    /// What leads from the features of the tower into a common space.
    pub(super) head: Option<Head>,
}

/// The image towers that can be read.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one for each encoder, and modules are not boxed")]
pub(super) enum ImageTower {
    Clip(ClipVision),
    Siglip(SiglipVision),
    EfficientNet(EfficientNetLite),
    Dual(image_tower::ImageTower),
}

impl ImageEncoder {
    /// The width of its embeddings.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The side of the pictures that it takes, in pixels.
    pub fn image_size(&self) -> usize {
        self.side
    }

    /// What is done to pictures first.
    #[cfg(feature = "image")]
    pub fn processor(&self) -> &PictureProcessor {
        &self.processor
    }

    /// A number that changes with the weights, the configuration and the processing of pictures.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The device of its weights.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pixels: `[n, 3, image_size, image_size]`, processed, in any float type
    /// - output: `[n, dim]` in float32, not normalised
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let pixels = pixels.cast(self.dtype);
        let rows = match &self.tower {
            ImageTower::Clip(tower) => tower.forward(pixels),
            ImageTower::Siglip(tower) => tower.forward(pixels),
            ImageTower::EfficientNet(tower) => tower.forward(pixels),
            ImageTower::Dual(tower) => tower.forward(pixels),
        };
        let rows = rows.cast(DType::F32);
        match &self.head {
            Some(head) => head.forward(rows),
            None => rows,
        }
    }

    /// Embeds processed pictures that lie on the host one after the other, `[n, 3, image_size, image_size]` row-major:
    /// the rows `[n, dim]`, of unit length.
    ///
    /// # Panics
    ///
    /// If the pixels are not a whole number of pictures.
    pub fn embed(&self, pixels: Vec<f32>) -> Vec<f32> {
        self.rows(pixels).map_or_else(Vec::new, unit_rows)
    }

    /// As [`embed`](Self::embed), with the rows as the tower makes them: features to train something on.
    ///
    /// # Panics
    ///
    /// If the pixels are not a whole number of pictures.
    pub fn features(&self, pixels: Vec<f32>) -> Vec<f32> {
        self.rows(pixels).map_or_else(Vec::new, raw_rows)
    }

    fn rows(&self, pixels: Vec<f32>) -> Option<Tensor<2>> {
        let side = self.image_size();
        let picture = 3 * side * side;
        assert!(
            pixels.len().is_multiple_of(picture),
            "{} pixels are not pictures of {picture}",
            pixels.len()
        );
        let n = pixels.len() / picture;
        if n == 0 {
            return None;
        }
        let data = TensorData::new(pixels, [n, 3, side, side]);
        Some(self.forward(Tensor::from_data(data, (&self.device, DType::F32))))
    }
}
