//! A share of a centroid pass, gathered in batches on the calling thread.

use super::Statistics;
use super::set::check_dim;
use crate::alignment::host_map::HostMap;
use crate::embedding::{BLOCK_ROWS, NonFinite, RawRows, RowReport, Terms};
use crate::geometry::{COVARIANCE_ROWS, Moments};
use crate::{Error, Result};

/// A centroid pass over a part of the texts that statistics were made of: [`Statistics::centroid_part`] begins one, and
/// [`Statistics::add_centroid_part`] takes it in.
///
/// ```
/// use burn_revision::alignment::{Method, Provenance, SetMoments, Statistics};
/// use burn_revision::embedding::{NonFinite, RawRows};
///
/// let (texts, images) = ([3.0, 4.0, 1.0, 0.1], [0.0, 1.0, 0.5, 1.0]);
/// let mut statistics = Statistics::new("realign".parse::<Method>()?, NonFinite::Error, 2);
/// for (set, rows) in [("text", &texts), ("image", &images)] {
///     let mut moments = SetMoments::new(NonFinite::Error, 2);
///     moments.update(RawRows::single(rows, 2)?, set)?;
///     statistics.add_set(Provenance { set: set.into(), place: set.into(), files: 1, rows: 2 }, &moments)?;
/// }
/// let begun = statistics.clone();
/// for row in texts.chunks(2) {
///     let mut part = begun.centroid_part()?; // on a machine of its own
///     part.update(RawRows::single(row, 2)?, "text")?;
///     statistics.add_centroid_part(&part)?;
/// }
/// assert_eq!(statistics.missing_centroid(), None);
/// # Ok::<(), burn_revision::Error>(())
/// ```
pub struct CentroidPart {
    map: Box<dyn HostMap>,
    policy: NonFinite,
    covariance: bool,
    projected: Moments,
    rows: RowReport,
}

impl CentroidPart {
    /// Takes in text rows, on the calling thread. `what` names the set in errors.
    ///
    /// # Errors
    ///
    /// Those of [`SetMoments::update`](super::SetMoments::update).
    pub fn update(&mut self, rows: RawRows<'_>, what: &str) -> Result<()> {
        check_dim(self.projected.dim(), rows.dim(), what)?;
        let block_rows =
            if self.covariance { COVARIANCE_ROWS } else { self.map.piece_rows().max(BLOCK_ROWS) };
        for block in rows.blocks(block_rows) {
            let terms = Terms { policy: self.policy, what, first: self.rows.rows };
            let (moments, report) = match self.covariance {
                true => self.map.covariance(block, terms)?,
                false => self.map.moments(block, terms)?,
            };
            self.projected.merge(&moments)?;
            self.rows.merge(&report);
        }
        Ok(())
    }

    /// What became of the rows.
    pub fn rows(&self) -> RowReport {
        self.rows
    }
}

impl Statistics {
    /// Begins a part of the centroid pass that is missing ([`Statistics::missing_centroid`]).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a method without such a pass or where none is missing, [`Error::TooFewRows`] where a set is too
    /// small.
    pub fn centroid_part(&self) -> Result<CentroidPart> {
        if self.missing_centroid().is_none() && self.method.text_passes() > 0 {
            return Err(Error::config("statistics", "no centroid pass is missing"));
        }
        let (map, covariance) = self.pass_map()?;
        let dim = self.dim();
        let projected = if covariance { Moments::with_covariance(dim) } else { Moments::new(dim) };
        Ok(CentroidPart { map, policy: self.policy, covariance, projected, rows: RowReport::default() })
    }

    /// Takes in a part of the centroid pass under way, and ends the pass when all texts of the moments have been seen.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions, and where more rows were seen than the moments were made of.
    pub fn add_centroid_part(&mut self, part: &CentroidPart) -> Result<()> {
        self.add_to_pass(&part.projected, part.rows.rows, None)
    }
}
