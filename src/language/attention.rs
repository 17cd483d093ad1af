use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Int, Tensor};

use super::{KvCache, RotaryAngles};
use burn::tensor::Device;

/// Configuration of [`CausalSelfAttention`].
#[derive(Config, Debug)]
pub struct CausalSelfAttentionConfig {
    /// The size of the hidden states.
    pub hidden_size: usize,
    /// The number of query heads.
    pub num_heads: usize,
    /// The number of key and value heads; each serves `num_heads / num_kv_heads` query heads.
    pub num_kv_heads: usize,
    /// The size of a head.
    pub head_dim: usize,
    /// Whether query, key and value projections have a bias (Qwen2 does).
    #[config(default = false)]
    pub bias: bool,
}

/// Causal self-attention with grouped queries (arXiv 2305.13245) and rotary positions.
#[derive(Module, Debug)]
pub struct CausalSelfAttention {
    q_proj: Linear,
    pub(super) k_proj: Linear,
    pub(super) v_proj: Linear,
    o_proj: Linear,
    num_heads: usize,
    pub(super) num_kv_heads: usize,
    head_dim: usize,
}

impl CausalSelfAttentionConfig {
    /// Makes the layer with weights drawn by `initializer`.
    pub fn init(&self, initializer: &Initializer, device: &Device) -> CausalSelfAttention {
        let linear = |input, output, bias| {
            LinearConfig::new(input, output)
                .with_bias(bias)
                .with_initializer(initializer.clone())
                .init(device)
        };
        let (queries, keys) = (self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim);
        CausalSelfAttention {
            q_proj: linear(self.hidden_size, queries, self.bias),
            k_proj: linear(self.hidden_size, keys, self.bias),
            v_proj: linear(self.hidden_size, keys, self.bias),
            o_proj: linear(queries, self.hidden_size, false),
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
        }
    }
}

impl CausalSelfAttention {
    /// The numbers of query heads and of key and value heads.
    pub fn heads(&self) -> (usize, usize) {
        (self.num_heads, self.num_kv_heads)
    }

    /// Whether query, key and value projections have a bias.
    pub fn has_bias(&self) -> bool {
        self.q_proj.bias.is_some()
    }

    /// `[batch, time, hidden]` to the same; `angles` belong to these positions, `cache` is that of layer `layer`.
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        angles: &RotaryAngles,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let [batch, time, _] = hidden.dims();
        let heads = |x: Tensor<3>, n| x.reshape([batch, time, n, self.head_dim]).swap_dims(1, 2);
        let query = angles.rotate(heads(self.q_proj.forward(hidden.clone()), self.num_heads));
        let key = angles.rotate(heads(self.k_proj.forward(hidden.clone()), self.num_kv_heads));
        let value = heads(self.v_proj.forward(hidden), self.num_kv_heads);
        let (key, value) = match cache {
            Some(cache) => cache.append(layer, key, value),
            None => (key, value),
        };

        let seen = key.dims()[2];
        let options = AttentionModuleOptions { is_causal: seen == time && time > 1, ..Default::default() };
        let mask =
            (time > 1 && seen > time).then(|| self.continuation_mask(batch, time, seen, &query.device()));
        let mixed = attention(query, self.repeat(key), self.repeat(value), mask, None, options);
        self.o_proj.forward(mixed.swap_dims(1, 2).reshape([batch, time, self.num_heads * self.head_dim]))
    }

    /// Hides from `time` new positions, the last of `seen`, what lies ahead of each (`true` = masked).
    fn continuation_mask(&self, batch: usize, time: usize, seen: usize, device: &Device) -> Tensor<4, Bool> {
        let start = (seen - time) as i64;
        let query = Tensor::<1, Int>::arange(start..seen as i64, device).reshape([1, 1, time, 1]);
        let key = Tensor::<1, Int>::arange(0..seen as i64, device).reshape([1, 1, 1, seen]);
        let shape = [batch, self.num_heads, time, seen];
        key.expand(shape).greater(query.expand(shape))
    }

    /// Gives every query head a key or value head of its own.
    fn repeat(&self, heads: Tensor<4>) -> Tensor<4> {
        let groups = self.num_heads / self.num_kv_heads;
        if groups == 1 {
            return heads;
        }
        let [batch, kv_heads, time, dim] = heads.dims();
        heads.reshape([batch, kv_heads, 1, time, dim]).expand([batch, kv_heads, groups, time, dim]).reshape([
            batch,
            self.num_heads,
            time,
            dim,
        ])
    }
}
