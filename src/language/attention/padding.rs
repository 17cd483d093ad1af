use burn::tensor::{DType, Device, Tensor, TensorData};

/// The score of a masked position; its exponential is zero in every float type.
pub(super) const MASKED: f32 = -3e4;

/// Positions before the beginning of a sequence, to which nothing attends.
#[derive(Clone, Debug)]
pub(in crate::language) struct Padding {
    /// For each sequence, how many of its first positions these are.
    #[cfg_attr(not(feature = "flex"), expect(dead_code, reason = "other backends add the bias"))]
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
