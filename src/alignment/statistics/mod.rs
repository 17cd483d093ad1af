mod file;

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::blockwise::BlockwiseFit;
use super::fitted::FitMoments;
use super::host_map::HostMap;
use super::realign::ReAlignFit;
use super::record::Parameters;
use super::{
    Aligner, AnisoAlign, BlockwiseConfig, C3Config, C3Variant, CentringConfig, CentringVariant, ClosedForm,
    CovarianceMap, FitReport, Identity, MeanShiftConfig, Method, ReAlign, ReAlignConfig, Whitening,
    WhiteningConfig, fitting, record,
};
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
    /// For AnisoAlign: the fitted module, before its centroid step.
    networks: Option<Parameters>,
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

/// Refuses a sample of no rows, and of more than there are.
pub(super) fn check_sample(sample: usize, rows: usize) -> Result<()> {
    match (1..=rows).contains(&sample) {
        true => Ok(()),
        false => {
            let detail = format!("expected from 1 to {rows} text rows, found {sample}");
            Err(Error::config("centroid-sample", detail))
        }
    }
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
            networks: None,
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

    /// How many text rows the centroid pass under way has read, and how many it must read: those of all sources. Nothing
    /// where no pass is missing.
    pub fn missing_centroid(&self) -> Option<(usize, usize)> {
        let read = self.pass.as_ref().map_or(0, |pass| pass.read);
        let done = self.centroids.len() + usize::from(self.moved.is_some());
        (done < self.method.text_passes()).then_some((read, self.report.text.rows))
    }

    /// Whether the networks of AnisoAlign are still to be trained ([`super::stream::fit_networks`]).
    pub fn lacks_networks(&self) -> bool {
        matches!(self.method, Method::AnisoAlign(_)) && self.networks.is_none()
    }

    /// Takes in what AnisoAlign has learned from a sample of both sets.
    pub(super) fn set_networks(&mut self, fitted: &AnisoAlign) {
        self.networks = Some(record::parameters(fitted));
    }

    /// The module of AnisoAlign, without its centroid step where that is not done.
    fn anisoalign(&self, device: &Device) -> Result<AnisoAlign> {
        let Some(networks) = &self.networks else {
            let detail = "the networks of anisoalign are not trained: run `fit` from these statistics with text and \
                          images";
            return Err(Error::config("statistics", detail));
        };
        let fitted: AnisoAlign = record::of_parameters(networks, Path::new("statistics"), device)?;
        Ok(match self.centroids.first() {
            Some(centroid) => fitted.with_centroid(centroid),
            None => fitted,
        })
    }

    /// The map whose result the next pass over the text gathers, on the host, and whether that is a covariance.
    pub(super) fn pass_map(&self) -> Result<(Box<dyn HostMap>, bool)> {
        Ok(match self.method {
            Method::ReAlign { .. } => (Box::new(self.realign()?.closed_form()), false),
            Method::Blockwise { .. } => {
                let fit = self.blockwise()?;
                match &self.moved {
                    None => (Box::new(fit.shift()), true),
                    Some(moved) => (Box::new(fit.with_moved(moved)?.host_map(None)), false),
                }
            }
            Method::AnisoAlign(_) => (Box::new(self.anisoalign(&host_device())?.host_map()), false),
            _ => return Err(self.without_pass()),
        })
    }

    /// As [`Statistics::pass_map`] in tensors, for methods whose pass gathers centroids.
    pub(super) fn pass_method(&self, device: &Device) -> Result<Option<Box<dyn Aligner + Send + Sync>>> {
        Ok(match self.method {
            Method::ReAlign { .. } => Some(Box::new(ReAlign::of(self.realign()?.partial(), device))),
            Method::AnisoAlign(_) => Some(Box::new(self.anisoalign(device)?)),
            Method::Blockwise { .. } => None,
            _ => return Err(self.without_pass()),
        })
    }

    fn without_pass(&self) -> Error {
        Error::config("method", format!("{} has no centroid pass", self.method))
    }

    fn blockwise(&self) -> Result<BlockwiseFit> {
        let Method::Blockwise { ridge, energy } = self.method else {
            return Err(self.without_pass());
        };
        let config = BlockwiseConfig::new().with_ridge(ridge).with_energy(energy);
        BlockwiseFit::new(&config, &self.text, &self.image)
    }

    fn whitening(&self, device: &Device) -> Result<Whitening> {
        let (map, ridge) = match self.method {
            Method::Whitening { ridge } => (CovarianceMap::WhiteningColouring, ridge),
            Method::GaussianOt { ridge } => (CovarianceMap::GaussianTransport, ridge),
            _ => return Err(self.without_pass()),
        };
        let config = WhiteningConfig::new().with_map(map).with_ridge(ridge);
        config.fit_moments(&self.text, &self.image, device)
    }

    /// The method on the host: what [`super::stream::apply`] writes.
    ///
    /// # Errors
    ///
    /// Those of [`Statistics::init`].
    pub(super) fn host_map(&self) -> Result<Box<dyn HostMap>> {
        self.check_complete()?;
        Ok(match self.method {
            Method::Whitening { .. } | Method::GaussianOt { .. } => {
                Box::new(self.whitening(&host_device())?.host_map())
            }
            Method::Blockwise { .. } => {
                let map = self.blockwise()?.with_moved(self.moved()?)?;
                Box::new(map.host_map(self.centroids.first().map(Vec::as_slice)))
            }
            Method::AnisoAlign(_) => Box::new(self.anisoalign(&host_device())?.host_map()),
            _ => Box::new(self.closed_form()?),
        })
    }

    fn moved(&self) -> Result<&Moments> {
        let lacking = || Error::config("statistics", "the covariance of the moved texts is missing");
        self.moved.as_ref().ok_or_else(lacking)
    }

    /// How many rows of a source of `rows` text rows a centroid pass is made of, where `sample` rows of all sources
    /// together are asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a sample of no rows, and of more than there are.
    pub(super) fn share_of_sample(&self, sample: usize, rows: usize) -> Result<usize> {
        let all = self.report.text.rows;
        check_sample(sample, all)?;
        Ok((sample as u128 * rows as u128).div_ceil(all.max(1) as u128) as usize)
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

    /// The fit of ReAlign as far as it has come.
    pub(super) fn realign(&self) -> Result<ReAlignFit> {
        let Method::ReAlign { eps, centroid_passes } = self.method else {
            return Err(self.without_pass());
        };
        let config = ReAlignConfig::new().with_eps(eps).with_centroid_passes(centroid_passes);
        let mut fit = ReAlignFit::anchor_trace(&config, &self.text, &self.image)?;
        fit.resume(&self.centroids);
        Ok(fit)
    }

    /// Takes in what was gathered of `read` text rows for the centroid pass under way, and ends the pass when all rows have
    /// been read.
    pub(super) fn add_to_pass(
        &mut self,
        projected: &Moments,
        read: usize,
        sample: Option<usize>,
    ) -> Result<()> {
        if self.pass.is_some() && self.sample != sample {
            let rows = |sample: Option<usize>| sample.map_or("all".to_string(), |rows| rows.to_string());
            let (before, now) = (rows(self.sample), rows(sample));
            let detail =
                format!("the pass under way was begun with {before} rows, and is continued with {now}");
            return Err(Error::config("centroid-sample", detail));
        }
        let mut pass =
            self.pass.take().unwrap_or_else(|| CentroidPass { projected: projected.without_rows(), read: 0 });
        pass.projected.merge(projected)?;
        pass.read += read;
        let what = "text rows in a centroid pass (those that the moments were made of)";
        let wanted = self.report.text.rows;
        if pass.read > wanted {
            return Err(Error::mismatch(what, wanted, pass.read));
        }
        self.sample = sample;
        if pass.read < wanted {
            self.pass = Some(pass);
            return Ok(());
        }
        let gathered = pass.projected.count();
        match sample {
            // Rows that were fitted have changed since.
            None if gathered != self.text.count() => Err(Error::mismatch(what, self.text.count(), gathered)),
            Some(_) if gathered == 0 => {
                let what = "rows with a direction in the sample for the centroid".to_string();
                Err(Error::TooFewRows { what, needed: 1, actual: 0 })
            }
            _ if pass.projected.gathers_covariance() => {
                self.moved = Some(pass.projected);
                Ok(())
            }
            _ => {
                self.centroids.push(pass.projected.mean().to_vec());
                Ok(())
            }
        }
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
            self.centroids == other.centroids && self.moved == other.moved && self.networks == other.networks;
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
        let begun = |one: &Self| !one.centroids.is_empty() || one.moved.is_some() || one.networks.is_some();
        let given_up = begun(self) || begun(other);
        self.centroids.clear();
        (self.moved, self.networks) = (None, None);
        self.sample = None;
        Ok(given_up)
    }

    /// The map that the method fits to these statistics, where it is a scaling and shifts.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] where a set is empty, [`Error::Config`] where a centroid pass is missing, or for a method that
    /// is no closed form.
    pub fn closed_form(&self) -> Result<ClosedForm> {
        self.check_complete()?;
        let shift = |to_images: bool| {
            fitting::check(&self.text, &self.image, 1)?;
            let (text, image) = (fitting::rounded(self.text.mean()), fitting::rounded(self.image.mean()));
            Ok(fitting::shift(&text, to_images.then_some(&image)))
        };
        match self.method {
            Method::Identity => Ok(ClosedForm::new(1.0, vec![0.0; self.dim()], Vec::new(), 0.0)),
            Method::MeanShift => shift(true),
            Method::Unicorn | Method::GrClip => shift(false),
            // As the module keeps it, as a sum of two float32 numbers.
            Method::C3 { sigma, variant } => {
                let sigma = record::join(&record::split(sigma));
                Ok(shift(variant == C3Variant::Shifted)?.with_noise(sigma))
            }
            Method::ReAlign { .. } => Ok(self.realign()?.finish()?.closed_form()),
            Method::Whitening { .. }
            | Method::GaussianOt { .. }
            | Method::Blockwise { .. }
            | Method::AnisoAlign(_) => {
                let detail = format!("{} is more than a scaling and shifts: use `init`", self.method);
                Err(Error::config("method", detail))
            }
        }
    }

    /// The method on a device.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] where a set is empty, [`Error::Config`] where a pass or the networks are missing.
    pub fn init(&self, device: &Device) -> Result<Box<dyn Aligner + Send + Sync>> {
        self.check_complete()?;
        Ok(match self.method {
            Method::Identity => Box::new(Identity::new(self.dim())),
            Method::MeanShift => {
                Box::new(MeanShiftConfig::new().fit_moments(&self.text, &self.image, device)?)
            }
            Method::C3 { sigma, variant } => {
                let config = C3Config::new().with_sigma(sigma).with_variant(variant);
                Box::new(config.fit_moments(&self.text, &self.image, device)?)
            }
            Method::ReAlign { .. } => Box::new(ReAlign::of(&self.realign()?.finish()?, device)),
            Method::Unicorn | Method::GrClip => {
                let variant = match self.method {
                    Method::Unicorn => CentringVariant::Unicorn,
                    _ => CentringVariant::GrClip,
                };
                let config = CentringConfig::new().with_variant(variant);
                Box::new(config.fit_moments(&self.text, &self.image, device)?)
            }
            Method::Whitening { .. } | Method::GaussianOt { .. } => Box::new(self.whitening(device)?),
            Method::Blockwise { .. } => {
                let map = self.blockwise()?.with_moved(self.moved()?)?;
                Box::new(map.init(&self.centroids[0], device))
            }
            Method::AnisoAlign(_) => Box::new(self.anisoalign(device)?),
        })
    }

    fn check_complete(&self) -> Result<()> {
        if self.lacks_networks() {
            self.anisoalign(&host_device())?;
        }
        if let Some((seen, wanted)) = self.missing_centroid() {
            let detail = format!(
                "the centroid pass has read {seen} of {wanted} text rows: run `fit` from these statistics, and merge \
                 what several machines read"
            );
            return Err(Error::config("statistics", detail));
        }
        Ok(())
    }

    /// A number that tells these statistics from others.
    pub fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add(format!("{:?} {}", self.method, self.policy).as_bytes());
        for (name, values) in self.tensors() {
            fingerprint.add(name.as_bytes());
            fingerprint.add(bytemuck::cast_slice(&values));
        }
        for (name, (_, values)) in self.networks.iter().flatten() {
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
