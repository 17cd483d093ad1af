//! Attention of the decoders: the layer, and how its queries attend to keys, for training and without gradients.

mod causal;
mod inference;
mod padding;
mod training;

#[cfg(feature = "flex")]
mod host;

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::KvCache;
use super::rope::RotaryAngles;
use crate::fused::{linears, rms_norm};
pub(super) use causal::CausalBias;
pub(super) use inference::Attention;
pub(super) use padding::Padding;

/// Configuration of [`CausalSelfAttention`].
#[derive(Config, Debug)]
pub(super) struct CausalSelfAttentionConfig {
    /// The size of the hidden states.
    pub(super) hidden_size: usize,
    /// The number of query heads.
    pub(super) num_heads: usize,
    /// The number of key and value heads; each serves `num_heads / num_kv_heads` query heads.
    pub(super) num_kv_heads: usize,
    /// The size of a head.
    pub(super) head_dim: usize,
    /// Whether query, key and value projections have a bias (Qwen2 does).
    #[config(default = false)]
    pub(super) bias: bool,
    /// Whether the output projection has a bias.
    #[config(default = false)]
    pub(super) output_bias: bool,
    /// The constant under the root of the norms over each query and key head, where there are such norms.
    pub(super) head_norm_eps: Option<f64>,
    /// What scores are multiplied by; `1 / sqrt(head_dim)` where absent.
    pub(super) scale: Option<f64>,
    /// Scores `s` become `cap * tanh(s / cap)`, where this is set.
    pub(super) score_cap: Option<f64>,
}

/// What all layers share of a pass over positions.
pub(super) struct Pass {
    /// The equal positions that the first stands for.
    pub(super) copies: usize,
    /// That of the cache.
    pub(super) padding: Option<Padding>,
    /// What hides later positions.
    pub(super) causal: CausalBias,
}

/// Causal self-attention with grouped queries (arXiv 2305.13245) and rotary positions.
#[derive(Module, Debug)]
pub(super) struct CausalSelfAttention {
    q_proj: Linear,
    pub(super) k_proj: Linear,
    pub(super) v_proj: Linear,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    num_heads: usize,
    pub(super) num_kv_heads: usize,
    head_dim: usize,
    #[module(skip)]
    scale: Option<f64>,
    #[module(skip)]
    score_cap: Option<f64>,
}

impl CausalSelfAttentionConfig {
    /// Initialises the layer with weights drawn by `initializer`.
    pub(super) fn init(&self, initializer: &Initializer, device: &Device) -> CausalSelfAttention {
        let linear = |input, output, bias| {
            LinearConfig::new(input, output)
                .with_bias(bias)
                .with_initializer(initializer.clone())
                .init(device)
        };
        let norm =
            || self.head_norm_eps.map(|eps| RmsNormConfig::new(self.head_dim).with_epsilon(eps).init(device));
        let (queries, keys) = (self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim);
        CausalSelfAttention {
            q_proj: linear(self.hidden_size, queries, self.bias),
            k_proj: linear(self.hidden_size, keys, self.bias),
            v_proj: linear(self.hidden_size, keys, self.bias),
            o_proj: linear(queries, self.hidden_size, self.output_bias),
            q_norm: norm(),
            k_norm: norm(),
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            scale: self.scale,
            score_cap: self.score_cap,
        }
    }
}

impl CausalSelfAttention {
    /// The numbers of query heads and of key and value heads.
    pub(super) fn heads(&self) -> (usize, usize) {
        (self.num_heads, self.num_kv_heads)
    }

    /// Whether query, key and value projections have a bias.
    pub(super) fn has_bias(&self) -> bool {
        self.q_proj.bias.is_some()
    }

    /// Whether the output projection has a bias.
    pub(super) fn has_output_bias(&self) -> bool {
        self.o_proj.bias.is_some()
    }

    /// Whether queries and keys pass a norm.
    pub(super) fn has_head_norms(&self) -> bool {
        self.q_norm.is_some()
    }

