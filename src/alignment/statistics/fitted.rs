//! The method that statistics come to.

use std::path::Path;

use burn::tensor::Device;

use super::{Statistics, host_device};
use crate::alignment::fitted::FitMoments;
use crate::alignment::host_map::HostMap;
use crate::alignment::record::{self, Parameters};
use crate::alignment::{
    Aligner, AnisoAlign, C3Config, C3Variant, CentringConfig, CentringVariant, ClosedForm, CovarianceMap,
    Identity, MeanShiftConfig, MemoryOf, MemoryProjection, MemoryProjectionConfig, Method, ReAlign,
    ShapedNoise, ShapedNoiseConfig, Whitening, WhiteningConfig, WithNoise, fitting,
};
use crate::{Error, Result};

/// The name of the rows of a memory among what was fitted on a sample.
pub(in crate::alignment) const MEMORY: &str = "memory";

impl Statistics {
    /// What was fitted on a sample of rows.
    fn sampled(&self) -> Result<&Parameters> {
        let lacking = || {
            let detail = match self.method {
                Method::AnisoAlign(_) => "the networks of anisoalign are not trained",
                _ => "the memory has no rows yet",
            };
            Error::config(
                "statistics",
                format!("{detail}: run `fit` from these statistics with text and images"),
            )
        };
        self.sampled.as_ref().ok_or_else(lacking)
    }

    /// The module of AnisoAlign, without its centroid step where that is not done.
    pub(super) fn anisoalign(&self, device: &Device) -> Result<AnisoAlign> {
        let fitted: AnisoAlign = record::of_parameters(self.sampled()?, Path::new("statistics"), device)?;
        Ok(match self.centroids.first() {
            Some(centroid) => fitted.with_centroid(centroid),
            None => fitted,
        })
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

    fn memory(&self, config: &MemoryProjectionConfig, device: &Device) -> Result<MemoryProjection> {
        let (_, rows) = &self.sampled()?[MEMORY];
        let realign = config.realigned.then(|| self.realign()?.finish()).transpose()?;
        config.of_rows(rows.clone(), self.dim(), realign.as_ref(), device)
    }

    fn shaped_noise(&self, config: &ShapedNoiseConfig, device: &Device) -> Result<ShapedNoise> {
        fitting::check_varying(&self.text, &self.image)?;
        config.of_moments(&self.realign()?.finish()?, &self.text, &self.image, device)
    }

    /// The method on the host: what [`super::stream::apply`] writes.
    ///
    /// # Errors
    ///
    /// Those of [`Statistics::init`].
    pub(in crate::alignment) fn host_map(&self) -> Result<Box<dyn HostMap>> {
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
            Method::Memory(config) => self.memory(&config, &host_device())?.host_map(),
            Method::ShapedNoise(config) => self.shaped_noise(&config, &host_device())?.host_map(),
            _ => Box::new(self.closed_form()?),
        })
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
        let identity = ClosedForm::new(1.0, vec![0.0; self.dim()], Vec::new(), 0.0);
        match self.method {
            Method::Identity => Ok(identity),
            Method::CapDec { sigma } => {
                fitting::check_sigma(sigma)?;
                Ok(identity.with_noise(sigma))
            }
            // Images are what it moves.
            Method::Memory(config) if config.of == MemoryOf::Texts => Ok(identity),
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
            | Method::AnisoAlign(_)
            | Method::Memory(_)
            | Method::ShapedNoise(_) => {
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
            Method::Memory(config) => Box::new(self.memory(&config, device)?),
            Method::CapDec { sigma } => {
                fitting::check_sigma(sigma)?;
                Box::new(WithNoise::new(Identity::new(self.dim()), sigma))
            }
            Method::ShapedNoise(config) => Box::new(self.shaped_noise(&config, device)?),
        })
    }

    fn check_complete(&self) -> Result<()> {
        if self.method.needs_sample() {
            self.sampled()?;
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
}
