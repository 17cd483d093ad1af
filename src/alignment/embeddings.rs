use burn::tensor::{Device, Tensor};

use super::ClosedForm;
use super::gather::{Gather, sampled_unit_rows};
use super::host_map::HostMap;
use crate::embedding::{
    BLOCK_ROWS, EmbeddingTable, HostRows, NonFinite, RawRows, RowReport, RowSample, RowsInPlace, Store,
    Terms, host_rows, parallel,
};
use crate::geometry::{COVARIANCE_ROWS, Moments, unit_covariance, unit_moments};
use crate::{Error, Result};

/// Embeddings to fit a method on: a tensor `[n, d]` of any float type on any device, an [`EmbeddingTable`], a [`Store`]
/// of any size, or [`RawRows`] as they lie in memory.
///
/// Every `fit` takes anything that converts into it. Rows with NaN or without direction are an error, unless another
/// policy is chosen:
///
/// ```
/// use burn_revision::alignment::{Embeddings, MeanShiftConfig};
/// use burn_revision::embedding::{EmbeddingTable, NonFinite};
///
/// # fn main() -> burn_revision::Result<()> {
/// let text = EmbeddingTable::numbered(vec![1.0, 0.0, f32::NAN, 0.0], 2)?;
/// let image = EmbeddingTable::numbered(vec![0.0, 1.0], 2)?;
/// assert!(MeanShiftConfig::new().fit(&text, &image).is_err());
/// let text = Embeddings::from(&text).with_non_finite(NonFinite::Skip);
/// let fitted = MeanShiftConfig::new().fit(text, &image)?;
/// # Ok(())
/// # }
/// ```
pub struct Embeddings<'a> {
    rows: Rows<'a>,
    dim: usize,
    non_finite: NonFinite,
    device: Device,
}

