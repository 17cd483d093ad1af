//! The image tower: a small convolutional network from images to embeddings.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Gelu, GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use crate::assert_shape;

/// Configuration of the image tower of a [`DualEncoder`](super::DualEncoder): convolutions, each followed by group
/// normalisation and GELU, the mean over all pixels and a linear projection.
///
/// `channels` and `strides` are parallel lists with one entry per convolution. Channels are normalised in groups within
/// one image, so that an embedding depends on its image alone, in training and in inference.
#[derive(Config, Debug)]
pub struct ImageTowerConfig {
    /// The output channels of each convolution.
    pub channels: Vec<usize>,
    /// The stride of each convolution. Strides 1 and 2 use a 3x3 kernel with one pixel of padding; a larger stride
    /// uses a kernel of the same size, which divides the image into patches.
    pub strides: Vec<usize>,
    /// The width of the embedding.
    pub embed_dim: usize,
    /// The channels of an image. Default: 3.
    #[config(default = 3)]
    pub in_channels: usize,
    /// The height and width of an image, in pixels. Default: 32.
    #[config(default = 32)]
    pub image_size: usize,
    /// The channels of a normalisation group; must divide every entry of `channels`. Default: 16.
    #[config(default = 16)]
    pub group_size: usize,
}

/// A convolution, its normalisation and GELU.
#[derive(Module, Debug)]
struct ConvBlock {
    conv: Conv2d,
    norm: GroupNorm,
    activation: Gelu,
}

/// The image tower, see [`ImageTowerConfig`].
#[derive(Module, Debug)]
pub(super) struct ImageTower {
    blocks: Vec<ConvBlock>,
    projection: Linear,
    in_channels: usize,
    image_size: usize,
}

impl ImageTowerConfig {
    /// Whether there is such a tower; otherwise what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.channels.is_empty() {
            return Err("channels: expected at least 1 convolution, found 0".into());
        }
        if self.channels.len() != self.strides.len() {
            let (channels, strides) = (self.channels.len(), self.strides.len());
            return Err(format!("channels and strides: expected as many, found {channels} and {strides}"));
        }
        if self.strides.contains(&0) {
            return Err("strides: expected at least 1, found 0".into());
        }
        let size = self.group_size;
        match self.channels.iter().find(|channels| size == 0 || !channels.is_multiple_of(size)) {
            Some(channels) => Err(format!("group_size: {size} does not divide {channels} channels")),
            None => Ok(()),
        }
    }

    /// Initializes a tower on `device`.
    ///
    /// # Panics
    ///
    /// If `channels` is empty or `strides` has another length, a stride is zero, or `group_size` does not divide
    /// the channels.
    pub(super) fn init(&self, device: &Device) -> ImageTower {
        if let Err(detail) = self.check() {
            panic!("image tower: {detail}");
        }
        let mut blocks = Vec::with_capacity(self.channels.len());
        let mut input = self.in_channels;
        for (&output, &stride) in self.channels.iter().zip(&self.strides) {
            let (kernel, padding) = match stride {
                1 | 2 => (3, PaddingConfig2d::Explicit(1, 1, 1, 1)),
                patch => (patch, PaddingConfig2d::Valid),
            };
            // The normalisation subtracts the mean and has a bias of its own.
            let conv = Conv2dConfig::new([input, output], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(padding)
                .with_bias(false)
                .init(device);
            let norm = GroupNormConfig::new(output / self.group_size, output).init(device);
            blocks.push(ConvBlock { conv, norm, activation: Gelu::new() });
            input = output;
        }
        ImageTower {
            blocks,
            projection: LinearConfig::new(input, self.embed_dim).init(device),
            in_channels: self.in_channels,
            image_size: self.image_size,
        }
    }
}

impl ImageTower {
    /// Embeds images.
    ///
    /// # Shapes
    ///
    /// - images: `[n, in_channels, image_size, image_size]`
    /// - output: `[n, embed_dim]`, not normalised
    ///
    /// # Panics
    ///
    /// If the images have another shape.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let (channels, size) = (self.in_channels, self.image_size);
        let [n, c, height, width] = images.dims();
        assert!(
            [c, height, width] == [channels, size, size],
            "images: expected shape [_, {channels}, {size}, {size}], found [{n}, {c}, {height}, {width}]"
        );
        let mut features = images;
        for block in &self.blocks {
            features = block.conv.forward(features);
            features = block.activation.forward(block.norm.forward(features));
        }
        let pooled: Tensor<2> = features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2);
        assert_shape!(pooled, [n, _], "pooled features");
        self.projection.forward(pooled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing::assert_independent_rows;
    use burn::tensor::Distribution;

    #[test]
    fn an_embedding_depends_on_its_image_alone() {
        let device = Device::default();
        let tower = ImageTowerConfig::new(vec![16, 32, 32], vec![4, 2, 1], 8).init(&device);
        let images = Tensor::<4>::random([6, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
        let together = tower.forward(images.clone());
        assert_eq!(together.dims(), [6, 8]);
        assert_independent_rows(together, |row| tower.forward(images.clone().narrow(0, row, 1)));
    }

    #[test]
    fn different_images_have_different_embeddings() {
        let device = Device::default();
        let tower = ImageTowerConfig::new(vec![16], vec![2], 8).init(&device);
        let images = Tensor::<4>::random([2, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
        let rows = tower.forward(images);
        let distance = (rows.clone().narrow(0, 0, 1) - rows.narrow(0, 1, 1)).abs().sum();
        assert!(distance.into_scalar::<f32>() > 1e-3);
    }

    #[test]
    #[should_panic(expected = "expected shape [_, 3, 32, 32], found [2, 3, 16, 32]")]
    fn another_size_panics_with_both_shapes() {
        let device = Device::default();
        let tower = ImageTowerConfig::new(vec![16], vec![2], 8).init(&device);
        tower.forward(Tensor::zeros([2, 3, 16, 32], &device));
    }
}
