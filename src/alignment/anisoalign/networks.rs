//! The score network of stage I and the refinement network of stage II.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;

use crate::Result;
use crate::alignment::record::{self, Stored};
use crate::random::seeded_rng;

/// A layer with weights drawn on the host, so that they are the same on every device; `gain` 0 makes all of them zero.
fn layer(inputs: usize, outputs: usize, gain: f64, seed: [u64; 2], device: &Device) -> Linear {
    let mut rng = seeded_rng(seed[0], &[0x006e_6574, seed[1]]);
    let bound = gain / (inputs as f64).sqrt();
    let weight: Vec<f32> =
        (0..inputs * outputs).map(|_| (bound * (2.0 * rng.random::<f64>() - 1.0)) as f32).collect();
    let parameter = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F32))
    };
    Linear {
        weight: Param::from_tensor(parameter(weight, [inputs, outputs])),
        bias: Some(Param::from_tensor(Tensor::zeros([outputs], (device, DType::F32)))),
    }
}

/// A layer as constants: what was learned is never trained again.
fn constant(layer: &Linear, device: &Device) -> Linear {
    let [inputs, outputs] = layer.weight.dims();
    let bias = layer.bias.as_ref().expect("every layer has a bias");
    Linear {
        weight: record::constant(record::host(&layer.weight), [inputs, outputs], device),
        bias: Some(record::constant(record::host(bias), [outputs], device)),
    }
}

/// `x sigmoid(x)` in the type of its input; Burn's own computes in float32 on some backends, whatever the type.
fn silu(x: Tensor<2>) -> Tensor<2> {
    let half = x / 2.0;
    half.clone() * (half.tanh() + 1.0)
}

/// The layer applied as a constant, in the type of its input.
fn apply(layer: &Linear, input: Tensor<2>) -> Tensor<2> {
    let dtype = input.dtype();
    let bias = layer.bias.as_ref().expect("every layer has a bias");
    input.matmul(record::value(&layer.weight, dtype)) + record::value(bias, dtype).unsqueeze()
}

fn stored(stored: &mut Stored, name: &str, inputs: usize, device: &Device) -> Result<(Linear, usize)> {
    let (weight, [found, outputs]) = stored.take::<2>(&format!("{name}.weight"), device)?;
    if found != inputs {
        return Err(stored.error(format!("{name}.weight: expected {inputs} inputs, found {found}")));
    }
    let bias = stored.take_shaped(&format!("{name}.bias"), [outputs], device)?;
    Ok((Linear { weight, bias: Some(bias) }, outputs))
}

/// `s_phi`: the score of noisy phases, given the noise and the radii.
///
/// Two hidden layers on `[sin phi, cos phi, log rho, ln sigma, ln^2 sigma]`. The output is the score times the standard
/// deviation of the noise, which is of the order of one at every level.
#[derive(Module, Debug)]
pub(super) struct ScoreNetwork {
    first: Linear,
    second: Linear,
    last: Linear,
}

impl ScoreNetwork {
    pub fn init(blocks: usize, width: usize, seed: u64, device: &Device) -> Self {
        Self {
            first: layer(3 * blocks + 2, width, 1.0, [seed, 0], device),
            second: layer(width, width, 1.0, [seed, 1], device),
            last: layer(width, blocks, 0.0, [seed, 2], device),
        }
    }

    /// # Shapes
    ///
    /// - phase, log_radius: `[n, m]`, the logarithms standardised
    /// - log_sigma: `[n, 1]`
    /// - output: `[n, m]`
    pub fn forward(&self, phase: Tensor<2>, log_radius: Tensor<2>, log_sigma: Tensor<2>) -> Tensor<2> {
        let square = log_sigma.clone().square();
        let input = Tensor::cat(vec![phase.clone().sin(), phase.cos(), log_radius, log_sigma, square], 1);
        let hidden = silu(self.first.forward(input));
        self.last.forward(silu(self.second.forward(hidden)))
    }

