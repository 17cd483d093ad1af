use burn::tensor::{DType, Tensor};

use super::rows::MIN_NORM;

/// Unit rows of a matrix `[n, d]` on its own device and in its own float type: `x / ||x||`.
///
/// Half-precision rows come back as float32, in which the arithmetic is done. Rows are scaled by their largest
/// absolute value first, so that the squares of no float32 row overflow; a row with a norm below [`MIN_NORM`]
/// stays as it is. NaN and infinities make their own row NaN and no other.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::embedding::normalize;
///
/// let rows = Tensor::<2>::from_floats([[3e30, 4e30], [0.0, 0.0]], &Device::default());
/// let unit: Vec<f32> = normalize(rows).into_data().try_into_vec().unwrap();
/// assert!((unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6);
/// assert_eq!(unit[2..], [0.0, 0.0]);
/// ```
pub fn normalize(rows: Tensor<2>) -> Tensor<2> {
    let dtype = working_dtype(&rows);
    let rows = rows.cast(dtype);
    // A constant factor cancels in the direction, so no gradient needs to pass through it.
    let largest = rows.clone().detach().max_abs_dim(1);
    let largest = largest.clone().mask_fill(largest.equal_elem(0.0), 1.0);
    let scaled = rows / largest.clone();
    let squares = (scaled.clone() * scaled.clone()).sum_dim(1);
    let directionless = (squares.clone().detach().sqrt() * largest.clone()).lower_elem(MIN_NORM);
    let inverse = squares.mask_fill(directionless.clone(), 1.0).sqrt().recip();
    scaled * inverse.mask_where(directionless, largest)
}

/// The float type in which a tensor's arithmetic is done: its own, or float32 for half precision.
pub(crate) fn working_dtype(rows: &Tensor<2>) -> DType {
    match rows.dtype() {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    }
}

/// The rows of a tensor on the host, with the precision that they have.
pub(crate) enum HostRows {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

/// Reads a tensor of any float type and device.
pub(crate) fn host_rows(rows: Tensor<2>) -> HostRows {
    let data = rows.into_data();
    match data.dtype() {
        DType::F64 => HostRows::Double(data.try_into_vec().expect("the data is f64")),
        _ => HostRows::Single(data.try_into_vec_as::<f32>().expect("the data was converted to f32")),
    }
}
