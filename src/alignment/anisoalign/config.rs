use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::alignment::fitting;
use crate::{Error, Result};

/// How the orthogonal matrix is chosen that mixes the coordinates of the frame before they are paired into circular blocks.
/// arXiv 2605.07825, Sec. 4, learns one and gives neither its loss nor its rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mixing {
    /// None: eigenvectors 1 and 2 are the first block, 3 and 4 the second, and so on.
    #[default]
    Pca,
    /// A random orthogonal matrix of the seed.
    Random,
    /// A random orthogonal matrix, moved by gradients until the phases of the images are as concentrated and as coherent as
    /// possible: `sum_k |E e^{i theta_k}|^2 + sum_{k < l} |M_kl|^2` grows.
    Learned,
}

impl std::fmt::Display for Mixing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pca => "pca",
            Self::Random => "random",
            Self::Learned => "learned",
        })
    }
}

impl std::str::FromStr for Mixing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "pca" => Ok(Self::Pca),
            "random" => Ok(Self::Random),
            "learned" => Ok(Self::Learned),
            _ => Err(Error::config("mixing", format!("expected pca, random or learned, found {name:?}"))),
        }
    }
}

/// How to fit [`AnisoAlign`](super::AnisoAlign): everything that arXiv 2605.07825 leaves open.
///
/// The regulariser `lambda I` of the frame is no setting: it changes no eigenvector.
#[derive(Config, Debug, Copy, PartialEq)]
pub struct AnisoAlignConfig {
    /// `r`, the number of dimensions of the frame `U`; even, two for each block. By default a twentieth of the dimensions, 64 of
    /// 1280: larger frames keep less of what a caption says, and bring it no nearer to the images.
    pub rank: Option<usize>,
    /// How the coordinates of the frame are mixed before they are paired.
    #[config(default = "Mixing::Pca")]
    pub mixing: Mixing,
    /// `p`: each block is coupled with so many others, those with the largest `|M_kl|`.
    #[config(default = 4)]
    pub neighbours: usize,
    /// `tau`, the step of the drift along the potential.
    #[config(default = 0.1)]
    pub drift: f64,
    /// The smallest `sigma_t`, in radians.
    #[config(default = 0.05)]
    pub sigma_min: f64,
    /// The largest `sigma_t`; levels lie geometrically between both, and one is drawn for each row and step.
    #[config(default = 1.0)]
    pub sigma_max: f64,
    /// Hidden units of both layers of the score network.
    #[config(default = 256)]
    pub score_width: usize,
    /// Hidden units of the one layer of the refinement network.
    #[config(default = 128)]
    pub refiner_width: usize,
    /// `a_theta`, the most that a phase moves, in radians; 0 for none.
    #[config(default = 0.1)]
    pub phase_bound: f64,
    /// `a_rho`, the most that the logarithm of a radius moves; 0 for none.
    #[config(default = 0.1)]
    pub radius_bound: f64,
    /// `a_v`, the most that a coordinate of `V` moves; 0 for none. Neither of the paper's two losses depends on what it
    /// bounds, so that the correction within `V` stays at its initial value of zero whatever this is.
    #[config(default = 0.0)]
    pub complement_bound: f64,
    /// The weight of `L_II`, the score matching of the refined phases; without it nothing is refined, since `L_Phi` alone is
    /// least at the initialisation.
    #[config(default = 1.0)]
    pub score_weight: f64,
    /// The weight of `L_Phi`, the phase differences that the refinement must keep; 0 leaves it out. It multiplies the weighted
    /// mean over the edges; the paper divides that by the number of edges once more.
    #[config(default = 1.0)]
    pub phase_weight: f64,
    /// Steps of stage I, the score network; none where stage II does not use it.
    #[config(default = 400)]
    pub score_steps: usize,
    /// Steps of stage II, the refinement network.
    #[config(default = 200)]
    pub refiner_steps: usize,
    /// Steps by which [`Mixing::Learned`] moves the matrix.
    #[config(default = 60)]
    pub mixing_steps: usize,
    /// Rows of a step.
    #[config(default = 512)]
    pub batch: usize,
    /// The learning rate of both stages at its peak.
    #[config(default = 1e-3)]
    pub learning_rate: f64,
    /// A stage ends early when its loss on rows held out from it has not fallen at so many of its 20 evaluations in a row.
    #[config(default = 5)]
    pub patience: usize,
    /// Rows of each set that radii, phases and both networks are fitted on, drawn evenly; means and covariances are of all.
    #[config(default = 20_000)]
    pub sample: usize,
    /// Cells of the tables of the radial map.
    #[config(default = 128)]
    pub quantiles: usize,
    /// Added to squared radii and to standard deviations, so that none is zero.
    #[config(default = 1e-12)]
    pub eps: f64,
    /// The seed of samples, weights and noise.
    #[config(default = 0)]
    pub seed: u64,
}

