use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::embeddings::check_dims;
use super::fitted::Fit;
use super::fitting;
use super::{
    Aligner, AnisoAlignConfig, BlockwiseConfig, C3Config, C3Variant, CentringConfig, CentringVariant,
    CovarianceMap, Embeddings, Identity, MeanShiftConfig, MemoryOf, MemoryProjectionConfig, ReAlignConfig,
    ShapedNoiseConfig, WhiteningConfig, WithNoise,
};
use crate::{Error, Result};

/// A method of alignment by its name, with the settings that it is fitted with.
///
/// ```
/// use burn_revision::alignment::Method;
/// let method: Method = "realign".parse().unwrap();
/// assert_eq!(method, Method::ReAlign { eps: 1e-10, centroid_passes: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Method {
    /// [`crate::alignment::Identity`]: unit rows where they were.
    Identity,
    /// [`crate::alignment::MeanShift`].
    MeanShift,
    /// [`crate::alignment::C3`].
    C3 {
        /// The standard deviation of the noise, for each coordinate.
        sigma: f64,
        /// Where the centre of the text rows goes.
        #[serde(default)]
        variant: C3Variant,
    },
    /// [`crate::alignment::ReAlign`].
    #[serde(rename = "realign")]
    ReAlign {
        /// Added to the spread of the text rows.
        eps: f64,
        /// How often the centroid step is done.
        centroid_passes: usize,
    },
    /// [`crate::alignment::Centring`] as in Unicorn.
    Unicorn,
    /// [`crate::alignment::Centring`] as in GR-CLIP.
    GrClip,
    /// [`crate::alignment::Whitening`] by [`CovarianceMap::WhiteningColouring`].
    Whitening {
        /// What is added to the eigenvalues that are inverted, relative to their mean.
        ridge: f64,
    },
    /// [`crate::alignment::Whitening`] by [`CovarianceMap::GaussianTransport`].
    GaussianOt {
        /// What is added to the eigenvalues that are inverted, relative to their mean.
        ridge: f64,
    },
    /// [`crate::alignment::Blockwise`].
    Blockwise {
        /// What is added to the eigenvalues that are inverted, relative to their mean.
        ridge: f64,
        /// The share of the energy that `U` holds.
        energy: f64,
    },
    /// [`crate::alignment::AnisoAlign`].
    #[serde(rename = "anisoalign")]
    AnisoAlign(AnisoAlignConfig),
    /// [`crate::alignment::MemoryProjection`]: `memory`, `realign-memory` where texts are moved by ReAlign before, and `decap`
    /// for a memory of texts.
    Memory(MemoryProjectionConfig),
    /// CapDec: [`Identity`] [`WithNoise`]. Its noise comes from captions of one picture,
    /// [`caption_noise`](crate::alignment::caption_noise); the default is the variance that its code has, 0.016.
    #[serde(rename = "capdec")]
    CapDec {
        /// The standard deviation of the noise, for each coordinate.
        sigma: f64,
    },
    /// [`crate::alignment::ShapedNoise`].
    ShapedNoise(ShapedNoiseConfig),
}

impl Method {
    /// The names that are understood. Beside them are those of the parts of AnisoAlign, for its ablation, `anisoalign-init` and
    /// `anisoalign-score`, and `realign-memory`.
    pub const NAMES: [&'static str; 15] = [
        "realign",
        "mean-shift",
        "c3",
        "c3-zero-mean",
        "unicorn",
        "gr-clip",
        "whitening",
        "gaussian-ot",
        "blockwise",
        "anisoalign",
        "memory",
        "decap",
        "capdec",
        "shaped-noise",
        "identity",
    ];

