use burn::config::Config;
use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::{Activation, SelfAttention};
use crate::fused::linears;

/// What the layers of a tower have in common.
#[derive(Config, Debug)]
pub(in crate::encoder) struct EncoderLayerConfig {
    /// The width of the hidden states.
    pub hidden_size: usize,
    /// The width between the two layers of the MLP.
    pub intermediate_size: usize,
    /// The number of attention heads.
    pub num_attention_heads: usize,
    /// The activation of the MLP.
    pub hidden_act: Activation,
    /// What is added to variances before they are divided by.
    pub layer_norm_eps: f64,
}

/// Two linear layers around an activation.
#[derive(Module, Debug)]
pub(in crate::encoder) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

/// A pre-norm layer: `h + attention(norm(h))`, then `h + mlp(norm(h))`.
#[derive(Module, Debug)]
pub(in crate::encoder) struct EncoderLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

/// Layers one after the other.
#[derive(Module, Debug)]
pub(in crate::encoder) struct TransformerEncoder {
    layers: Vec<EncoderLayer>,
}

impl EncoderLayerConfig {
    /// An encoder of `count` layers with initial weights.
    ///
    /// # Panics
    ///
    /// If the number of heads does not divide the hidden size.
    pub fn init(&self, count: usize, device: &Device) -> TransformerEncoder {
        let layers = (0..count).map(|_| EncoderLayer {
            layer_norm1: self.norm(device),
            self_attn: SelfAttention::init(self.hidden_size, self.num_attention_heads, device),
            layer_norm2: self.norm(device),
            mlp: self.mlp(device),
        });
        TransformerEncoder { layers: layers.collect() }
    }

    /// A norm as in the layers.
    pub fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.hidden_size).with_epsilon(self.layer_norm_eps).init(device)
    }

    /// An MLP as in the layers.
    pub fn mlp(&self, device: &Device) -> Mlp {
        Mlp {
            fc1: LinearConfig::new(self.hidden_size, self.intermediate_size).init(device),
            fc2: LinearConfig::new(self.intermediate_size, self.hidden_size).init(device),
            activation: self.hidden_act,
        }
    }
}

impl Mlp {
    /// # Shapes
    ///
    /// - hidden, output: `[batch, time, hidden_size]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        let [rows] = linears([&self.fc1], hidden.reshape([batch * time, width]));
        let [output] = linears([&self.fc2], self.activation.forward(rows));
        output.reshape([batch, time, width])
    }
}

impl EncoderLayer {
    fn forward(&self, hidden: Tensor<3>, is_causal: bool) -> Tensor<3> {
        let hidden = hidden.clone() + self.self_attn.forward(self.layer_norm1.forward(hidden), is_causal);
        hidden.clone() + self.mlp.forward(self.layer_norm2.forward(hidden))
    }
}

impl TransformerEncoder {
    /// The states after the last layer.
    ///
    /// # Shapes
    ///
    /// - hidden, output: `[batch, time, hidden_size]`
    pub fn forward(&self, hidden: Tensor<3>, is_causal: bool) -> Tensor<3> {
        self.layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden, is_causal))
    }

    /// The states before the first and after each layer.
    #[cfg(test)]
    pub fn hidden_states(&self, hidden: Tensor<3>, is_causal: bool) -> Vec<Tensor<3>> {
        let mut states = vec![hidden];
        for layer in &self.layers {
            let last = states.last().expect("there is a first state").clone();
            states.push(layer.forward(last, is_causal));
        }
        states
    }
}
