//! What a method needs to know of two sets of embeddings:
//!
//! ```text
//! mod            moments of both sets, and their sums over machines
//! passes         what is gathered of texts that were moved, after the moments: centroids, and the covariance of blockwise alignment
//! set            the moments of one set, in batches of an engine
//! centroid_part  a share of a centroid pass, likewise
//! fitted         the method that they come to, in tensors and on the host
//! file           the file
//! ```

mod centroid_part;
mod file;
mod fitted;
#[cfg(test)]
mod parts_tests;
mod passes;
mod set;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

pub use centroid_part::CentroidPart;
pub(super) use fitted::MEMORY;
pub(super) use passes::check_sample;
pub use set::SetMoments;

use super::record::Parameters;
use super::{FitReport, Method};
use crate::embedding::{NonFinite, RowReport};
use crate::fingerprint::Fingerprint;
use crate::geometry::Moments;
use crate::{Error, Result};

/// Where the rows of statistics came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// `text` or `image`.
    pub set: String,
    /// The file, folder or pattern.
    pub place: String,
    /// The number of files.
    pub files: usize,
    /// The number of rows in them.
    pub rows: usize,
}

/// All that a method needs to know of two sets of embeddings: a few vectors, or covariances and networks, whatever the size
/// of the sets.
///
/// They are fitted on stores ([`super::stream::fit`]), saved as one small file, merged with those of other machines,
/// and turned into a method. The file is a `.safetensors` file: the vectors and sums in float64, and beside them, in its
/// metadata, a JSON object with version, method, counts and sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    method: Method,
    policy: NonFinite,
    text: Moments,
    image: Moments,
    report: FitReport,
    centroids: Vec<Vec<f64>>,
    /// For blockwise covariance: the moments of the texts on the mean of the images, with their covariance.
    moved: Option<Moments>,
    /// What is fitted on a sample of rows: the module of AnisoAlign before its centroid step, or the rows of a memory.
    sampled: Option<Parameters>,
    /// The centroid pass under way, where not all rows have been read.
    pass: Option<CentroidPass>,
    /// How many text rows of all sources together a centroid pass is made of; all of them by default.
    sample: Option<usize>,
    sources: Vec<Provenance>,
}

/// What a centroid pass has gathered so far.
#[derive(Clone, Debug, PartialEq)]
struct CentroidPass {
    /// The moments of the projected rows.
    projected: Moments,
    /// The text rows that were read for it, those that a sample or the policy left out among them.
    read: usize,
}

impl Statistics {
    /// Statistics of no row yet.
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn new(method: Method, policy: NonFinite, dim: usize) -> Self {
        let moments = match method.needs_covariance() {
            true => Moments::with_covariance(dim),
            false => Moments::new(dim),
        };
        Self {
            method,
            policy,
            text: moments.clone(),
            image: moments,
            report: FitReport::default(),
            centroids: Vec::new(),
            moved: None,
            sampled: None,
            pass: None,
            sample: None,
            sources: Vec::new(),
        }
    }

    /// The method that they are for.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What was done with rows without direction.
    pub fn policy(&self) -> NonFinite {
        self.policy
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.text.dim()
    }

    /// The moments of the unit rows of text.
    pub fn text(&self) -> &Moments {
        &self.text
    }

    /// The moments of the unit rows of images.
    pub fn image(&self) -> &Moments {
        &self.image
    }

    /// What became of the rows.
    pub fn report(&self) -> FitReport {
        self.report
    }

    /// The mean of the projected text rows, `[d]`, for each centroid pass that is done.
    pub fn centroids(&self) -> &[Vec<f64>] {
        &self.centroids
    }

    /// Where the rows came from.
    pub fn sources(&self) -> &[Provenance] {
        &self.sources
    }

    /// Whether what the method fits on a sample of rows is still missing: the networks of AnisoAlign, or the rows of a memory
    /// ([`super::stream::fit_sample`]).
    pub fn lacks_sample(&self) -> bool {
        self.method.needs_sample() && self.sampled.is_none()
    }

    /// Takes in what was fitted on a sample of both sets.
    pub(super) fn set_sampled(&mut self, sampled: Parameters) {
        self.sampled = Some(sampled);
    }

    /// Takes in the moments of rows of a source.
    pub(super) fn add(&mut self, source: Provenance, moments: &Moments, rows: RowReport) -> Result<()> {
        let (mine, report) = match source.set.as_str() {
            "text" => (&mut self.text, &mut self.report.text),
            _ => (&mut self.image, &mut self.report.image),
        };
        mine.merge(moments)?;
        report.merge(&rows);
        self.sources.push(source);
        Ok(())
    }

    /// Takes in the statistics that another machine has made of other rows; returns whether centroid passes were given
    /// up, because they belong to the moments before.
    ///
    /// Moments of different rows merge to those of all rows. Once the moments are merged, each machine runs the centroid
    /// pass of ReAlign over its own text, starting from the same file; what they saw of it merges likewise.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of dimensions, [`Error::Config`] for another method or policy, or where one
    /// of the two has begun a centroid pass from other moments.
    pub fn merge(&mut self, other: &Self) -> Result<bool> {
        if self.dim() != other.dim() {
            return Err(Error::mismatch("dimensions of merged statistics", self.dim(), other.dim()));
        }
        if self.method != other.method || self.policy != other.policy {
            let name = |one: &Self| format!("{:?}, non-finite rows: {}", one.method, one.policy);
            let detail = format!("{} and {} do not merge", name(self), name(other));
            return Err(Error::config("statistics", detail));
        }
        let same_moments = self.text == other.text && self.image == other.image;
        let same_passes =
            self.centroids == other.centroids && self.moved == other.moved && self.sampled == other.sampled;
        if let (true, true, Some(theirs)) = (same_moments, same_passes, &other.pass) {
            self.add_to_pass(&theirs.projected, theirs.read, other.sample)?;
            return Ok(false);
        }
        if same_moments {
            let detail = "both were made of the same rows, or one of them is a copy of the other";
            return Err(Error::config("statistics", detail));
        }
        if self.pass.is_some() || other.pass.is_some() {
            let detail =
                "a centroid pass is under way that began from other moments: merge the moments first";
            return Err(Error::config("statistics", detail));
        }
        self.text.merge(&other.text)?;
        self.image.merge(&other.image)?;
        self.report.text.merge(&other.report.text);
        self.report.image.merge(&other.report.image);
        self.sources.extend(other.sources.iter().cloned());
        let begun = |one: &Self| !one.centroids.is_empty() || one.moved.is_some() || one.sampled.is_some();
        let given_up = begun(self) || begun(other);
        self.centroids.clear();
        (self.moved, self.sampled) = (None, None);
        self.sample = None;
        Ok(given_up)
    }

    /// A number that tells these statistics from others.
    pub fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add(format!("{:?} {}", self.method, self.policy).as_bytes());
        for (name, values) in self.tensors() {
            fingerprint.add(name.as_bytes());
            fingerprint.add(bytemuck::cast_slice(&values));
        }
        for (name, (_, values)) in self.sampled.iter().flatten() {
            fingerprint.add(name.as_bytes());
            fingerprint.add(bytemuck::cast_slice(values));
        }
        fingerprint.finish()
    }
}

/// The device of modules that are only read on the host.
fn host_device() -> Device {
    Device::default()
}