    /// Fits the method on text and image embeddings: tensors, tables, stores or rows in memory.
    ///
    /// # Returns
    ///
    /// The fitted method, on the device of the text where that is a tensor, else on Burn's default device.
    ///
    /// # Errors
    ///
    /// Those of [`ReAlignConfig::fit`], which are the same for every method.
    pub fn fit<'t, 'i>(
        &self,
        text: impl Into<Embeddings<'t>>,
        image: impl Into<Embeddings<'i>>,
    ) -> Result<Box<dyn Aligner + Send + Sync>> {
        let (text, image) = (text.into(), image.into());
        fn fit<C: Fit>(
            config: &C,
            text: &Embeddings<'_>,
            image: &Embeddings<'_>,
        ) -> Result<Box<dyn Aligner + Send + Sync>>
        where
            C::Fitted: Aligner + Send + Sync + 'static,
        {
            Ok(Box::new(config.fit_checked(text, image)?))
        }
        let identity = || -> Result<Identity> {
            check_dims(&text, &image)?;
            // Rows that cannot be used are refused here too.
            text.moments("text").and_then(|_| image.moments("image"))?;
            Ok(Identity::new(text.dim()))
        };
        match *self {
            Self::Identity => Ok(Box::new(identity()?)),
            Self::CapDec { sigma } => {
                fitting::check_sigma(sigma)?;
                Ok(Box::new(WithNoise::new(identity()?, sigma)))
            }
            Self::MeanShift => fit(&MeanShiftConfig::new(), &text, &image),
            Self::C3 { sigma, variant } => {
                fit(&C3Config::new().with_sigma(sigma).with_variant(variant), &text, &image)
            }
            Self::ReAlign { eps, centroid_passes } => {
                let config = ReAlignConfig::new().with_eps(eps).with_centroid_passes(centroid_passes);
                fit(&config, &text, &image)
            }
            Self::Unicorn => fit(&centring(CentringVariant::Unicorn), &text, &image),
            Self::GrClip => fit(&centring(CentringVariant::GrClip), &text, &image),
            Self::Whitening { ridge } => {
                fit(&whitening(CovarianceMap::WhiteningColouring, ridge), &text, &image)
            }
            Self::GaussianOt { ridge } => {
                fit(&whitening(CovarianceMap::GaussianTransport, ridge), &text, &image)
            }
            Self::Blockwise { ridge, energy } => {
                fit(&BlockwiseConfig::new().with_ridge(ridge).with_energy(energy), &text, &image)
            }
            Self::AnisoAlign(config) => fit(&config, &text, &image),
            Self::Memory(config) => fit(&config, &text, &image),
            Self::ShapedNoise(config) => fit(&config, &text, &image),
        }
    }

    /// The same method with another ridge, where it has one.
    pub fn with_ridge(self, ridge: f64) -> Self {
        match self {
            Self::Whitening { .. } => Self::Whitening { ridge },
            Self::GaussianOt { .. } => Self::GaussianOt { ridge },
            Self::Blockwise { energy, .. } => Self::Blockwise { ridge, energy },
            other => other,
        }
    }

    /// The same method with another noise, where it is C3 or CapDec.
    pub fn with_sigma(self, sigma: f64) -> Self {
        match self {
            Self::C3 { variant, .. } => Self::C3 { sigma, variant },
            Self::CapDec { .. } => Self::CapDec { sigma },
            other => other,
        }
    }

    /// The same method with another share of the energy in `U`, where it has a frame.
    pub fn with_energy(self, energy: f64) -> Self {
        match self {
            Self::Blockwise { ridge, .. } => Self::Blockwise { ridge, energy },
            other => other,
        }
    }

    /// The same method with another seed, where its fit draws random numbers.
    pub fn with_seed(self, seed: u64) -> Self {
        match self {
            Self::AnisoAlign(config) => Self::AnisoAlign(config.with_seed(seed)),
            Self::Memory(config) => Self::Memory(config.with_seed(seed)),
            other => other,
        }
    }

