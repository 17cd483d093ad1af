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
    // About the first row, as on the host: float32 keeps the digits of a cloud that is small beside its mean.
    let shift = unit.clone().narrow(0, 0, 1);
    let moved = unit - shift.clone();
    let squares = moved.clone().square().sum_dim(1);
    let host = |rows: Tensor<2>| -> Vec<f64> {
        let values = rows.into_data().try_into_vec_as::<f32>().expect("a float type converts to f32");
        values.into_iter().map(f64::from).collect()
    };
    let squares = host(squares).iter().sum();
    let moments = Moments::from_shifted_sums(places.len(), &host(shift), host(moved.sum_dim(0)), squares);
    Ok((moments, report))
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

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;
    use rand::RngExt;

    use super::*;
    use crate::embedding::NonFinite;
    use crate::geometry::unit_moments;
    use crate::random::seeded_rng;

    #[test]
    fn the_spread_of_a_tight_cloud_keeps_its_digits() {
        let (dim, mut rng) = (48, seeded_rng(3, &[]));
        for spread in [1.0, 1e-3, 1e-4] {
            let rows: Vec<f32> = (0..4000 * dim)
                .map(|at| 1.0 + (at % dim) as f32 / 10.0 + spread * (rng.random::<f32>() - 0.5))
                .collect();
            let rows = RawRows::single(&rows, dim).unwrap();
            let terms = Terms { policy: NonFinite::Error, what: "rows", first: 0 };
            let (host, _) = unit_moments(rows, terms).unwrap();
            let (device, _) = moments(rows, terms, &Device::default(), None).unwrap();
            assert_relative_eq!(device.trace(), host.trace(), max_relative = 2e-3);
            assert_relative_eq!(device.mean(), host.mean(), epsilon = 1e-7);
        }
    }
}