    /// As [`ScoreNetwork::forward`], as a constant: gradients go through it and not to it.
    pub fn apply(&self, phase: Tensor<2>, log_radius: Tensor<2>, log_sigma: Tensor<2>) -> Tensor<2> {
        let square = log_sigma.clone().square();
        let input = Tensor::cat(vec![phase.clone().sin(), phase.cos(), log_radius, log_sigma, square], 1);
        let hidden = silu(apply(&self.first, input));
        apply(&self.last, silu(apply(&self.second, hidden)))
    }

    pub fn constant(&self, device: &Device) -> Self {
        let constant = |layer| constant(layer, device);
        Self { first: constant(&self.first), second: constant(&self.second), last: constant(&self.last) }
    }

    pub fn from_stored(from: &mut Stored, blocks: usize, device: &Device) -> Result<Self> {
        let (first, width) = stored(from, "score.first", 3 * blocks + 2, device)?;
        let (second, width) = stored(from, "score.second", width, device)?;
        let (last, outputs) = stored(from, "score.last", width, device)?;
        match outputs == blocks {
            true => Ok(Self { first, second, last }),
            false => Err(from.error(format!("score.last: expected {blocks} outputs, found {outputs}"))),
        }
    }
}

/// `g_eta`: the corrections of phases, radii and, where it has outputs for them, of the coordinates of `V` (Eq. 7). One hidden
/// layer; the last layer begins at zero, so that the refinement begins at the initialisation.
#[derive(Module, Debug)]
pub(super) struct Refiner {
    first: Linear,
    last: Linear,
}

/// The layers of a [`Refiner`] on the host.
pub(super) struct HostRefiner {
    /// `[3 m + d, h]` row-major.
    pub first: Vec<f32>,
    pub first_bias: Vec<f32>,
    /// `[h, 2 m]` or `[h, 2 m + d]` row-major.
    pub last: Vec<f32>,
    pub last_bias: Vec<f32>,
}

impl Refiner {
    pub fn init(
        blocks: usize,
        dim: usize,
        width: usize,
        complement: bool,
        seed: u64,
        device: &Device,
    ) -> Self {
        let outputs = 2 * blocks + if complement { dim } else { 0 };
        Self {
            first: layer(3 * blocks + dim, width, 1.0, [seed, 3], device),
            last: layer(width, outputs, 0.0, [seed, 4], device),
        }
    }

    /// What is learned: features `[n, 3 m + d]` to corrections `[n, 2 m]` or `[n, 2 m + d]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.last.forward(silu(self.first.forward(features)))
    }

    /// As [`Refiner::forward`], as a constant in the type of the features.
    pub fn apply(&self, features: Tensor<2>) -> Tensor<2> {
        apply(&self.last, silu(apply(&self.first, features)))
    }

    pub fn constant(&self, device: &Device) -> Self {
        Self { first: constant(&self.first, device), last: constant(&self.last, device) }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.last.weight.dims()[1]
    }

    pub fn host(&self) -> HostRefiner {
        let bias = |layer: &Linear| record::host(layer.bias.as_ref().expect("every layer has a bias"));
        HostRefiner {
            first: record::host(&self.first.weight),
            first_bias: bias(&self.first),
            last: record::host(&self.last.weight),
            last_bias: bias(&self.last),
        }
    }

    pub fn from_stored(from: &mut Stored, blocks: usize, dim: usize, device: &Device) -> Result<Self> {
        let (first, width) = stored(from, "refiner.first", 3 * blocks + dim, device)?;
        let (last, outputs) = stored(from, "refiner.last", width, device)?;
        match outputs == 2 * blocks || outputs == 2 * blocks + dim {
            true => Ok(Self { first, last }),
            false => {
                let (without, with) = (2 * blocks, 2 * blocks + dim);
                Err(from
                    .error(format!("refiner.last: expected {without} or {with} outputs, found {outputs}")))
            }
        }
    }
}