    /// The same method with settings in the place of some of its own, as from a file: those of [`AnisoAlignConfig`],
    /// [`MemoryProjectionConfig`] or [`ShapedNoiseConfig`].
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that is no setting of the method, for a value of another kind than the setting's, and for a
    /// method without such settings.
    pub fn with_settings(self, settings: &serde_json::Map<String, serde_json::Value>) -> Result<Self> {
        let name = self.to_string();
        Ok(match self {
            Self::AnisoAlign(config) => Self::AnisoAlign(config.with_settings(settings)?),
            Self::Memory(config) => Self::Memory(fitting::with_settings(&config, &name, settings)?),
            Self::ShapedNoise(config) => Self::ShapedNoise(fitting::with_settings(&config, &name, settings)?),
            _ => {
                return Err(Error::config(
                    "settings",
                    format!("settings of anisoalign, memories and shaped-noise, not of {name}"),
                ));
            }
        })
    }

    /// How many passes over the text it makes after that for the moments.
    pub(crate) fn text_passes(&self) -> usize {
        match *self {
            Self::Blockwise { .. } => 2,
            Self::AnisoAlign(_) => 1,
            _ => self.realign().map_or(0, |config| config.centroid_passes),
        }
    }

    /// How ReAlign is fitted, by methods that are or begin with it.
    pub(super) fn realign(&self) -> Option<ReAlignConfig> {
        match *self {
            Self::ReAlign { eps, centroid_passes } => {
                Some(ReAlignConfig::new().with_eps(eps).with_centroid_passes(centroid_passes))
            }
            Self::Memory(config) => config.realigned.then(ReAlignConfig::new),
            Self::ShapedNoise(_) => Some(ReAlignConfig::new()),
            _ => None,
        }
    }

    /// Whether a part of it is fitted on a sample of rows: the networks of AnisoAlign, and the rows of a memory.
    pub(super) fn needs_sample(&self) -> bool {
        matches!(self, Self::AnisoAlign(_) | Self::Memory(_))
    }

    /// Whether it needs covariances, and not means and spreads alone.
    pub fn needs_covariance(&self) -> bool {
        matches!(
            self,
            Self::Whitening { .. }
                | Self::GaussianOt { .. }
                | Self::Blockwise { .. }
                | Self::AnisoAlign(_)
                | Self::ShapedNoise(_)
        )
    }

    /// Whether it moves images as well: see [`Aligner::align_image`].
    pub fn moves_images(&self) -> bool {
        match self {
            Self::Memory(config) => config.of == MemoryOf::Texts,
            _ => matches!(self, Self::Unicorn | Self::GrClip | Self::C3 { variant: C3Variant::ZeroMean, .. }),
        }
    }

    /// Where it was published.
    pub fn source(&self) -> &'static str {
        match self {
            Self::Identity => "no alignment",
            Self::MeanShift => "arXiv 2602.07026, Sec. 4.1; T_mu of arXiv 2605.07825",
            Self::C3 { variant: C3Variant::Shifted, .. } => {
                "arXiv 2401.08567, as compared in arXiv 2602.07026"
            }
            Self::C3 { variant: C3Variant::ZeroMean, .. } => "arXiv 2401.08567",
            Self::ReAlign { .. } => "arXiv 2602.07026, Sec. 4",
            Self::Unicorn => "arXiv 2503.22655",
            Self::GrClip => "arXiv 2507.19054; I0T, arXiv 2412.14384",
            Self::Whitening { .. } => "CORAL, arXiv 1511.05547; T_Sigma of arXiv 2605.07825",
            Self::GaussianOt { .. } => "Olkin and Pukelsheim, 1982",
            Self::Blockwise { .. } => "arXiv 2602.07026, App. F",
            Self::AnisoAlign(_) => "arXiv 2605.07825",
            Self::Memory(config) => match (config.of, config.realigned) {
                (MemoryOf::Texts, _) => "DeCap, arXiv 2303.03032",
                (MemoryOf::Images, false) => "DeCap, arXiv 2303.03032, the other way round",
                (MemoryOf::Images, true) => "this crate, after DeCap, arXiv 2303.03032",
            },
            Self::CapDec { .. } => "CapDec, arXiv 2211.00575",
            Self::ShapedNoise(_) => "this crate",
        }
    }
}

