#[cfg(feature = "flex")]
use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Tensor};

#[cfg(feature = "flex")]
use super::FloatType;
use super::RawRows;
use super::policy::MIN_NORM;
use crate::Result;

/// Unit rows of a matrix `[n, d]` on its own device and in its own float type: `x / ||x||`.
///
/// Half-precision rows come back as float32, in which the arithmetic is done. Huge rows are scaled down first, so
/// that no square overflows; a row with a norm below [`MIN_NORM`] stays as it is. NaN and infinities make their own
/// row NaN and no other.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::embedding::normalize;
///
/// let rows = Tensor::<2>::from_floats([[3e30, 4e30], [0.0, 0.0]], &Device::default());
/// let unit: Vec<f32> = normalize(rows).into_data().try_into_vec().unwrap();
/// approx::assert_abs_diff_eq!(unit[0], 0.6, epsilon = 1e-6);
/// approx::assert_abs_diff_eq!(unit[1], 0.8, epsilon = 1e-6);
/// assert_eq!(unit[2..], [0.0, 0.0]);
/// ```
pub fn normalize(rows: Tensor<2>) -> Tensor<2> {
    // Powers of two, so that scaling rounds nothing: no square of a row scaled down, or left alone, overflows.
    let (huge, down) = match rows.dtype() {
        DType::F16 => return normalize_bounded(rows.cast(DType::F32)),
        DType::F64 => (2.0_f64.powi(480), 2.0_f64.powi(-600)),
        _ => (2.0_f64.powi(50), 2.0_f64.powi(-80)),
    };
    let dtype = if rows.dtype() == DType::BF16 { DType::F32 } else { rows.dtype() };
    let rows = rows.cast(dtype);
    let largest = rows.clone().detach().max_abs_dim(1);
    let factor = largest.ones_like().mask_fill(largest.greater_elem(huge), down);
    normalize_bounded(rows * factor)
}

/// As [`normalize`], for float32 or float64 rows of which it is known that their squares do not overflow: fewer
/// passes over memory.
pub(crate) fn normalize_bounded(rows: Tensor<2>) -> Tensor<2> {
    let squares = (rows.clone() * rows.clone()).sum_dim(1);
    let directionless = squares.clone().lower_elem(MIN_NORM * MIN_NORM);
    rows / squares.mask_fill(directionless, 1.0).sqrt()
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

impl HostRows {
    /// As rows of `dim` values.
    pub fn raw(&self, dim: usize) -> Result<RawRows<'_>> {
        match self {
            Self::Single(rows) => RawRows::single(rows, dim),
            Self::Double(rows) => RawRows::double(rows, dim),
        }
    }
}

/// Rows of a tensor without autodiff whose backend keeps it in memory that every thread can read: flex.
pub(crate) struct RowsInPlace {
    #[cfg(feature = "flex")]
    rows: FlexTensor,
}

impl RowsInPlace {
    /// The rows of `tensor`, where they can be read in place; in the order of its dimensions, copied only where they lie in
    /// another.
    #[cfg(feature = "flex")]
    pub fn of(tensor: &Tensor<2>) -> Option<Self> {
        let rows = tensor.clone().try_into_primitive::<Flex>().ok()?;
        let is_whole =
            rows.is_contiguous() && rows.bytes().len() == tensor.shape().num_elements() * rows.dtype().size();
        let rows = if is_whole { rows } else { rows.to_contiguous() };
        float_type(rows.dtype()).map(|_| Self { rows })
    }

    #[cfg(not(feature = "flex"))]
    pub fn of(_: &Tensor<2>) -> Option<Self> {
        None
    }

    /// As rows of `dim` values.
    #[cfg(feature = "flex")]
    pub fn raw(&self, dim: usize) -> Result<RawRows<'_>> {
        let float = float_type(self.rows.dtype()).expect("no other rows are read in place");
        RawRows::new(self.rows.bytes(), float, dim)
    }

    #[cfg(not(feature = "flex"))]
    pub fn raw(&self, _: usize) -> Result<RawRows<'_>> {
        unreachable!("no rows are read in place")
    }
}

/// The type of a tensor's numbers, as that of values in memory.
#[cfg(feature = "flex")]
fn float_type(dtype: DType) -> Option<FloatType> {
    match dtype {
        DType::F64 => Some(FloatType::F64),
        DType::F32 => Some(FloatType::F32),
        DType::F16 => Some(FloatType::F16),
        DType::BF16 => Some(FloatType::BF16),
        _ => None,
    }
}