    /// The attended hidden states. `angles` are those of all positions, with the copies, `None` in a layer without positions;
    /// keys and values are appended to those of `layer` in the `cache`.
    ///
    /// # Shapes
    ///
    /// - hidden, output: `[batch, time, hidden_size]`
    pub(super) fn forward(
        &self,
        hidden: Tensor<3>,
        angles: Option<&RotaryAngles>,
        layer: usize,
        cache: Option<&mut KvCache>,
        pass: &Pass,
    ) -> Tensor<3> {
        let Pass { copies, padding, causal } = pass;
        let copies = *copies;
        let [batch, time, width] = hidden.dims();
        // As one matrix: a batch of products with the same weights would prepare them for each sequence anew.
        let rows = hidden.reshape([batch * time, width]);
        let heads = |x: Tensor<2>, n, norm: Option<&RmsNorm>| {
            let x = x.reshape([batch, time, n, self.head_dim]);
            match norm {
                Some(norm) => rms_norm(norm, x),
                None => x,
            }
        };
        let placed = |x: Tensor<4>| match angles {
            Some(angles) => angles.last(x.dims()[1]).rotate(x),
            None => x.swap_dims(1, 2),
        };
        let [query, key, value] = linears([&self.q_proj, &self.k_proj, &self.v_proj], rows);
        let query = heads(query, self.num_heads, self.q_norm.as_ref());
        let key = heads(key, self.num_kv_heads, self.k_norm.as_ref());
        let value = heads(value, self.num_kv_heads, None);
        let of_copies = (copies > 1).then(|| self.of_copies(value.clone()));

        let (key, value) = (placed(with_copies(key, copies)), with_copies(value, copies).swap_dims(1, 2));
        let (key, value) = match cache {
            Some(cache) => cache.append(layer, key, value),
            None => (key, value),
        };
        let mixed = |query: Tensor<4>| {
            let query = placed(query);
            if query.is_autodiff() {
                self.attention().differentiable(query, key, value, causal)
            } else {
                self.attention().forward(query, key, value, padding.as_ref(), causal).swap_dims(1, 2)
            }
        };
        let mixed = match of_copies {
            None => mixed(query),
            Some(of_copies) if time == 1 => of_copies,
            Some(of_copies) => Tensor::cat(vec![of_copies, mixed(query.narrow(1, 1, time - 1))], 1),
        };
        let mixed = mixed.reshape([batch * time, self.num_heads * self.head_dim]);
        let [output] = linears([&self.o_proj], mixed);
        output.reshape([batch, time, width])
    }

    /// What the first of the positions attends to where it stands for copies, `[batch, 1, heads, head_dim]`: nothing but values
    /// equal to its own, `[batch, time, kv_heads, head_dim]`, of which any weighted mean is that value.
    fn of_copies(&self, value: Tensor<4>) -> Tensor<4> {
        let [batch, _, kv_heads, dim] = value.dims();
        let groups = self.num_heads / kv_heads;
        let value = value.narrow(1, 0, 1).reshape([batch, kv_heads, 1, dim]);
        value.expand([batch, kv_heads, groups, dim]).reshape([batch, 1, self.num_heads, dim])
    }

    /// What attention needs to know of the layer.
    fn attention(&self) -> Attention {
        Attention {
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            scale: self.scale,
            score_cap: self.score_cap,
        }
    }
}

/// Each of the copies that the first position stands for in a place of its own: `[batch, time + copies - 1, heads, head_dim]` for
/// `[batch, time, heads, head_dim]`.
fn with_copies(heads: Tensor<4>, copies: usize) -> Tensor<4> {
    if copies == 1 {
        return heads;
    }
    let [batch, time, count, dim] = heads.dims();
    let first = heads.clone().narrow(1, 0, 1).expand([batch, copies, count, dim]);
    match time {
        1 => first,
        _ => Tensor::cat(vec![first, heads.narrow(1, 1, time - 1)], 1),
    }
}
