use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use crate::fused::linears;

/// Self-attention with a bias in each of its four projections.
#[derive(Module, Debug)]
pub(in crate::encoder) struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    num_heads: usize,
}

impl SelfAttention {
    /// Initial weights.
    ///
    /// # Panics
    ///
    /// If `num_heads` does not divide `hidden_size`.
    pub fn init(hidden_size: usize, num_heads: usize, device: &Device) -> Self {
        assert!(
            num_heads > 0 && hidden_size.is_multiple_of(num_heads),
            "self-attention: {num_heads} heads do not divide a hidden size of {hidden_size}"
        );
        let linear = || LinearConfig::new(hidden_size, hidden_size).init(device);
        let [q_proj, k_proj, v_proj, out_proj] = [linear(), linear(), linear(), linear()];
        Self { q_proj, k_proj, v_proj, out_proj, num_heads }
    }

    /// Each position attends to all others, or with `is_causal` to those up to itself.
    ///
    /// # Shapes
    ///
    /// - hidden, output: `[batch, time, hidden_size]`
    pub fn forward(&self, hidden: Tensor<3>, is_causal: bool) -> Tensor<3> {
        self.biased(hidden, is_causal, None)
    }

    /// As [`forward`](Self::forward), with what is added to the scores before the softmax.
    ///
    /// # Shapes
    ///
    /// - bias: `[batch, 1, time, time]`
    pub fn biased(&self, hidden: Tensor<3>, is_causal: bool, bias: Option<Tensor<4>>) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        // As one matrix: a batch of products with the same weights would prepare them for each sequence anew.
        let rows = hidden.reshape([batch * time, width]);
        let [query, key, value] = linears([&self.q_proj, &self.k_proj, &self.v_proj], rows)
            .map(|rows| heads(rows, [batch, time, self.num_heads]));
        let bias = bias.map(|bias| bias.expand([batch, self.num_heads, time, time]));
        let mixed = attend(query, key, value, bias, is_causal);
        let [output] = linears([&self.out_proj], merged(mixed));
        output.reshape([batch, time, width])
    }
}

/// Attention of a few queries to all positions, with the fused projections of PyTorch's `MultiheadAttention`.
#[derive(Module, Debug)]
pub(in crate::encoder) struct AttentionPooling {
    /// `[3 hidden_size, hidden_size]`: query, key and value, as PyTorch keeps them.
    in_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    num_heads: usize,
}

impl AttentionPooling {
    /// Initial weights.
    ///
    /// # Panics
    ///
    /// If `num_heads` does not divide `hidden_size`.
    pub fn init(hidden_size: usize, num_heads: usize, device: &Device) -> Self {
        assert!(
            num_heads > 0 && hidden_size.is_multiple_of(num_heads),
            "attention pooling: {num_heads} heads do not divide a hidden size of {hidden_size}"
        );
        let weights = Initializer::XavierUniform { gain: 1.0 };
        Self {
            in_proj_weight: weights.init_with(
                [3 * hidden_size, hidden_size],
                Some(hidden_size),
                Some(3 * hidden_size),
                device,
            ),
            in_proj_bias: Initializer::Zeros.init([3 * hidden_size], device),
            out_proj: LinearConfig::new(hidden_size, hidden_size).init(device),
            num_heads,
        }
    }

    /// # Shapes
    ///
    /// - queries: `[1, count, hidden_size]`, the same for all sequences
    /// - hidden: `[batch, time, hidden_size]`
    /// - output: `[batch, count, hidden_size]`
    pub fn forward(&self, queries: Tensor<3>, hidden: Tensor<3>) -> Tensor<3> {
        let ([_, count, width], [batch, time, _]) = (queries.dims(), hidden.dims());
        let project = |rows: Tensor<2>, part: usize| {
            let weight = self.in_proj_weight.val().narrow(0, part * width, width);
            rows.matmul(weight.transpose())
                + self.in_proj_bias.val().narrow(0, part * width, width).unsqueeze()
        };
        let query = heads(project(queries.reshape([count, width]), 0), [1, count, self.num_heads]);
        let rows = hidden.reshape([batch * time, width]);
        let [key, value] =
            [1, 2].map(|part| heads(project(rows.clone(), part), [batch, time, self.num_heads]));
        let mixed = attend(query.repeat_dim(0, batch), key, value, None, false);
        self.out_proj.forward(merged(mixed)).reshape([batch, count, width])
    }
}

/// Rows cut into heads: `[batch * time, heads * dim]` to `[batch, heads, time, dim]`.
fn heads(rows: Tensor<2>, [batch, time, num_heads]: [usize; 3]) -> Tensor<4> {
    let dim = rows.dims()[1] / num_heads;
    rows.reshape([batch, time, num_heads, dim]).swap_dims(1, 2)
}

/// The way back of [`heads`].
fn merged(heads: Tensor<4>) -> Tensor<2> {
    let [batch, num_heads, time, dim] = heads.dims();
    heads.swap_dims(1, 2).reshape([batch * time, num_heads * dim])
}

/// Scaled dot-product attention.
fn attend(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    is_causal: bool,
) -> Tensor<4> {
    let options = AttentionModuleOptions { is_causal, ..Default::default() };
    attention(query, key, value, None, bias, options)
}
