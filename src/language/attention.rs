use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::KvCache;
use super::rope::RotaryAngles;
use crate::device::is_flex;

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

    /// The attended hidden states. `angles` are those of these positions, `None` in a layer without positions; keys and
    /// values are appended to those of `layer` in the `cache`. `padding` is what [`padding_bias`] makes of that of the cache.
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
        padding: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        // As one matrix: a batch of products with the same weights would prepare them for each sequence anew.
        let rows = hidden.reshape([batch * time, width]);
        let heads = |x: Tensor<2>, n| x.reshape([batch, time, n, self.head_dim]).swap_dims(1, 2);
        let placed = |x: Tensor<4>, norm: &Option<RmsNorm>| {
            let x = match norm {
                Some(norm) => norm.forward(x),
                None => x,
            };
            match angles {
                Some(angles) => angles.rotate(x),
                None => x,
            }
        };
        let query = placed(heads(self.q_proj.forward(rows.clone()), self.num_heads), &self.q_norm);
        let key = placed(heads(self.k_proj.forward(rows.clone()), self.num_kv_heads), &self.k_norm);
        let value = heads(self.v_proj.forward(rows), self.num_kv_heads);
        let (key, value) = match cache {
            Some(cache) => cache.append(layer, key, value),
            None => (key, value),
        };

        let mixed = if query.is_autodiff() {
            let attention = self.attention();
            let (key, value) = (attention.repeat(key), attention.repeat(value));
            differentiable_attention(query, key, value, self.scale, self.score_cap)
        } else {
            self.attention().forward(query, key, value, padding)
        };
        let mixed = mixed.swap_dims(1, 2).reshape([batch * time, self.num_heads * self.head_dim]);
        self.o_proj.forward(mixed).reshape([batch, time, width])
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

/// How queries attend to keys, without gradients.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub(super) num_heads: usize,
    pub(super) num_kv_heads: usize,
    pub(super) scale: Option<f64>,
    pub(super) score_cap: Option<f64>,
}

