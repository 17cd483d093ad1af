use burn::module::ParamGroup;
use burn::optim::ModuleOptimizer;

use crate::fused::FusedAdamW;
use crate::{Error, Result};

/// AdamW (arXiv 1711.05101) as both stages use it, with the settings of Hugging Face's trainer: `beta_1` 0.9, `epsilon` 1e-8,
/// and no weight decay of biases and gains of norms. Steps are those of Burn's AdamW to the bit; on flex, in float32, one goes
/// over the memory of weights and moments once.
///
/// # Errors
///
/// [`Error::Config`] for a weight decay that is negative or not finite.
///
/// # Example
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::training::adamw;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default().autodiff();
/// let layer = LinearConfig::new(4, 2).init(&device);
/// let loss = layer.forward(Tensor::<2>::ones([3, 4], &device)).powi_scalar(2).mean();
/// let grads = GradientsParams::from_grads(loss.backward(), &layer);
/// let layer = adamw(0.01, 0.999)?.step(1e-3, layer, grads);
/// assert_eq!(layer.weight.dims(), [4, 2]);
/// # Ok(())
/// # }
/// ```
pub fn adamw(weight_decay: f32, beta_2: f32) -> Result<ModuleOptimizer> {
    if !weight_decay.is_finite() || weight_decay < 0.0 {
        return Err(Error::config(
            "weight_decay",
            format!("must be finite and at least 0, found {weight_decay}"),
        ));
    }
    let adamw = |weight_decay| FusedAdamW::new([0.9, beta_2], 1e-8, weight_decay);
    let without_decay =
        ParamGroup::from_regex(r"(^|\.)(bias|gamma|beta|log_scale)$").expect("the pattern is valid");
    Ok(ModuleOptimizer::from(adamw(weight_decay)).with_group(without_decay, adamw(0.0), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::{Module, Param};
    use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    struct Layers {
        linear: Linear,
        norm: RmsNorm,
    }

    #[test]
    fn matrices_decay_and_biases_and_gains_do_not() {
        let device = Device::default().autodiff();
        let ones = |value: f32| Param::from_tensor(Tensor::<1>::full([3], value, &device));
        let mut layers = Layers {
            linear: LinearConfig::new(3, 3).init(&device),
            norm: RmsNormConfig::new(3).init(&device),
        };
        layers.linear.bias = Some(ones(2.0));
        let mut grads = GradientsParams::new();
        let plain = device.clone().inner();
        grads.register(layers.linear.weight.id, Tensor::<2>::zeros([3, 3], &plain));
        grads.register(layers.linear.bias.as_ref().unwrap().id, Tensor::<1>::zeros([3], &plain));
        grads.register(layers.norm.gamma.id, Tensor::<1>::zeros([3], &plain));
        let before = layers.clone();
        let after = adamw(0.5, 0.999).unwrap().step(0.1, layers, grads);
        let shrunk = after.linear.weight.val() - before.linear.weight.val() * 0.95;
        assert!(shrunk.abs().max().into_scalar::<f32>() < 1e-6);
        let bias = |layers: &Layers| layers.linear.bias.as_ref().unwrap().val().into_data();
        assert_eq!(bias(&after), bias(&before));
        assert_eq!(after.norm.gamma.val().into_data(), before.norm.gamma.val().into_data());
    }

    #[test]
    fn impossible_decays_are_refused() {
        assert!(adamw(f32::NAN, 0.999).is_err() && adamw(-0.1, 0.999).is_err());
    }
}
