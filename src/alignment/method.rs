use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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
    /// [`crate::alignment::C3`], in the variant that leaves images where they are.
    C3 {
        /// The standard deviation of the noise, for each coordinate.
        sigma: f64,
    },
    /// [`crate::alignment::ReAlign`].
    #[serde(rename = "realign")]
    ReAlign {
        /// Added to the spread of the text rows.
        eps: f64,
        /// How often the centroid step is done.
        centroid_passes: usize,
    },
}

impl Method {
    /// The names that are understood.
    pub const NAMES: [&'static str; 4] = ["realign", "mean-shift", "c3", "identity"];
}

impl FromStr for Method {
    type Err = Error;

    /// The method with the settings of its paper.
    fn from_str(name: &str) -> Result<Self> {
        match name.replace('_', "-").as_str() {
            "identity" => Ok(Self::Identity),
            "mean-shift" => Ok(Self::MeanShift),
            "c3" => Ok(Self::C3 { sigma: super::C3Config::new().sigma }),
            "realign" => {
                let config = super::ReAlignConfig::new();
                Ok(Self::ReAlign { eps: config.eps, centroid_passes: config.centroid_passes })
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
            Self::C3 { .. } => "c3",
            Self::ReAlign { .. } => "realign",
        })
    }
}
