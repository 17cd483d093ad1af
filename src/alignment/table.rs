use burn::tensor::{DType, Device, Tensor, TensorData};

use super::Aligner;
use crate::embedding::{EmbeddingTable, NonFinite, RawRows, RowReport, clean_rows};
use crate::{Error, Result};

/// Rows on the device at once: 40 MiB of float64 at 1280 dimensions.
const CHUNK: usize = 4096;

/// Aligns a table of text rows and keeps its ids: [`Aligner::align`] for rows that lie on the host.
///
/// A method with a [closed form](Aligner::closed_form) is applied on the host in float64, others chunk by chunk on `device`,
/// in float64 where it has that; the values are rounded to float32 once.
///
/// # Returns
///
/// The table of unit rows, and what became of the rows under the policy.
///
/// # Errors
///
/// [`Error::Mismatch`] for another number of dimensions than the method was fitted on, [`Error::NonFinite`] or
/// [`Error::ZeroRow`] under [`NonFinite::Error`].
pub fn align_table(
    aligner: &dyn Aligner,
    text: &EmbeddingTable,
    policy: NonFinite,
    seed: u64,
    device: &Device,
) -> Result<(EmbeddingTable, RowReport)> {
    let Some(form) = aligner.closed_form() else {
        return map_table(aligner, text, policy, device, |rows, places| {
            let numbers: Vec<u64> = places.iter().map(|place| *place as u64).collect();
            aligner.align_rows(rows, seed, &numbers)
        });
    };
    check_dim(aligner, text)?;
    let mut aligned = vec![0.0; text.rows().len()];
    let rows = RawRows::single(text.rows(), text.dim())?;
    let (skipped, report) = form.align_into(rows, policy, seed, &mut aligned)?;
    aligned.truncate(report.kept * text.dim());
    let mut skipped = skipped.iter().peekable();
    let kept: Vec<usize> = (0..text.len()).filter(|row| skipped.next_if_eq(&row).is_none()).collect();
    Ok((text.with_rows(aligned, &kept)?, report))
}

/// As [`align_table`], but [`Aligner::transport`] alone, without noise and not of unit length: for stage 1, which draws the
/// method's noise anew at every step and normalises after that (see [`VisualSource`](crate::revision::VisualSource)).
///
/// # Errors
///
/// Those of [`align_table`], and [`Error::Config`] for a method whose noise is not isotropic: drawn anew it would be another, and
/// left out the method would be one without.
pub fn transport_table(
    aligner: &dyn Aligner,
    text: &EmbeddingTable,
    policy: NonFinite,
    device: &Device,
) -> Result<(EmbeddingTable, RowReport)> {
    if aligner.has_shaped_noise() {
        let detail = format!("{} has noise of a shape of its own: align the rows with it", aligner.name());
        return Err(Error::config("method", detail));
    }
    map_table(aligner, text, policy, device, |rows, _| aligner.transport(rows))
}

fn check_dim(aligner: &dyn Aligner, text: &EmbeddingTable) -> Result<()> {
    let (expected, found) = (aligner.dim(), text.dim());
    match expected == found {
        true => Ok(()),
        false => {
            let what = format!("dimensions of the rows for {}", aligner.name());
            Err(Error::mismatch(what, expected, found))
        }
    }
}

fn map_table(
    aligner: &dyn Aligner,
    text: &EmbeddingTable,
    policy: NonFinite,
    device: &Device,
    map: impl Fn(Tensor<2>, &[usize]) -> Tensor<2>,
) -> Result<(EmbeddingTable, RowReport)> {
    check_dim(aligner, text)?;
    let dim = text.dim();
    // A table is rounded once, at the end, where the device can do it.
    let dtype = if device.supports_dtype(DType::F64) { DType::F64 } else { DType::F32 };
    let mut aligned = Vec::with_capacity(text.rows().len());
    let mut kept = Vec::with_capacity(text.len());
    let mut report = RowReport::default();
    for (chunk, rows) in text.rows().chunks(CHUNK * dim).enumerate() {
        let (rows, places, part) = clean_rows(rows, dim, policy, "text", chunk * CHUNK)?;
        report.merge(&part);
        if places.is_empty() {
            continue;
        }
        let rows = Tensor::from_data(TensorData::new(rows, [places.len(), dim]), (device, dtype));
        let rows = map(rows, &places).into_data();
        aligned.extend(rows.try_into_vec_as::<f32>().expect("a float type converts to f32"));
        kept.extend(places);
    }
    Ok((text.with_rows(aligned, &kept)?, report))
}
