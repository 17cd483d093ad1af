use std::collections::HashSet;
use std::path::Path;

use super::EfficientNetLiteConfig;
use crate::weights::WeightSource;
use crate::{Error, Result};

/// The weights of convolutions with the batch normalisation behind them folded in, in float64, under the names of the
/// parameters here.
///
/// Two families of names are known: those of the package `efficientnet_lite_pytorch` (`_blocks.3._depthwise_conv.weight`) and
/// those of timm (`blocks.1.2.conv_dw.weight`).
pub(in crate::encoder) struct FoldedWeights<S> {
    source: S,
    eps: f64,
    convs: Vec<Folded>,
}

/// A convolution here, and what is folded into it there.
struct Folded {
    name: String,
    conv: String,
    norm: String,
}

impl<S: WeightSource> FoldedWeights<S> {
    pub fn new(source: S, config: &EfficientNetLiteConfig) -> Self {
        let is_timm = source.names().iter().any(|name| name == "conv_stem.weight");
        let mut convs = Vec::new();
        let mut add = |name: String, conv: String, norm: String| convs.push(Folded { name, conv, norm });
        let outer = |package: &str, timm: &str| if is_timm { timm.to_string() } else { package.to_string() };
        add("stem".into(), outer("_conv_stem", "conv_stem"), outer("_bn0", "bn1"));
        add("head".into(), outer("_conv_head", "conv_head"), outer("_bn1", "bn2"));
        let mut block = 0;
        for (stage, repeats) in config.num_block_repeats.iter().enumerate() {
            let expands = config.expand_ratios[stage] != 1;
            for repeat in 0..*repeats {
                // timm counts norms from one, whether a block is widened or not.
                let parts: &[(&str, &str, &str, &str, &str)] = match expands {
                    true => &[
                        ("expand", "_expand_conv", "_bn0", "conv_pw", "bn1"),
                        ("depthwise", "_depthwise_conv", "_bn1", "conv_dw", "bn2"),
                        ("project", "_project_conv", "_bn2", "conv_pwl", "bn3"),
                    ],
                    false => &[
                        ("depthwise", "_depthwise_conv", "_bn1", "conv_dw", "bn1"),
                        ("project", "_project_conv", "_bn2", "conv_pw", "bn2"),
                    ],
                };
                for (part, package, package_norm, timm, timm_norm) in parts {
                    let (conv, norm) = match is_timm {
                        true => {
                            let at = format!("blocks.{stage}.{repeat}");
                            (format!("{at}.{timm}"), format!("{at}.{timm_norm}"))
                        }
                        false => {
                            (format!("_blocks.{block}.{package}"), format!("_blocks.{block}.{package_norm}"))
                        }
                    };
                    add(format!("blocks.{block}.{part}"), conv, norm);
                }
                block += 1;
            }
        }
        Self { source, eps: config.batch_norm_eps, convs }
    }

    /// Whether these are all convolutions of the file, and the last one has this width.
    pub fn fits(&self, names: &HashSet<String>, config: &EfficientNetLiteConfig) -> bool {
        let is_conv = |name: &&String| name.contains("conv") && name.ends_with(".weight");
        let last = config.out_channels.last().copied().unwrap_or_default();
        let head = self.convs.iter().find(|conv| conv.name == "head").expect("there is a last convolution");
        names.iter().filter(is_conv).count() == self.convs.len()
            && self.convs.iter().all(|conv| names.contains(&format!("{}.weight", conv.conv)))
            && self.source.read(&format!("{}.weight", head.conv), &[config.hidden_dim, last, 1, 1]).is_ok()
    }

    /// What a channel is multiplied by, and what is added to it.
    fn scale_and_shift(&self, norm: &str, channels: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        let read = |part: &str| self.source.read(&format!("{norm}.{part}"), &[channels]);
        let (gain, offset) = (read("weight")?, read("bias")?);
        let (mean, variance) = (read("running_mean")?, read("running_var")?);
        if let Some(at) = variance.iter().position(|variance| *variance < 0.0) {
            let detail = format!("{norm:?}, running_var: expected variances, found {} at {at}", variance[at]);
            return Err(Error::format(self.source.path(), detail));
        }
        let scale: Vec<f64> = gain
            .iter()
            .zip(&variance)
            .map(|(gain, variance)| f64::from(*gain) / (f64::from(*variance) + self.eps).sqrt())
            .collect();
        let shift = scale
            .iter()
            .zip(offset.iter().zip(&mean))
            .map(|(scale, (offset, mean))| f64::from(*offset) - scale * f64::from(*mean))
            .collect();
        Ok((scale, shift))
    }
}

/// What belongs to the classifier, or counts the batches of training.
fn is_unused(name: &str) -> bool {
    let is_classifier = ["_fc.", "classifier."].iter().any(|start| name.starts_with(start));
    is_classifier || name.ends_with(".num_batches_tracked")
}

impl<S: WeightSource> WeightSource for FoldedWeights<S> {
    fn path(&self) -> &Path {
        self.source.path()
    }

    /// Those of the convolutions here, and whatever of the file is in none of them.
    fn names(&self) -> Vec<String> {
        let folded = |name: &String| {
            let (owner, _) = name.rsplit_once('.').unwrap_or((name, ""));
            self.convs.iter().any(|conv| owner == conv.conv || owner == conv.norm)
        };
        let others = self.source.names().into_iter().filter(|name| !folded(name) && !is_unused(name));
        let own =
            self.convs.iter().flat_map(|conv| ["weight", "bias"].map(|part| format!("{}.{part}", conv.name)));
        own.chain(others).collect()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (owner, part) = name.rsplit_once('.').unwrap_or((name, ""));
        let Some(conv) = self.convs.iter().find(|conv| conv.name == owner) else {
            return Err(Error::format(self.source.path(), format!("no weight {name:?}")));
        };
        let (scale, shift) = self.scale_and_shift(&conv.norm, shape[0])?;
        if part == "bias" {
            return Ok(shift.into_iter().map(|value| value as f32).collect());
        }
        let mut values = self.source.read(&format!("{}.weight", conv.conv), shape)?;
        let each = values.len() / shape[0];
        for (filter, scale) in values.chunks_mut(each).zip(scale) {
            filter.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        Ok(values)
    }
}
