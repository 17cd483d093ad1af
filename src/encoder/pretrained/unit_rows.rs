use burn::tensor::{DType, Tensor};

use crate::embedding::normalize;

/// Rows at unit length, on the host.
pub(super) fn unit_rows(rows: Tensor<2>) -> Vec<f32> {
    let rows = normalize(rows.cast(DType::F32));
    rows.into_data().try_into_vec::<f32>().expect("rows were cast to float32")
}
