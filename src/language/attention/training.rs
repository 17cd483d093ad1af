use burn::tensor::Tensor;

use super::Attention;
use super::causal::{CausalBias, part_of};
use crate::fused::causal_attention;

impl Attention {
    /// Causal attention with gradients: `[batch, time, heads, dim]` for queries `[batch, heads, time, dim]` over
    /// `[batch, kv_heads, seen, dim]`, of which they are the last positions.
    pub(super) fn differentiable(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        value: Tensor<4>,
        causal: &CausalBias,
    ) -> Tensor<4> {
        let scale = self.scale_of(&query);
        if self.score_cap.is_none()
            && let Some(mixed) = causal_attention(&query, &key, &value, scale)
        {
            return mixed;
        }
        let (key, value) = (self.repeat(key), self.repeat(value));
        differentiable_attention([query, key, value], Some(scale), self.score_cap, causal).swap_dims(1, 2)
    }
}

/// Queries that are compared with keys together: few enough for their scores to stay in the cache of a CPU.
const BLOCK: usize = 128;

/// Causal attention of the last positions of a sequence, `[batch, heads, time, dim]` over `[batch, heads, seen, dim]`, for
/// training: Burn's `attention` becomes a chain of a dozen passes over all scores there, forward alone.
///
/// A block of queries sees no keys beyond its own positions, which saves nearly half of the scores, and the softmax is
/// normalised after the product with the values, where there is less to divide.
fn differentiable_attention(
    [query, key, value]: [Tensor<4>; 3],
    scale: Option<f64>,
    score_cap: Option<f64>,
    causal: &CausalBias,
) -> Tensor<4> {
    let [_, _, time, dim] = query.dims();
    let before = key.dims()[2] - time;
    let bias = causal.of(BLOCK.min(time), before + time, &value);
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
        // Zeros for the keys of the blocks before: to leave them out would be a copy of the scores and not a pass less.
        let scores = scores + part_of(&bias, len, seen);
        // A shift does not change a softmax, so it needs no gradient.
        let highest = scores.clone().detach().max_dim(3);
        let weights = (scores - highest).exp();
        let total = weights.clone().sum_dim(3);
        weights.matmul(value) / total
    });
    Tensor::cat(blocks.collect(), 2)
}

#[cfg(test)]
mod tests {
    use super::super::causal::causal_bias;
    use super::*;
    use burn::tensor::module::attention;
    use burn::tensor::ops::AttentionModuleOptions;
    use burn::tensor::{Device, Distribution, Tolerance};

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
            let ours = differentiable_attention(tracked, scale, softcap, &CausalBias::default()).inner();
            ours.into_data().assert_approx_eq::<f32>(&burns.into_data(), Tolerance::absolute(1e-5));
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
        for (ours, plain) in grads(&|query, key, value| {
            differentiable_attention([query, key, value], None, None, &CausalBias::default())
        })
        .into_iter()
        .zip(grads(&plain))
        {
            ours.into_data().assert_approx_eq::<f32>(&plain.into_data(), Tolerance::absolute(1e-4));
        }
    }

    /// Over several blocks and layers, and as a continuation: every number is that of a bias made for each block.
    #[test]
    fn a_bias_for_all_blocks_and_layers_changes_no_bit() {
        let device = Device::default().autodiff();
        for (time, seen) in [(300, 300), (140, 300)] {
            let inputs = [time, seen, seen].map(|time| random(time, &device).require_grad());
            let of_each_block = |[query, key, value]: [Tensor<4>; 3]| {
                let query = query.mul_scalar(1.0 / 8f64.sqrt());
                let blocks = (0..time).step_by(BLOCK).map(|start| {
                    let len = BLOCK.min(time - start);
                    let seen = seen - time + start + len;
                    let (key, value) = (key.clone().narrow(2, 0, seen), value.clone().narrow(2, 0, seen));
                    let scores = query.clone().narrow(2, start, len).matmul(key.swap_dims(2, 3));
                    let scores = scores + causal_bias(len, seen, &value);
                    let highest = scores.clone().detach().max_dim(3);
                    let weights = (scores - highest).exp();
                    let total = weights.clone().sum_dim(3);
                    weights.matmul(value) / total
                });
                Tensor::cat(blocks.collect(), 2)
            };
            let found = |attend: &dyn Fn([Tensor<4>; 3]) -> Tensor<4>| {
                let mixed = attend(inputs.clone());
                let grads = (mixed.clone() * mixed.clone()).sum().backward();
                let grads = inputs.clone().map(|input| input.grad(&grads).expect("every input has one"));
                (mixed.into_data(), grads.map(Tensor::into_data))
            };
            let causal = CausalBias::default();
            let expected = found(&of_each_block);
            for layer in 0..2 {
                let ours = found(&|inputs| differentiable_attention(inputs, None, None, &causal));
                assert_eq!(ours, expected, "layer {layer}");
            }
        }
    }

    #[test]
    fn attention_in_one_pass_needs_no_bias() {
        let device = Device::default().autodiff();
        for score_cap in [None, Some(2.0)] {
            let layer = Attention { num_heads: 3, num_kv_heads: 3, scale: None, score_cap };
            let [query, key, value] = [(); 3].map(|()| random(9, &device));
            let is_fused = score_cap.is_none() && causal_attention(&query, &key, &value, 1.0).is_some();
            let causal = CausalBias::default();
            layer.differentiable(query, key, value, &causal);
            assert_eq!(causal.is_made(), !is_fused);
        }
    }
}
