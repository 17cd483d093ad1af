use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::Result;
use crate::alignment::Aligner;
use crate::embedding::{RawRows, RowReport, Terms, clean_rows, normalize, normalize_bounded};
use crate::geometry::Moments;

/// Where the arithmetic on rows is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Compute {
    /// In fused loops on the processor, in float64: the most exact way, and the fastest without an accelerator.
    #[default]
    Host,
    /// Through tensors on a device: float32 there, while sums of blocks are merged in float64 on the host.
    Device(Device),
}

impl Compute {
    /// What is printed and recorded.
    pub fn name(&self) -> String {
        match self {
            Self::Host => "host (float64, fused)".to_string(),
            Self::Device(device) => format!("{device:?} (float32 tensors)"),
        }
    }

    /// Rows in a piece: an accelerator wants many.
    pub(super) fn piece_rows(&self, host: usize) -> usize {
        match self {
            Self::Host => host,
            Self::Device(_) => 8192,
        }
    }
}

/// The rows that the policy lets through, on the device, with their numbers in the block.
fn upload(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    device: &Device,
) -> Result<(Tensor<2>, Vec<usize>, RowReport)> {
    let dim = rows.dim();
    let (rows, places, report) = clean_rows(&rows.to_single(), dim, terms.policy, terms.what, terms.first)?;
    let data = TensorData::new(rows, [places.len(), dim]);
    let places = places.into_iter().map(|place| place - terms.first).collect();
    Ok((Tensor::from_data(data, (device, DType::F32)), places, report))
}

/// The moments of the unit rows of a block; with a method, of what becomes of them.
pub(super) fn moments(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    device: &Device,
    method: Option<&dyn Aligner>,
) -> Result<(Moments, RowReport)> {
    let (dim, (rows, places, report)) = (rows.dim(), upload(rows, terms, device)?);
    if places.is_empty() {
        return Ok((Moments::new(dim), report));
    }
    let unit = match method {
        Some(method) => normalize_bounded(method.transport(rows)),
        None => normalize(rows),
    };
    let squares = (unit.clone() * unit.clone()).sum_dim(1).sum();
    let host = |data: TensorData| data.try_into_vec_as::<f32>().expect("a float type converts to f32");
    let sums = host(unit.sum_dim(0).into_data()).into_iter().map(f64::from).collect();
    let squares = f64::from(host(squares.into_data())[0]);
    Ok((Moments::from_sums(places.len(), sums, squares), report))
}

/// What `align` makes of the rows of a block, given their numbers in the store, `[kept, d]` row-major, and the rows that
/// were left out; `first` is the number of the block's first row.
pub(super) fn map(
    rows: RawRows<'_>,
    terms: Terms<'_>,
    device: &Device,
    first: usize,
    align: impl Fn(Tensor<2>, &[u64]) -> Tensor<2>,
) -> Result<(Vec<f32>, Vec<usize>, RowReport)> {
    let total = rows.len();
    let (rows, places, report) = upload(rows, terms, device)?;
    let mut kept = places.iter().peekable();
    let skipped: Vec<usize> =
        (0..total).filter(|row| kept.next_if_eq(&row).is_none()).map(|row| terms.first + row).collect();
    if places.is_empty() {
        return Ok((Vec::new(), skipped, report));
    }
    let numbers: Vec<u64> = places.iter().map(|place| (first + place) as u64).collect();
    let rows = align(rows, &numbers).into_data();
    Ok((rows.try_into_vec_as::<f32>().expect("a float type converts to f32"), skipped, report))
}