enum Rows<'a> {
    InPlace(RowsInPlace),
    Copied(HostRows),
    Memory(RawRows<'a>),
    Store(&'a Store),
}

impl Embeddings<'_> {
    /// What to do with rows that are not finite or have no direction; [`NonFinite::Error`] by default.
    pub fn with_non_finite(self, non_finite: NonFinite) -> Self {
        Self { non_finite, ..self }
    }

    /// The device of what is fitted, where these are the text: that of the tensor by default, or Burn's default device for
    /// rows that lie on the host.
    pub fn with_device(self, device: &Device) -> Self {
        Self { device: device.clone(), ..self }
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// The moments of the unit rows.
    pub(super) fn moments(&self, what: &str) -> Result<Moments> {
        let block = |rows: RawRows<'_>, terms: Terms<'_>| unit_moments(rows, terms);
        self.gather(what, block)
    }

    /// The moments of the unit rows that become of the rows under a closed form.
    pub(super) fn moments_under(&self, form: &ClosedForm, what: &str) -> Result<Moments> {
        self.gather(what, |rows, terms| form.moments(rows, terms))
    }

    /// The moments of the unit rows with their covariance.
    pub(super) fn covariance(&self, what: &str) -> Result<Moments> {
        self.gather_large(what, true, unit_covariance)
    }

    /// The moments of the unit rows that become of the rows under a map, with their covariance.
    pub(super) fn covariance_under(&self, map: &dyn HostMap, what: &str) -> Result<Moments> {
        self.gather_large(what, true, |rows, terms| map.covariance(rows, terms))
    }

    /// The moments of the unit rows that become of the rows under a map that takes large pieces.
    pub(super) fn moments_under_map(&self, map: &dyn HostMap, what: &str) -> Result<Moments> {
        self.gather_large(what, false, |rows, terms| map.moments(rows, terms))
    }

    /// Merges what `block` makes of large blocks of rows, one after the other: `block` itself uses all cores.
    fn gather_large(
        &self,
        what: &str,
        covariance: bool,
        block: impl Fn(RawRows<'_>, Terms<'_>) -> Result<(Moments, RowReport)> + Sync,
    ) -> Result<Moments> {
        let rows = match &self.rows {
            Rows::InPlace(rows) => rows.raw(self.dim)?,
            Rows::Copied(rows) => rows.raw(self.dim)?,
            Rows::Memory(rows) => *rows,
            Rows::Store(store) => {
                let gather = Gather {
                    policy: self.non_finite,
                    piece_rows: COVARIANCE_ROWS,
                    covariance,
                    ..Gather::default()
                };
                return Ok(gather.run(store, what, None, block)?.moments);
            }
        };
        let mut gathered =
            if covariance { Moments::with_covariance(self.dim) } else { Moments::new(self.dim) };
        for (number, rows) in rows.blocks(COVARIANCE_ROWS).enumerate() {
            let terms = Terms { policy: self.non_finite, what, first: number * COVARIANCE_ROWS };
            gathered.merge(&block(rows, terms)?.0)?;
        }
        Ok(gathered)
    }

    /// The unit rows of an even sample of at most `size` rows, `[n, d]` row-major.
    pub(super) fn unit_sample(&self, size: usize, seed: u64, what: &str) -> Result<Vec<f32>> {
        let rows = match &self.rows {
            Rows::InPlace(rows) => rows.raw(self.dim)?,
            Rows::Copied(rows) => rows.raw(self.dim)?,
            Rows::Memory(rows) => *rows,
            Rows::Store(store) => {
                let gather = Gather { policy: self.non_finite, ..Gather::default() };
                return gather.unit_sample(store, what, RowSample::new(store.len(), size, seed));
            }
        };
        let chosen: Vec<usize> = RowSample::new(rows.len(), size, seed).within(0..rows.len()).collect();
        sampled_unit_rows(rows, &chosen, Terms { policy: self.non_finite, what, first: 0 })
    }

    /// Merges what `block` makes of fixed blocks of rows, in their order.
    fn gather(
        &self,
        what: &str,
        block: impl Fn(RawRows<'_>, Terms<'_>) -> Result<(Moments, RowReport)> + Sync,
    ) -> Result<Moments> {
        let rows = match &self.rows {
            Rows::InPlace(rows) => rows.raw(self.dim)?,
            Rows::Copied(rows) => rows.raw(self.dim)?,
            Rows::Memory(rows) => *rows,
            Rows::Store(store) => {
                let gather = Gather { policy: self.non_finite, ..Gather::default() };
                return Ok(gather.run(store, what, None, block)?.moments);
            }
        };
        let blocks = parallel::map(rows.blocks(BLOCK_ROWS).enumerate(), |(number, rows)| {
            block(rows, Terms { policy: self.non_finite, what, first: number * BLOCK_ROWS })
        });
        let mut gathered = Moments::new(self.dim);
        for block in blocks {
            gathered.merge(&block?.0)?;
        }
        Ok(gathered)
    }
}

impl From<Tensor<2>> for Embeddings<'_> {
    fn from(rows: Tensor<2>) -> Self {
        let ([_, dim], device) = (rows.dims(), rows.device().without_autodiff());
        let rows = match RowsInPlace::of(&rows) {
            Some(rows) => Rows::InPlace(rows),
            None => Rows::Copied(host_rows(rows)),
        };
        Self { rows, dim, non_finite: NonFinite::default(), device }
    }
}

impl<'a> From<RawRows<'a>> for Embeddings<'a> {
    fn from(rows: RawRows<'a>) -> Self {
        let (dim, device) = (rows.dim(), Device::default());
        Self { rows: Rows::Memory(rows), dim, non_finite: NonFinite::default(), device }
    }
}

impl<'a> From<&'a EmbeddingTable> for Embeddings<'a> {
    fn from(table: &'a EmbeddingTable) -> Self {
        RawRows::single(table.rows(), table.dim()).expect("a table holds whole rows").into()
    }
}

impl<'a> From<&'a Store> for Embeddings<'a> {
    fn from(store: &'a Store) -> Self {
        let (dim, device) = (store.dim(), Device::default());
        Self { rows: Rows::Store(store), dim, non_finite: NonFinite::default(), device }
    }
}

/// Refuses sets of different dimensions.
pub(super) fn check_dims(text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<()> {
    match text.dim == image.dim {
        true => Ok(()),
        false => Err(Error::mismatch("dimensions of text and image rows", text.dim, image.dim)),
    }
}