/// The variance of CapDec's noise in its code.
const CAPDEC_VARIANCE: f64 = 0.016;

fn centring(variant: CentringVariant) -> CentringConfig {
    CentringConfig::new().with_variant(variant)
}

fn whitening(map: CovarianceMap, ridge: f64) -> WhiteningConfig {
    WhiteningConfig::new().with_map(map).with_ridge(ridge)
}

impl FromStr for Method {
    type Err = Error;

    /// The method with the settings of its paper.
    fn from_str(name: &str) -> Result<Self> {
        let ridge = WhiteningConfig::new().ridge;
        let c3 = |variant| Self::C3 { sigma: C3Config::new().sigma, variant };
        match name.replace('_', "-").as_str() {
            "identity" => Ok(Self::Identity),
            "mean-shift" => Ok(Self::MeanShift),
            "c3" => Ok(c3(C3Variant::Shifted)),
            "c3-zero-mean" => Ok(c3(C3Variant::ZeroMean)),
            "realign" => {
                let config = ReAlignConfig::new();
                Ok(Self::ReAlign { eps: config.eps, centroid_passes: config.centroid_passes })
            }
            "unicorn" => Ok(Self::Unicorn),
            "gr-clip" => Ok(Self::GrClip),
            "whitening" => Ok(Self::Whitening { ridge }),
            "gaussian-ot" => Ok(Self::GaussianOt { ridge }),
            "blockwise" => {
                let config = BlockwiseConfig::new();
                Ok(Self::Blockwise { ridge: config.ridge, energy: config.energy })
            }
            "capdec" => Ok(Self::CapDec { sigma: CAPDEC_VARIANCE.sqrt() }),
            "shaped-noise" => Ok(Self::ShapedNoise(ShapedNoiseConfig::new())),
            name if MemoryProjectionConfig::named(name).is_some() => {
                Ok(Self::Memory(MemoryProjectionConfig::named(name).expect("just seen")))
            }
            name if AnisoAlignConfig::named(name).is_some() => {
                Ok(Self::AnisoAlign(AnisoAlignConfig::named(name).expect("just seen")))
            }
            _ => {
                let names = Self::NAMES.join(", ");
                Err(Error::config("method", format!("expected one of {names}, found {name:?}")))
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Identity => "identity",
            Self::MeanShift => "mean-shift",
            Self::C3 { variant: C3Variant::Shifted, .. } => "c3",
            Self::C3 { variant: C3Variant::ZeroMean, .. } => "c3-zero-mean",
            Self::ReAlign { .. } => "realign",
            Self::Unicorn => "unicorn",
            Self::GrClip => "gr-clip",
            Self::Whitening { .. } => "whitening",
            Self::GaussianOt { .. } => "gaussian-ot",
            Self::Blockwise { .. } => "blockwise",
            Self::AnisoAlign(config) => config.name(),
            Self::Memory(config) => config.name(),
            Self::CapDec { .. } => "capdec",
            Self::ShapedNoise(_) => "shaped-noise",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_its_method() {
        for name in Method::NAMES {
            let method: Method = name.parse().unwrap();
            assert_eq!(method.to_string(), name);
            let stored = serde_json::to_string(&method).unwrap();
            assert_eq!(serde_json::from_str::<Method>(&stored).unwrap(), method);
        }
        for name in ["anisoalign-init", "anisoalign-score", "realign-memory"] {
            assert_eq!(name.parse::<Method>().unwrap().to_string(), name);
        }
        let error = "procrustes".parse::<Method>().unwrap_err().to_string();
        assert!(error.contains("procrustes") && error.contains("gaussian-ot"), "{error}");
    }

    #[test]
    fn statistics_written_before_c3_had_variants_are_read() {
        let method: Method = serde_json::from_str(r#"{"name": "c3", "sigma": 0.1}"#).unwrap();
        assert_eq!(method, Method::C3 { sigma: 0.1, variant: C3Variant::Shifted });
    }
}
