use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

use super::causal::CausalBias;
#[cfg(feature = "flex")]
use super::host::{Scoring, attention_on_host};
use super::padding::Padding;
use crate::device::is_flex;
use crate::fused::causal_attention;

/// How queries attend to keys.
#[derive(Clone, Debug)]
pub(in crate::language) struct Attention {
    pub(in crate::language) num_heads: usize,
    pub(in crate::language) num_kv_heads: usize,
    pub(in crate::language) scale: Option<f64>,
    pub(in crate::language) score_cap: Option<f64>,
}

impl Attention {
    /// `[batch, heads, time, dim]` over `[batch, kv_heads, seen, dim]`.
    pub(in crate::language) fn forward(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        value: Tensor<4>,
        padding: Option<&Padding>,
        causal: &CausalBias,
    ) -> Tensor<4> {
        let [batch, heads, time, _] = query.dims();
        let seen = key.dims()[2];
        if time <= FEW {
            #[cfg(feature = "flex")]
            if let Some(mixed) = self.on_host(&query, &key, &value, padding) {
                return mixed;
            }
            let padding = padding.map(|padding| &padding.bias);
            let causal = (time > 1).then(|| causal.of(time, seen, &query));
            let bias = match (causal, padding) {
                (Some(causal), Some(padding)) => Some(causal + padding.clone()),
                (causal, padding) => causal.or(padding.cloned()),
            };
            return attention_of_few(query, key, value, bias, self.scale, self.score_cap);
        }
        if padding.is_none()
            && self.score_cap.is_none()
            && let Some(mixed) = causal_attention(&query, &key, &value, self.scale_of(&query))
        {
            return mixed.swap_dims(1, 2);
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
            let causal = causal.of(time, seen, &query);
            let bias = match padding {
                Some(padding) => causal + padding.bias.clone(),
                None => causal,
            };
            bias.expand([batch, heads, time, seen])
        });
        attention(query, self.repeat(key), self.repeat(value), None, bias, options(from_the_beginning))
    }

    /// What scores are multiplied by.
    pub(super) fn scale_of(&self, query: &Tensor<4>) -> f64 {
        self.scale.unwrap_or(1.0 / (query.dims()[3] as f64).sqrt())
    }

    /// As [`attention_on_host`] computes it.
    #[cfg(feature = "flex")]
    fn on_host(
        &self,
        query: &Tensor<4>,
        key: &Tensor<4>,
        value: &Tensor<4>,
        padding: Option<&Padding>,
    ) -> Option<Tensor<4>> {
        let scoring =
            Scoring { scale: self.scale_of(query) as f32, cap: self.score_cap.map(|cap| cap as f32) };
        let before = padding.map_or(&[][..], |padding| &padding.before);
        attention_on_host(query, key, value, before, scoring)
    }

    /// Gives every query head a key or value head of its own.
    pub(super) fn repeat(&self, heads: Tensor<4>) -> Tensor<4> {
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
/// whereas Burn's `attention` may copy them, which are part of a buffer.
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

#[cfg(test)]
mod tests {
    use super::super::causal::causal_bias;
    use super::*;
    use burn::tensor::{DType, Device, Distribution, Tolerance};

    /// Without tricks: keys are copied for each head of queries, and masked by a bias.
    fn plain(layer: &Attention, [query, key, value]: [Tensor<4>; 3], padding: Option<&Padding>) -> Tensor<4> {
        let [batch, heads, time, _] = query.dims();
        let seen = key.dims()[2];
        let bias = causal_bias(time, seen, &query).expand([batch, heads, time, seen]);
        let bias = match padding {
            Some(padding) => bias + padding.bias.clone(),
            None => bias,
        };
        let options =
            AttentionModuleOptions { scale: layer.scale, softcap: layer.score_cap, is_causal: false };
        attention(query, layer.repeat(key), layer.repeat(value), None, Some(bias), options)
    }

    #[track_caller]
    fn assert_close(ours: Tensor<4>, plain: &Tensor<4>) {
        ours.into_data().assert_approx_eq::<f32>(&plain.to_data(), Tolerance::absolute(1e-5));
    }

    /// On the host where there is flex, and as tensors: all groupings of heads, several sequences of which some begin later,
    /// queries of a single position and of several, over keys that are parts of larger buffers.
    #[test]
    fn few_queries_attend_as_with_copied_keys() {
        let device = Device::default();
        let normal = Distribution::Normal(0.0, 1.0);
        for (heads, kv_heads, dim) in [(6, 3, 8), (9, 3, 64), (4, 1, 80), (2, 2, 6), (5, 5, 130)] {
            for (time, seen, cap, scale) in [
                (1, 1, None, None),
                (1, 90, None, Some(0.7)),
                (5, 90, Some(2.0), None),
                (8, 8, None, None),
                (1, 128, None, None),
                (3, 129, None, None),
                (2, 700, Some(2.0), Some(0.2)),
                (40, 90, None, None),
            ] {
                let layer = Attention { num_heads: heads, num_kv_heads: kv_heads, scale, score_cap: cap };
                let query = Tensor::random([3, heads, time, dim], normal, &device);
                let part =
                    || Tensor::random([3, kv_heads, seen + 9, dim], normal, &device).narrow(2, 4, seen);
                let (key, value) = (part(), part());
                for before in [vec![], vec![0, (seen - time) / 2, seen - time]] {
                    let padding = Padding::new(before, seen, query.dtype(), &device);
                    let padding = padding.as_ref();
                    let all = [query.clone(), key.clone(), value.clone()];
                    let plain = plain(&layer, all, padding);
                    let few = time <= FEW;
                    let causal = CausalBias::default();
                    let ours = layer.forward(query.clone(), key.clone(), value.clone(), padding, &causal);
                    assert_close(ours, &plain);
                    #[cfg(feature = "flex")]
                    assert_eq!(layer.on_host(&query, &key, &value, padding).is_some(), is_flex(&query));
                    if few {
                        let causal = causal_bias(time, seen, &query);
                        let bias = match padding {
                            Some(padding) => causal + padding.bias.clone(),
                            None => causal,
                        };
                        let as_tensors = attention_of_few(
                            query.clone(),
                            key.clone(),
                            value.clone(),
                            Some(bias),
                            scale,
                            cap,
                        );
                        assert_close(as_tensors, &plain);
                    }
                }
            }
        }
    }

    /// Keys and values of half precision are read where they are, and what was attended is rounded once.
    #[cfg(feature = "flex")]
    #[test]
    fn half_precision_is_attended_to_in_float32() {
        let device = Device::flex();
        let layer = Attention { num_heads: 6, num_kv_heads: 3, scale: None, score_cap: None };
        for dtype in [DType::BF16, DType::F16] {
            for (time, seen, dim) in [(1, 1, 8), (3, 200, 80), (8, 129, 6)] {
                let wholes = [(6, time), (3, seen), (3, seen)].map(|(heads, len)| {
                    let shape = [2, heads, len + 9, dim];
                    Tensor::<4>::random(shape, Distribution::Default, &device).cast(dtype)
                });
                let of = |of| {
                    let [query, key, value] = wholes.clone().map(|whole| {
                        let len = whole.dims()[2] - 9;
                        whole.cast(of).narrow(2, 4, len)
                    });
                    let padding = Padding::new(vec![0, seen - time], seen, of, &device);
                    layer.on_host(&query, &key, &value, padding.as_ref()).expect("flex has it")
                };
                of(dtype).into_data().assert_eq(&of(DType::F32).cast(dtype).into_data(), true);
            }
        }
    }

    /// Whatever is wrong with a key or a value is seen in what attends to it, and nowhere else.
    #[test]
    fn what_is_not_finite_shows() {
        let device = Device::default();
        let layer = Attention { num_heads: 2, num_kv_heads: 2, scale: None, score_cap: None };
        for wrong in [f32::NAN, f32::INFINITY] {
            for seen in [1, 300] {
                let [query, key, value] =
                    [1, seen, seen].map(|time| Tensor::<4>::ones([1, 2, time, 16], &device));
                let spoilt = |whole: Tensor<4>| {
                    let place = [0..1, 1..2, seen - 1..seen, 3..4];
                    whole.slice_assign(place, Tensor::full([1, 1, 1, 1], wrong, &device))
                };
                for (key, value) in
                    [(spoilt(key.clone()), value.clone()), (key.clone(), spoilt(value.clone()))]
                {
                    let mixed = layer.forward(query.clone(), key, value, None, &CausalBias::default());
                    let mixed: Vec<f32> = mixed.into_data().try_into_vec().unwrap();
                    assert!(mixed[..16].iter().all(|value| (*value - 1.0).abs() < 1e-5), "{mixed:?}");
                    assert!(mixed[16..].iter().any(|value| !value.is_finite()), "{mixed:?}");
                }
            }
        }
    }

    /// A query before the beginning of its sequence, of which nothing is read, is a number all the same.
    #[test]
    fn padding_attends_to_nothing() {
        let device = Device::default();
        let layer = Attention { num_heads: 2, num_kv_heads: 1, scale: None, score_cap: None };
        let [query, key, value] = [4, 4, 4].map(|time| {
            Tensor::<4>::random([2, time / 4 * 2, 4, 8], Distribution::Normal(0.0, 1.0), &device)
        });
        let (key, value) = (key.narrow(1, 0, 1), value.narrow(1, 0, 1));
        let padding = Padding::new(vec![0, 3], 4, query.dtype(), &device);
        let causal = CausalBias::default();
        let all = layer.forward(query.clone(), key.clone(), value.clone(), padding.as_ref(), &causal);
        let rows: Vec<f32> = all.clone().into_data().try_into_vec().unwrap();
        assert!(rows.iter().all(|value| value.is_finite()));
        // The last position sees itself alone.
        let last = all.narrow(0, 1, 1).narrow(2, 3, 1);
        assert_close(last, &value.narrow(0, 1, 1).narrow(2, 3, 1).expand([1, 2, 1, 8]));
    }
}
