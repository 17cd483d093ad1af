//! The moments of one set, gathered in batches on the calling thread: what an engine that hands out rows brings to statistics.

use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Provenance, Statistics};
use crate::embedding::{BLOCK_ROWS, NonFinite, RawRows, RowReport, Terms};
use crate::geometry::{COVARIANCE_ROWS, Moments, unit_covariance, unit_moments};
use crate::{Error, Result};

const VERSION: u32 = 1;
const KEY: &str = "moments";

/// The moments of the unit rows of one set, or of a part of it: what one modality brings to [`Statistics`].
///
/// Rows of one dimension arrive in batches ([`SetMoments::update`]), parts of a set merge exactly to float64 in any order
/// ([`SetMoments::merge`]), and [`Statistics::add_set`] takes the whole in. As bytes they are a few vectors in float64, in the
/// format `.safetensors`.
///
/// ```
/// use burn_revision::alignment::{Method, Provenance, SetMoments, Statistics};
/// use burn_revision::embedding::{NonFinite, RawRows};
///
/// let rows = [3.0, 4.0, 1.0, 0.0, 0.0, 2.0];
/// let (first, second) = rows.split_at(4);
/// let mut moments = SetMoments::new(NonFinite::Error, 2);
/// moments.update(RawRows::single(first, 2)?, "captions")?;
/// let mut other = SetMoments::new(NonFinite::Error, 2);
/// other.update(RawRows::single(second, 2)?, "captions")?;
/// moments.merge(&SetMoments::from_bytes(&other.to_bytes()?, "other")?)?;
///
/// let mut statistics = Statistics::new("realign".parse::<Method>()?, NonFinite::Error, 2);
/// let source = Provenance { set: "text".into(), place: "captions".into(), files: 1, rows: 3 };
/// statistics.add_set(source, &moments)?;
/// assert_eq!(statistics.text().count(), 3);
/// # Ok::<(), burn_revision::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SetMoments {
    policy: NonFinite,
    moments: Moments,
    rows: RowReport,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    non_finite: NonFinite,
    count: u64,
    rows: RowReport,
}

impl SetMoments {
    /// No row yet: the mean and the spread are gathered.
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn new(policy: NonFinite, dim: usize) -> Self {
        Self { policy, moments: Moments::new(dim), rows: RowReport::default() }
    }

    /// No row yet: the covariance is gathered as well, at `O(n d^2)`, for the methods that need it
    /// ([`Method::needs_covariance`](crate::alignment::Method::needs_covariance)).
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn with_covariance(policy: NonFinite, dim: usize) -> Self {
        Self { policy, moments: Moments::with_covariance(dim), rows: RowReport::default() }
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.moments.dim()
    }

    /// What is done with rows without direction.
    pub fn policy(&self) -> NonFinite {
        self.policy
    }

    /// The moments of the unit rows.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// What became of the rows.
    pub fn rows(&self) -> RowReport {
        self.rows
    }

    /// Takes in rows, scaled to unit length in float64, on the calling thread. `what` names the set in errors, which count its
    /// rows from the first that came here.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions, [`Error::NonFinite`] or [`Error::ZeroRow`] under
    /// [`NonFinite::Error`]; the moments then hold a part of the rows, and are of no use.
    pub fn update(&mut self, rows: RawRows<'_>, what: &str) -> Result<()> {
        check_dim(self.dim(), rows.dim(), what)?;
        let covariance = self.moments.gathers_covariance();
        for block in rows.blocks(if covariance { COVARIANCE_ROWS } else { BLOCK_ROWS }) {
            let terms = Terms { policy: self.policy, what, first: self.rows.rows };
            let (moments, report) = match covariance {
                true => unit_covariance(block, terms)?,
                false => unit_moments(block, terms)?,
            };
            self.moments.merge(&moments)?;
            self.rows.merge(&report);
        }
        Ok(())
    }