impl Attention {
    /// `[batch, heads, time, dim]` over `[batch, kv_heads, seen, dim]`.
    pub(super) fn forward(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        value: Tensor<4>,
        padding: Option<&Tensor<4>>,
    ) -> Tensor<4> {
        let [batch, heads, time, _] = query.dims();
        let seen = key.dims()[2];
        if time <= FEW {
            let causal = (time > 1).then(|| causal_bias(time, seen, &query));
            let bias = match (causal, padding) {
                (Some(causal), Some(padding)) => Some(causal + padding.clone()),
                (causal, padding) => causal.or(padding.cloned()),
            };
            return attention_of_few(query, key, value, bias, self.scale, self.score_cap);
        }
        let options =
            |is_causal| AttentionModuleOptions { is_causal, scale: self.scale, softcap: self.score_cap };
        let from_the_beginning = seen == time && padding.is_none();
        // Flex shares the heads of keys and aligns the ends of queries and keys; whether others do is not documented.
        if padding.is_none() && is_flex(&query) {
            return attention(query, key, value, None, None, options(true));
        }
        // As a bias and not as a mask, which LibTorch reads the other way round (burn-tch 0.22.1).
        let bias = (!from_the_beginning).then(|| {
            let causal = causal_bias(time, seen, &query);
            let bias = match padding {
                Some(padding) => causal + padding.clone(),
                None => causal,
            };
            bias.expand([batch, heads, time, seen])
        });
        attention(query, self.repeat(key), self.repeat(value), None, bias, options(from_the_beginning))
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

/// Queries that are few enough for their scores to be computed at once: then keys and values are read where they lie,
/// whereas Burn's `attention` copies them on flex, where they are part of a buffer.
const FEW: usize = 8;

/// Attention of few queries, `[batch, heads, time, dim]`, over `[batch, kv_heads, seen, dim]`. The queries of the heads that
/// share a head of keys are rows of one product with it.
///
/// * `bias` - What is added to scores, `[batch or 1, 1, time or 1, seen]`.
fn attention_of_few(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    scale: Option<f64>,
    score_cap: Option<f64>,
) -> Tensor<4> {
    let [batch, heads, time, dim] = query.dims();
    let [_, kv_heads, seen, _] = key.dims();
    let groups = heads / kv_heads;
    let rows = query.mul_scalar(scale.unwrap_or(1.0 / (dim as f64).sqrt()));
    let scores = rows.reshape([batch, kv_heads, groups * time, dim]).matmul(key.swap_dims(2, 3));
    let scores = match score_cap {
        Some(cap) => scores.div_scalar(cap).tanh().mul_scalar(cap),
        None => scores,
    };
    let scores = match bias {
        Some(bias) => {
            let [rows, _, queries, _] = bias.dims();
            let grouped = scores.reshape([batch, kv_heads, groups, time, seen]);
            (grouped + bias.reshape([rows, 1, 1, queries, seen])).reshape([
                batch,
                kv_heads,
                groups * time,
                seen,
            ])
        }
        None => scores,
    };
    softmax(scores, 3).matmul(value).reshape([batch, heads, time, dim])
}

/// Queries that are compared with keys together: few enough for their scores to stay in the cache of a CPU.
const BLOCK: usize = 128;

/// The score of a masked position; its exponential is zero in every float type.
const MASKED: f32 = -3e4;

/// Causal attention of the last positions of a sequence, `[batch, heads, time, dim]` over `[batch, heads, seen, dim]`, for
/// training: Burn's `attention` becomes a chain of a dozen passes over all scores there, forward alone.
///
/// A block of queries sees no keys beyond its own positions, which saves nearly half of the scores, and the softmax is
/// normalised after the product with the values, where there is less to divide.
fn differentiable_attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    scale: Option<f64>,
    score_cap: Option<f64>,
) -> Tensor<4> {
    let [_, _, time, dim] = query.dims();
    let before = key.dims()[2] - time;
    let query = query.mul_scalar(scale.unwrap_or(1.0 / (dim as f64).sqrt()));
    let blocks = (0..time).step_by(BLOCK).map(|start| {
        let len = BLOCK.min(time - start);
        let seen = before + start + len;
        let query = query.clone().narrow(2, start, len);
        let (key, value) = (key.clone().narrow(2, 0, seen), value.clone().narrow(2, 0, seen));
        let scores = query.matmul(key.swap_dims(2, 3));
        let scores = match score_cap {
            Some(cap) => scores.div_scalar(cap).tanh().mul_scalar(cap),
            None => scores,
        };
        let scores = scores + causal_bias(len, seen, &value);
        // A shift does not change a softmax, so it needs no gradient.
        let highest = scores.clone().detach().max_dim(3);
        let weights = (scores - highest).exp();
        let total = weights.clone().sum_dim(3);
        weights.matmul(value) / total
    });
    Tensor::cat(blocks.collect(), 2)
}

/// What is added to scores so that positions before the beginning of a sequence have no weight, `[batch, 1, 1, seen]`; `None`
/// where there are none.
pub(super) fn padding_bias(
    padding: &[usize],
    seen: usize,
    dtype: DType,
    device: &Device,
) -> Option<Tensor<4>> {
    if padding.is_empty() {
        return None;
    }
    let row = |padding: &usize| {
        let padding = *padding;
        (0..seen).map(move |key| if key < padding { MASKED } else { 0.0 })
    };
    let values: Vec<f32> = padding.iter().flat_map(row).collect();
    let data = TensorData::new(values, [padding.len(), 1, 1, seen]).convert_dtype(dtype);
    Some(Tensor::from_data(data, (device, dtype)))
}

/// What is added to the scores of the last `len` of `seen` positions, `[1, 1, len, seen]`: 0 up to the position itself. It
/// is a constant without autodiff, so that it goes with any gradient checkpointing.
fn causal_bias(len: usize, seen: usize, like: &Tensor<4>) -> Tensor<4> {
    let ahead = |query: usize, key: usize| if key > query + seen - len { MASKED } else { 0.0 };
    let values: Vec<f32> = (0..len).flat_map(|query| (0..seen).map(move |key| ahead(query, key))).collect();
    let (device, dtype) = (like.device().inner(), like.dtype());
    let data = TensorData::new(values, [1, 1, len, seen]).convert_dtype(dtype);
    Tensor::from_data(data, (&device, dtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    fn random(time: usize, device: &Device) -> Tensor<4> {
        Tensor::random([2, 3, time, 8], Distribution::Normal(0.0, 1.0), device)
    }

    /// Over several blocks, from the beginning and as a continuation.
    #[test]
    fn both_ways_to_attend_agree() {
        let device = Device::default();
        for (time, seen, scale, softcap) in [
            (1, 1, None, None),
            (7, 7, None, None),
            (300, 300, None, None),
            (140, 300, None, None),
            (140, 300, Some(0.7), None),
            (140, 300, Some(0.7), Some(2.0)),
        ] {
            let (query, key, value) = (random(time, &device), random(seen, &device), random(seen, &device));
            let bias = causal_bias(time, seen, &query).expand([2, 3, time, seen]);
            let burns = attention(
                query.clone(),
                key.clone(),
                value.clone(),
                None,
                Some(bias),
                AttentionModuleOptions { scale, softcap, is_causal: false },
            );
            let tracked = [query, key, value].map(Tensor::from_inner);
            let [query, key, value] = tracked;
            let ours = differentiable_attention(query, key, value, scale, softcap).inner();
            ours.into_data().assert_approx_eq::<f32>(&burns.into_data(), Tolerance::absolute(1e-5));
        }
    }

    /// Heads that share keys are rows of one product; with copied keys they are not.
    #[test]
    fn folded_groups_attend_as_copied_keys() {
        let device = Device::default();
        for (time, seen, cap) in
            [(1, 1, None), (1, 90, None), (5, 90, Some(2.0)), (8, 8, None), (40, 90, None)]
        {
            let layer = Attention { num_heads: 6, num_kv_heads: 3, scale: None, score_cap: cap };
            let normal = Distribution::Normal(0.0, 1.0);
            let query = Tensor::random([2, 6, time, 8], normal, &device);
            let [key, value] = [(); 2].map(|()| Tensor::random([2, 3, seen, 8], normal, &device));
            // Two sequences, of which the second begins later.
            let paddings = [vec![], vec![0, (seen - time) / 2]];
            for padding in paddings {
                let padding = padding_bias(&padding, seen, query.dtype(), &device);
                let ours = layer.forward(query.clone(), key.clone(), value.clone(), padding.as_ref());
                let bias = causal_bias(time, seen, &query).expand([2, 6, time, seen]);
                let bias = match padding {
                    Some(padding) => bias + padding,
                    None => bias,
                };
                let options = AttentionModuleOptions { scale: None, softcap: cap, is_causal: false };
                let (key, value) = (layer.repeat(key.clone()), layer.repeat(value.clone()));
                let plain = attention(query.clone(), key, value, None, Some(bias), options);
                ours.into_data().assert_approx_eq::<f32>(&plain.into_data(), Tolerance::absolute(1e-5));
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_plain_formula() {
        let device = Device::default().autodiff();
        let time = 150;
        let inputs = [(); 3].map(|()| random(time, &device).require_grad());
        let weights = random(time, &device);
        let plain = |query: Tensor<4>, key: Tensor<4>, value: Tensor<4>| {
            let scores = query.matmul(key.swap_dims(2, 3)).div_scalar(8f64.sqrt());
            let bias = causal_bias(time, time, &scores);
            burn::tensor::activation::softmax(scores + bias, 3).matmul(value)
        };
        let grads = |attend: &dyn Fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>| {
            let [query, key, value] = inputs.clone();
            let grads = (attend(query, key, value) * weights.clone()).sum().backward();
            inputs.clone().map(|input| input.grad(&grads).expect("every input has a gradient"))
        };
        for (ours, plain) in
            grads(&|query, key, value| differentiable_attention(query, key, value, None, None))
                .into_iter()
                .zip(grads(&plain))
        {
            ours.into_data().assert_approx_eq::<f32>(&plain.into_data(), Tolerance::absolute(1e-4));
        }
    }
}
