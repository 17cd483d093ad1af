use burn::tensor::{DType, Device, Tensor, TensorData};

/// The score of a masked position; its exponential is zero in every float type.
const MASKED: f32 = -3e4;

/// Positions before the beginning of a sequence, to which nothing attends.
#[derive(Clone, Debug)]
pub(in crate::language) struct Padding {
    /// For each sequence, how many of its first positions these are.
    pub(super) before: Vec<usize>,
    /// What is added to scores for that, `[batch, 1, 1, seen]`.
    pub(super) bias: Tensor<4>,
}

impl Padding {
    /// The padding of a cache; `None` where there is none.
    pub(in crate::language) fn new(
        before: Vec<usize>,
        seen: usize,
        dtype: DType,
        device: &Device,
    ) -> Option<Self> {
        if before.is_empty() {
            return None;
        }
        let row = |before: &usize| {
            let before = *before;
            (0..seen).map(move |key| if key < before { MASKED } else { 0.0 })
        };
        let values: Vec<f32> = before.iter().flat_map(row).collect();
        let data = TensorData::new(values, [before.len(), 1, 1, seen]).convert_dtype(dtype);
        Some(Self { before, bias: Tensor::from_data(data, (device, dtype)) })
    }
}

/// What is added to the scores of the last `len` of `seen` positions, `[1, 1, len, seen]`: 0 up to the position itself. It
/// is a constant without autodiff, so that it goes with any gradient checkpointing.
pub(super) fn causal_bias(len: usize, seen: usize, like: &Tensor<4>) -> Tensor<4> {
    let ahead = |query: usize, key: usize| if key > query + seen - len { MASKED } else { 0.0 };
    let values: Vec<f32> = (0..len).flat_map(|query| (0..seen).map(move |key| ahead(query, key))).collect();
    let (device, dtype) = (like.device().inner(), like.dtype());
    let data = TensorData::new(values, [1, 1, len, seen]).convert_dtype(dtype);
    Tensor::from_data(data, (&device, dtype))
}