    /// Takes in the rows that another part of the set has seen.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions, [`Error::Config`] for another policy, or where only one of the two
    /// gathers the covariance.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        check_policy(self.policy, other.policy)?;
        self.moments.merge(&other.moments)?;
        self.rows.merge(&other.rows);
        Ok(())
    }

    /// The moments as bytes: mean, sum of squares and scatter in float64, in the format `.safetensors`.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where they cannot be written down.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let failed = |error: &dyn std::fmt::Display| Error::format("moments", error.to_string());
        let (squares, scatter) = ([self.moments.squares()], self.moments.packed_scatter());
        let mut tensors = vec![("mean", self.moments.mean()), ("squares", &squares[..])];
        if let Some(scatter) = &scatter {
            tensors.push(("scatter", scatter));
        }
        let mut views = Vec::with_capacity(tensors.len());
        for (name, values) in tensors {
            let view = TensorView::new(Dtype::F64, vec![values.len()], bytemuck::cast_slice(values));
            views.push((name, view.map_err(|error| failed(&error))?));
        }
        let header = Header {
            version: VERSION,
            non_finite: self.policy,
            count: self.moments.count() as u64,
            rows: self.rows,
        };
        let header = serde_json::to_string(&header).map_err(|error| failed(&error))?;
        let metadata = Some(std::collections::HashMap::from([(KEY.to_string(), header)]));
        safetensors::serialize(views, metadata).map_err(|error| failed(&error))
    }

    /// Reads what [`SetMoments::to_bytes`] made; `name` says in errors where they were.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where they hold something else.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        let wrong = |detail: String| Error::format(Path::new(name), detail);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| wrong(error.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header = header.ok_or_else(|| wrong("no moments of a set: no entry \"moments\"".to_string()))?;
        let header: Header = serde_json::from_str(header).map_err(|error| wrong(error.to_string()))?;
        if header.version != VERSION {
            return Err(wrong(format!("expected version {VERSION} of moments, found {}", header.version)));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
        let read = |name: &str| -> Result<Vec<f64>> {
            let view = file.tensor(name).map_err(|_| wrong(format!("no tensor {name:?}")))?;
            match view.dtype() {
                Dtype::F64 => {
                    let bytes = view.data().as_chunks::<8>().0.iter();
                    Ok(bytes.map(|bytes| f64::from_le_bytes(*bytes)).collect())
                }
                other => Err(wrong(format!("{name}: expected F64, found {other:?}"))),
            }
        };
        let scatter = file.tensor("scatter").is_ok().then(|| read("scatter")).transpose()?;
        let &[squares] = read("squares")?.as_slice() else {
            return Err(wrong("squares: expected one value".to_string()));
        };
        let moments = Moments::from_parts(header.count, read("mean")?, squares, scatter)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { policy: header.non_finite, moments, rows: header.rows })
    }
}

impl Statistics {
    /// Takes in the moments of a set, or of a part of it: `source.set` is `text` or `image`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions, [`Error::Config`] for another set, for another policy than these
    /// statistics have, and where a centroid pass of other moments has begun.
    pub fn add_set(&mut self, source: Provenance, set: &SetMoments) -> Result<()> {
        if !matches!(source.set.as_str(), "text" | "image") {
            return Err(Error::config("set", format!("expected text or image, found {:?}", source.set)));
        }
        check_policy(self.policy, set.policy)?;
        if self.pass.is_some() || !self.centroids.is_empty() || self.moved.is_some() || self.sampled.is_some()
        {
            let detail = "what was fitted after the moments belongs to the moments before: add sets first";
            return Err(Error::config("statistics", detail));
        }
        if self.method.needs_covariance() && !set.moments.gathers_covariance() {
            let detail =
                format!("{} needs covariances, and the moments of {} have none", self.method, source.set);
            return Err(Error::config("statistics", detail));
        }
        match set.moments.gathers_covariance() && !self.method.needs_covariance() {
            true => self.add(source, &set.moments.without_covariance(), set.rows),
            false => self.add(source, &set.moments, set.rows),
        }
    }
}

/// Refuses rows of other dimensions than the statistics of `what` have.
pub(super) fn check_dim(expected: usize, found: usize, what: &str) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::mismatch(format!("{what}: dimensions of the rows"), expected, found)),
    }
}

fn check_policy(expected: NonFinite, found: NonFinite) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::config("non-finite", format!("expected the policy {expected}, found {found}"))),
    }
}
