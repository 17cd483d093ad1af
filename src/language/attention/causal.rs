use std::cell::OnceCell;

use burn::tensor::{Tensor, TensorData};

use super::padding::MASKED;

/// What is added to scores so that queries see no keys behind their own positions. It is the same in all layers and for all
/// blocks of queries: the first that needs it makes it, and where attention is fused none does.
#[derive(Debug, Default)]
pub(in crate::language) struct CausalBias(OnceCell<Tensor<4>>);

impl CausalBias {
    /// For the last `len` of `seen` positions, `[1, 1, len, seen]`: 0 up to the position itself. It is a constant without
    /// autodiff, so that it goes with any gradient checkpointing.
    pub(super) fn of(&self, len: usize, seen: usize, like: &Tensor<4>) -> Tensor<4> {
        let bias = self.0.get_or_init(|| causal_bias(len, seen, like));
        let fits = bias.dims() == [1, 1, len, seen]
            && bias.dtype() == like.dtype()
            && bias.device() == like.device().inner();
        if fits { bias.clone() } else { causal_bias(len, seen, like) }
    }

    /// Whether it was made.
    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        self.0.get().is_some()
    }
}

/// Of the bias of more queries or keys, that of `len` queries that are the last of `seen` positions: how far a query sees is
/// counted from the end of both.
pub(super) fn part_of(bias: &Tensor<4>, len: usize, seen: usize) -> Tensor<4> {
    let [_, _, all, positions] = bias.dims();
    bias.clone().narrow(2, all - len, len).narrow(3, positions - seen, seen)
}

/// As [`CausalBias::of`], made anew.
pub(super) fn causal_bias(len: usize, seen: usize, like: &Tensor<4>) -> Tensor<4> {
    let ahead = |query: usize, key: usize| if key > query + seen - len { MASKED } else { 0.0 };
    let values: Vec<f32> = (0..len).flat_map(|query| (0..seen).map(move |key| ahead(query, key))).collect();
    let (device, dtype) = (like.device().inner(), like.dtype());
    let data = TensorData::new(values, [1, 1, len, seen]).convert_dtype(dtype);
    Tensor::from_data(data, (&device, dtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    #[test]
    fn a_query_sees_the_keys_up_to_its_own_position() {
        let like = Tensor::<4>::zeros([1, 1, 1, 1], &Device::default());
        for (len, seen) in [(1, 1), (1, 5), (4, 4), (3, 7)] {
            let bias: Vec<f32> =
                CausalBias::default().of(len, seen, &like).into_data().try_into_vec().unwrap();
            for (query, bias) in bias.chunks(seen).enumerate() {
                let visible = bias.iter().take_while(|bias| **bias == 0.0).count();
                assert_eq!(visible, seen - len + query + 1);
                assert!(bias[visible..].iter().all(|bias| *bias == MASKED));
            }
        }
    }

    #[test]
    fn a_block_has_its_bias_in_that_of_all() {
        let like = Tensor::<4>::zeros([1, 1, 1, 1], &Device::default());
        let all = CausalBias::default().of(4, 11, &like);
        for len in 1..=4 {
            for seen in len..=11 {
                let alone = CausalBias::default().of(len, seen, &like);
                assert_eq!(part_of(&all, len, seen).into_data(), alone.into_data(), "{len} of {seen}");
            }
        }
    }

    #[test]
    fn another_shape_or_type_has_a_bias_of_its_own() {
        let device = Device::default();
        let causal = CausalBias::default();
        let like = |dtype| Tensor::<4>::zeros([1, 1, 1, 1], (&device, dtype));
        assert!(!causal.is_made());
        causal.of(2, 3, &like(DType::F32));
        assert!(causal.is_made());
        for (len, seen, dtype) in
            [(2, 3, DType::F32), (2, 4, DType::F32), (1, 3, DType::F32), (2, 3, DType::BF16)]
        {
            let (shared, alone) =
                (causal.of(len, seen, &like(dtype)), CausalBias::default().of(len, seen, &like(dtype)));
            assert_eq!((shared.dims(), shared.dtype()), ([1, 1, len, seen], dtype));
            assert_eq!(shared.into_data(), alone.into_data());
        }
    }
}