impl AnisoAlignConfig {
    /// These settings with others in the place of some, as from a file.
    ///
    /// ```
    /// use burn_revision::alignment::AnisoAlignConfig;
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let settings = serde_json::json!({ "rank": 256, "mixing": "random" });
    /// let config = AnisoAlignConfig::new().with_settings(settings.as_object().unwrap())?;
    /// assert_eq!(config.rank, Some(256));
    /// let unknown = serde_json::json!({ "ranks": 256 });
    /// assert!(AnisoAlignConfig::new().with_settings(unknown.as_object().unwrap()).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that is no setting, and for a value of another kind than the setting's.
    pub fn with_settings(&self, settings: &serde_json::Map<String, serde_json::Value>) -> Result<Self> {
        fitting::with_settings(self, "anisoalign", settings)
    }

    /// The settings with the rank that they come to, for so many dimensions.
    pub(super) fn rank_of(&self, dim: usize) -> Result<usize> {
        let wrong = |found: usize| {
            let detail = format!("expected an even number from 2 to {dim}, the dimensions, found {found}");
            Err(Error::config("rank", detail))
        };
        match self.rank {
            Some(rank) if rank < 2 || rank > dim || !rank.is_multiple_of(2) => wrong(rank),
            Some(rank) => Ok(rank),
            None if dim < 2 => wrong(dim),
            None => Ok((dim / 40 * 2).max(2)),
        }
    }

    /// Refuses settings that cannot be used.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |key: &str, detail: String| Err(Error::config(key, detail));
        let at_least_0 = [
            ("drift", self.drift),
            ("phase_bound", self.phase_bound),
            ("radius_bound", self.radius_bound),
            ("complement_bound", self.complement_bound),
            ("score_weight", self.score_weight),
            ("phase_weight", self.phase_weight),
        ];
        if let Some((key, value)) = at_least_0.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0))
        {
            return wrong(key, format!("expected a number of at least 0, found {value}"));
        }
        let above_0 = [("sigma_min", self.sigma_min), ("eps", self.eps)];
        if let Some((key, value)) = above_0.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return wrong(key, format!("expected a number above 0, found {value}"));
        }
        if !(self.sigma_max.is_finite() && self.sigma_max >= self.sigma_min) {
            let detail = format!("expected at least sigma_min, {}, found {}", self.sigma_min, self.sigma_max);
            return wrong("sigma_max", detail);
        }
        let counts = [
            ("score_width", self.score_width),
            ("refiner_width", self.refiner_width),
            ("batch", self.batch),
            ("patience", self.patience),
            ("quantiles", self.quantiles),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => wrong(key, "expected at least 1, found 0".to_string()),
            None => Ok(()),
        }
    }

    /// The settings of a name: `anisoalign`, or a part of it for ablations. `anisoalign-init` is the initialisation alone,
    /// `anisoalign-score` is refined by `L_II` alone. (`L_Phi` alone is least where nothing moves, and leaves the
    /// initialisation.)
    pub(in crate::alignment) fn named(name: &str) -> Option<Self> {
        match name {
            "anisoalign" => Some(Self::new()),
            "anisoalign-init" => Some(Self::new().with_refiner_steps(0)),
            "anisoalign-score" => Some(Self::new().with_phase_weight(0.0)),
            _ => None,
        }
    }

    /// The name that these settings go by.
    pub(in crate::alignment) fn name(&self) -> &'static str {
        match (self.refines(), self.phase_weight > 0.0) {
            (false, _) => "anisoalign-init",
            (true, false) => "anisoalign-score",
            (true, true) => "anisoalign",
        }
    }

    /// Whether stage II has something to move and something to learn from.
    pub(super) fn refines(&self) -> bool {
        let moves = self.phase_bound > 0.0 || self.radius_bound > 0.0;
        moves && self.score_weight > 0.0 && self.refiner_steps > 0
    }
}
