use burn::tensor::{DType, Tensor};

use crate::embedding::normalize;

/// Rows at unit length, on the host.
pub(super) fn unit_rows(rows: Tensor<2>) -> Vec<f32> {
    raw_rows(normalize(rows.cast(DType::F32)))
}

/// Rows as they are, on the host.
pub(super) fn raw_rows(rows: Tensor<2>) -> Vec<f32> {
    rows.cast(DType::F32).into_data().try_into_vec::<f32>().expect("rows were cast to float32")
}
