use burn::config::Config;
use burn::tensor::Device;

use super::model::{Block, ConvNorm, EfficientNetLite};
use crate::{Error, Result};

/// Configuration of [`EfficientNetLite`]. The defaults are those of Lite0; the five lists are parallel, with an entry for each
/// stage.
#[derive(Config, Debug)]
pub struct EfficientNetLiteConfig {
    /// The side of the pictures that it was trained on, in pixels. Others may be given: the tower is convolutional.
    #[config(default = 224)]
    pub image_size: usize,
    /// The channels of a picture.
    #[config(default = 3)]
    pub num_channels: usize,
    /// The channels of the first convolution.
    #[config(default = 32)]
    pub stem_dim: usize,
    /// The channels that each stage begins with.
    #[config(default = "vec![32, 16, 24, 40, 80, 112, 192]")]
    pub in_channels: Vec<usize>,
    /// The channels that each stage ends with.
    #[config(default = "vec![16, 24, 40, 80, 112, 192, 320]")]
    pub out_channels: Vec<usize>,
    /// The sides of the kernels.
    #[config(default = "vec![3, 3, 5, 3, 5, 5, 3]")]
    pub kernel_sizes: Vec<usize>,
    /// The stride of the first block of each stage.
    #[config(default = "vec![1, 2, 2, 2, 1, 2, 1]")]
    pub strides: Vec<usize>,
    /// The blocks of each stage.
    #[config(default = "vec![1, 2, 2, 3, 3, 4, 1]")]
    pub num_block_repeats: Vec<usize>,
    /// What a block multiplies its channels by.
    #[config(default = "vec![1, 6, 6, 6, 6, 6, 6]")]
    pub expand_ratios: Vec<usize>,
    /// The width of the embedding.
    #[config(default = 1280)]
    pub hidden_dim: usize,
    /// What was added to variances in batch normalisation.
    #[config(default = 1e-3)]
    pub batch_norm_eps: f64,
}

impl EfficientNetLiteConfig {
    /// The published sizes Lite0 to Lite4, with pictures of 224, 240, 260, 280 and 300 pixels.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for another number.
    pub fn lite(size: usize) -> Result<Self> {
        let sizes = [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300)];
        let Some(&(width, depth, image_size)) = sizes.get(size) else {
            return Err(Error::config("EfficientNet-Lite", format!("expected 0 to 4, found {size}")));
        };
        let base = Self::new();
        let last = base.out_channels.len() - 1;
        // The first and the last convolution keep their width, and the first and the last stage their depth.
        let mut in_channels: Vec<usize> = base.in_channels.iter().map(|n| rounded(*n, width)).collect();
        in_channels[0] = base.stem_dim;
        let out_channels = base.out_channels.iter().map(|n| rounded(*n, width)).collect();
        let repeats = base.num_block_repeats.iter().enumerate().map(|(stage, count)| match stage {
            stage if stage == 0 || stage == last => *count,
            _ => (depth * *count as f64).ceil() as usize,
        });
        let repeats = repeats.collect();
        Ok(base
            .with_image_size(image_size)
            .with_in_channels(in_channels)
            .with_out_channels(out_channels)
            .with_num_block_repeats(repeats))
    }

    /// A tower with initial weights on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for lists of different lengths, sizes of zero, and stages that do not fit one another.
    pub fn init(&self, device: &Device) -> Result<EfficientNetLite> {
        self.check()?;
        let conv =
            |channels, kernel, stride, groups| ConvNorm::init(channels, kernel, stride, groups, device);
        let mut blocks = Vec::new();
        for stage in 0..self.in_channels.len() {
            let (kernel, output) = (self.kernel_sizes[stage], self.out_channels[stage]);
            for repeat in 0..self.num_block_repeats[stage] {
                let (input, stride) = match repeat {
                    0 => (self.in_channels[stage], self.strides[stage]),
                    _ => (output, 1),
                };
                let wide = input * self.expand_ratios[stage];
                blocks.push(Block {
                    expand: (wide != input).then(|| conv([input, wide], 1, 1, 1)),
                    depthwise: conv([wide, wide], kernel, stride, wide),
                    project: conv([wide, output], 1, 1, 1),
                    is_residual: stride == 1 && input == output,
                });
            }
        }
        let last = *self.out_channels.last().expect("there are stages");
        Ok(EfficientNetLite {
            stem: conv([self.num_channels, self.stem_dim], 3, 2, 1),
            blocks,
            head: conv([last, self.hidden_dim], 1, 1, 1),
        })
    }

    fn check(&self) -> Result<()> {
        let key = |name: &str| format!("efficientnet, {name}");
        let stages = self.in_channels.len();
        let lists = [
            ("in_channels", &self.in_channels),
            ("out_channels", &self.out_channels),
            ("kernel_sizes", &self.kernel_sizes),
            ("strides", &self.strides),
            ("num_block_repeats", &self.num_block_repeats),
            ("expand_ratios", &self.expand_ratios),
        ];
        for (name, list) in lists {
            if list.len() != stages || list.is_empty() || list.contains(&0) {
                let detail = format!("expected {} numbers above 0, found {list:?}", stages.max(1));
                return Err(Error::config(key(name), detail));
            }
        }
        for (name, value) in [
            ("image_size", self.image_size),
            ("num_channels", self.num_channels),
            ("stem_dim", self.stem_dim),
            ("hidden_dim", self.hidden_dim),
        ] {
            if value == 0 {
                return Err(Error::config(key(name), "must be at least 1, found 0"));
            }
        }
        let before = std::iter::once(&self.stem_dim).chain(&self.out_channels);
        for (stage, (before, input)) in before.zip(&self.in_channels).enumerate() {
            if before != input {
                let detail = format!("stage {stage}: expected {before}, as before it, found {input}");
                return Err(Error::config(key("in_channels"), detail));
            }
        }
        Ok(())
    }
}

/// Channels times a factor, as a multiple of 8 that is at most a tenth below.
fn rounded(channels: usize, factor: f64) -> usize {
    let wanted = channels as f64 * factor;
    let near = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * wanted { near + 8 } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;

    /// The numbers of parameters of the published models (in millions 4.7, 5.4, 6.1, 8.2 and 13.0), without the classifier, and
    /// with one bias for each gain and offset of a norm.
    #[test]
    fn sizes_are_those_of_the_published_models() {
        for (size, millions) in [(0, 4.65), (1, 5.42), (2, 6.09), (3, 8.2), (4, 13.01)] {
            let tower = EfficientNetLiteConfig::lite(size).unwrap().init(&Device::default()).unwrap();
            let norms: usize = tower.channels();
            let found = (tower.num_params() + norms + 1281 * 1000) as f64 / 1e6;
            assert!((found - millions).abs() < 0.02 * millions, "Lite{size}: {found}");
        }
        assert!(EfficientNetLiteConfig::lite(5).unwrap_err().to_string().contains("found 5"));
    }

    #[test]
    fn stages_that_do_not_fit_are_refused() {
        for (config, expected) in [
            (EfficientNetLiteConfig::new().with_strides(vec![1, 2]), "strides: expected 7 numbers"),
            (EfficientNetLiteConfig::new().with_stem_dim(8), "in_channels: stage 0: expected 8"),
            (EfficientNetLiteConfig::new().with_hidden_dim(0), "hidden_dim"),
        ] {
            let error = config.init(&Device::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
