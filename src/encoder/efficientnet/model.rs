use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

/// EfficientNet-Lite without its classifier: the mean over the pixels of the last features is the embedding.
///
/// It is a frozen tower: batch normalisation is folded into the convolution before it, whose bias it becomes. Pictures are
/// padded as TensorFlow does it with "SAME": by as much as an output of `ceil(size / stride)` needs, an odd pixel at the end.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::EfficientNetLiteConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let tower = EfficientNetLiteConfig::lite(0)?.init(&device)?;
/// assert_eq!(tower.forward(Tensor::zeros([1, 3, 64, 64], &device)).dims(), [1, 1280]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    pub(super) stem: ConvNorm,
    pub(super) blocks: Vec<Block>,
    pub(super) head: ConvNorm,
}

/// An inverted residual block (arXiv 1801.04381): wide, by channel, narrow again.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub expand: Option<ConvNorm>,
    pub depthwise: ConvNorm,
    pub project: ConvNorm,
    pub is_residual: bool,
}

/// A convolution with the batch normalisation behind it, as one convolution with a bias.
#[derive(Module, Debug)]
pub(super) struct ConvNorm {
    /// `[output, input / groups, side, side]`
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    stride: usize,
    groups: usize,
}

impl ConvNorm {
    pub fn init(
        [input, output]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        device: &Device,
    ) -> Self {
        let shape = [output, input / groups, kernel, kernel];
        let (fan_in, fan_out) = (shape[1] * kernel * kernel, output * kernel * kernel / groups);
        let normal = Initializer::KaimingNormal { gain: 2.0_f64.sqrt(), fan_out_only: true };
        Self {
            weight: normal.init_with(shape, Some(fan_in), Some(fan_out), device),
            bias: Initializer::Zeros.init([output], device),
            stride,
            groups,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let weight = self.weight.val();
        let [_, _, height, width] = input.dims();
        let [_, _, side, _] = weight.dims();
        let padding = [height, width].map(|size| same_padding(size, side, self.stride));
        let options =
            ConvOptions { stride: [self.stride; 2], padding, dilation: [1; 2], groups: self.groups };
        conv2d(input, weight, Some(self.bias.val()), options)
    }
}

/// The padding before and behind that "SAME" means.
fn same_padding(size: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let covered = (size.div_ceil(stride) - 1) * stride + kernel;
    let all = covered.saturating_sub(size);
    (all / 2, all - all / 2)
}

fn relu6(input: Tensor<4>) -> Tensor<4> {
    input.clamp(0.0, 6.0)
}

impl Block {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let wide = match &self.expand {
            Some(expand) => relu6(expand.forward(input.clone())),
            None => input.clone(),
        };
        let output = self.project.forward(relu6(self.depthwise.forward(wide)));
        if self.is_residual { output + input } else { output }
    }
}

impl EfficientNetLite {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pixels: `[n, num_channels, height, width]`
    /// - output: `[n, hidden_dim]`, not normalised
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<2> {
        let first = relu6(self.stem.forward(pixels));
        let features = self.blocks.iter().fold(first, |features, block| block.forward(features));
        let features = relu6(self.head.forward(features));
        features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
    }

    /// The channels of all convolutions.
    #[cfg(test)]
    pub(super) fn channels(&self) -> usize {
        let block = |block: &Block| {
            let convs = [block.expand.as_ref(), Some(&block.depthwise), Some(&block.project)];
            convs.into_iter().flatten().map(|conv| conv.bias.dims()[0]).sum::<usize>()
        };
        self.stem.bias.dims()[0] + self.head.bias.dims()[0] + self.blocks.iter().map(block).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_gives_the_output_its_size() {
        for size in 1..40 {
            for kernel in [1, 3, 5] {
                for stride in [1, 2, 3] {
                    let (before, behind) = same_padding(size, kernel, stride);
                    assert!(behind == before || behind == before + 1);
                    assert_eq!((size + before + behind - kernel) / stride + 1, size.div_ceil(stride));
                }
            }
        }
        assert_eq!(same_padding(224, 3, 2), (0, 1));
        assert_eq!(same_padding(7, 5, 1), (2, 2));
    }
}
