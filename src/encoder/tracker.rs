//! The gap of a dual encoder, measured while it is trained.

use burn::config::Config;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::gradients::info_nce_gradients;
use super::{DualEncoder, PairDataset};
use crate::geometry::{
    Cloud, FixedFrame, FrameRank, GapDecomposition, ResidualGeometry, Spectrum, difference, dot, norm,
    pearson,
};
use crate::{Error, Result};

/// Configuration of a [`GapTracker`].
#[derive(Config, Debug)]
pub struct GapTrackerConfig {
    /// The number of steps between two measurements. Default: 20, as in arXiv 2602.07026, App. H.1.
    #[config(default = 20)]
    pub every: usize,
    /// The reference time `t0`: up to this step the frame is that of the current embeddings, afterwards it is fixed.
    /// Default: 800, as in arXiv 2602.07026, App. H.1.
    #[config(default = 800)]
    pub freeze_at: usize,
    /// The share of the trace at `t0` within the frame; the subspaces of later steps have the same dimension. The paper
    /// does not state its value. Default: 0.9.
    #[config(default = 0.9)]
    pub energy: f64,
    /// The batch size of the loss whose gradients are measured. Default: 128.
    #[config(default = 128)]
    pub batch_size: usize,
    /// The maximum number of batches whose gradients are measured. Default: 16, as in arXiv 2602.07026, App. H.1.
    #[config(default = 16)]
    pub batches: usize,
}

/// The gap of a dual encoder at one step of its training, on held-out probe pairs (arXiv 2602.07026, Sec. 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapRecord {
    /// The number of optimizer steps.
    pub step: usize,
    /// `||m||`, `m = mu_x - mu_y`.
    pub gap: f64,
    /// `||beta|| = ||P_U m||`.
    pub beta: f64,
    /// `||gamma|| = ||P_V m||`.
    pub gamma: f64,
    /// The dimension of the frame.
    pub rank: usize,
    /// `sin theta(U_t, U)`: the rotation of the current subspace out of the frame; `None` up to `t0`.
    pub sin_theta: Option<f64>,
    /// `leak_ref = sqrt(E||P_V g||^2 / E||g||^2)` over the gradients of the loss with respect to the embeddings of both
    /// modalities.
    pub leakage: f64,
    /// `||gamma(t) - gamma(t0)|| / ||gamma(t0)||`; `None` up to `t0` or if `gamma(t0)` is zero.
    pub drift: Option<f64>,
    /// `cos(gamma(t), gamma(t - 1))` with the previous measurement, in one frame; `None` up to `t0`.
    pub gamma_cosine: Option<f64>,
    /// `rho_eig`, the correlation of the sorted eigenvalues of `Cov(delta)` and of the covariance of gradients within
    /// `U`; `None` if one of the spectra is flat or the frame has fewer than three dimensions.
    pub spectral_locking: Option<f64>,
    /// The condition number of `Cov(delta)` over its eigenvalues above rounding.
    pub kappa_u: f64,
    /// The anisotropy `A_r` of the residual.
    pub anisotropy: f64,
    /// The mean cosine of pairs.
    pub paired_cosine: f64,
}

/// Measures the gap of a dual encoder while it is trained.
///
/// Pass it to [`DualEncoderTraining::fit_tracked`](super::DualEncoderTraining::fit_tracked); a training loop of your own
/// calls [`GapTracker::observe`].
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::encoder::{
///     DualEncoderConfig, GapTrackerConfig, ImageTowerConfig, Pair, PairDataset, TextTowerConfig,
/// };
///
/// # fn main() -> burn_revision::Result<()> {
/// let pair = |n: u32| Pair { pixels: (0..3 * 64).map(|i| ((i + n) % 7) as f32).collect(), tokens: vec![n, n + 1] };
/// let probe = PairDataset::new((0..16).map(pair).collect(), [3, 8, 8])?;
/// let image = ImageTowerConfig::new(vec![16, 16], vec![2, 2], 4).with_image_size(8);
/// let text = TextTowerConfig::new(20, 4, 8, 1, 2, 4);
/// let encoder = DualEncoderConfig::new(image, text).init(&Device::default());
/// let mut tracker = GapTrackerConfig::new().init(probe)?;
/// let record = tracker.observe(0, &encoder)?;
/// assert!((record.beta.powi(2) + record.gamma.powi(2) - record.gap.powi(2)).abs() < 1e-9);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GapTracker {
    config: GapTrackerConfig,
    probe: Option<PairDataset>,
    frame: Option<FixedFrame>,
    reference: Vec<f64>,
    last: Vec<f64>,
    records: Vec<GapRecord>,
    failure: Option<String>,
}

impl GapTrackerConfig {
    /// Creates a tracker that measures on the given probe pairs.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a number of steps or batches of 0, a batch size below 2 or a share that is not in `(0, 1]`,
    /// [`Error::TooFewRows`] for fewer than two pairs.
    pub fn init(&self, probe: PairDataset) -> Result<GapTracker> {
        if probe.len() < 2 {
            let what = "probe pairs".to_string();
            return Err(Error::TooFewRows { what, needed: 2, actual: probe.len() });
        }
        Ok(GapTracker { probe: Some(probe), ..self.without_probe()? })
    }

    /// Creates a tracker for embeddings that are made elsewhere, see [`GapTracker::observe_embeddings`].
    ///
    /// # Errors
    ///
    /// [`Error::Config`] as for [`init`](Self::init).
    pub fn without_probe(&self) -> Result<GapTracker> {
        let key = |name: &str| format!("gap tracker, {name}");
        for (name, value, least) in
            [("every", self.every, 1), ("batch_size", self.batch_size, 2), ("batches", self.batches, 1)]
        {
            if value < least {
                return Err(Error::config(key(name), format!("needs at least {least}, found {value}")));
            }
        }
        if !(self.energy > 0.0 && self.energy <= 1.0) {
            let detail = format!("expected a share above 0 and up to 1, found {}", self.energy);
            return Err(Error::config(key("energy"), detail));
        }
        Ok(GapTracker {
            config: self.clone(),
            probe: None,
            frame: None,
            reference: Vec::new(),
            last: Vec::new(),
            records: Vec::new(),
            failure: None,
        })
    }
}

impl GapTracker {
    /// The measurements so far.
    pub fn records(&self) -> &[GapRecord] {
        &self.records
    }

    /// The error of the measurement that ended the tracking, if one failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Ends the tracking after a failed measurement.
    pub(super) fn fail(&mut self, step: usize, error: &Error) {
        self.failure = Some(format!("step {step}: {error}"));
    }

    /// The frame, if it is fixed already.
    pub fn frame(&self) -> Option<&FixedFrame> {
        self.frame.as_ref()
    }

    /// Whether to measure at a step.
    pub fn is_due(&self, step: usize) -> bool {
        self.failure.is_none() && step.is_multiple_of(self.config.every)
    }

    /// The probe pairs.
    pub(super) fn probe(&self) -> Option<&PairDataset> {
        self.probe.as_ref()
    }

    /// Measures an encoder after `step` optimizer steps. Call it in the order of the steps.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] or [`Error::ZeroRow`] for embeddings that cannot be normalised, [`Error::NoSpread`] if all
    /// embeddings are equal, [`Error::Config`] for a tracker without probe pairs.
    pub fn observe(&mut self, step: usize, encoder: &DualEncoder) -> Result<&GapRecord> {
        let Some(probe) = &self.probe else {
            return Err(Error::config("gap tracker", "it has no probe pairs to embed"));
        };
        let (image, text) = encoder.embed_pairs(probe, self.config.batch_size);
        let scale: f32 = encoder.logit_scale().into_scalar();
        self.observe_embeddings(step, image, text, f64::from(scale))
    }

    /// Measures embeddings of pairs that were held out, after `step` optimizer steps; `scale` is that of the logits.
    ///
    /// # Shapes
    ///
    /// - image, text: `[n, dim]`; rows belong together
    ///
    /// # Errors
    ///
    /// Those of [`observe`](Self::observe), and [`Error::TooFewRows`] for fewer than two pairs.
    pub fn observe_embeddings(
        &mut self,
        step: usize,
        image: Tensor<2>,
        text: Tensor<2>,
        scale: f64,
    ) -> Result<&GapRecord> {
        let [count, _] = image.dims();
        if count < 2 {
            let what = "probe pairs".to_string();
            return Err(Error::TooFewRows { what, needed: 2, actual: count });
        }
        let cloud = |rows: Tensor<2>, what: &str| {
            let dim = rows.dims()[1];
            let values = rows.into_data().try_into_vec_as::<f64>().expect("a float type converts to f64");
            Cloud::new(values, dim)?.into_unit(what)
        };
        let (image, text) = (cloud(image, "probe images")?, cloud(text, "probe texts")?);
        self.measure(step, &image, &text, scale)
    }

    /// Measures the embeddings of the probe pairs.
    fn measure(&mut self, step: usize, image: &Cloud, text: &Cloud, scale: f64) -> Result<&GapRecord> {
        let current = self.current_frame(image, text)?;
        let frame = self.frame.as_ref().unwrap_or(&current);
        let parts = GapDecomposition::new(frame, image, text)?;
        let delta = parts.delta_spectrum()?;
        let (residual, _) = ResidualGeometry::measure(image, text)?;
        let gradients = self.gradients(image, text, scale);
        let (leakage, locking) = leakage(frame, &gradients, &delta)?;
        let cosines: f64 = image.values().iter().zip(text.values()).map(|(x, y)| x * y).sum();
        let is_fixed = self.frame.is_some();
        let (gamma, reference) = (parts.gamma(), &self.reference);
        let record = GapRecord {
            step,
            gap: residual.gap_energy.sqrt(),
            beta: norm(parts.beta()),
            gamma: norm(gamma),
            rank: frame.rank(),
            sin_theta: if is_fixed { Some(frame.sin_theta(&current)?) } else { None },
            leakage,
            drift: match is_fixed && norm(reference) > 0.0 {
                true => Some(norm(&difference(gamma, reference)) / norm(reference)),
                false => None,
            },
            gamma_cosine: is_fixed.then(|| cosine(gamma, &self.last)).flatten(),
            spectral_locking: locking,
            kappa_u: delta.condition_number(delta.rank()),
            anisotropy: residual.anisotropy,
            paired_cosine: cosines / image.len() as f64,
        };
        self.last = gamma.to_vec();
        if !is_fixed && step >= self.config.freeze_at {
            self.reference = gamma.to_vec();
            self.frame = Some(current);
        }
        self.records.push(record);
        Ok(self.records.last().expect("one was just added"))
    }

    /// The frame of the current embeddings, of the dimension of the fixed frame or, after a collapse, of their rank.
    fn current_frame(&self, image: &Cloud, text: &Cloud) -> Result<FixedFrame> {
        let sum: Vec<f64> = image.covariance().iter().zip(text.covariance()).map(|(x, y)| x + y).collect();
        let spectrum = Spectrum::of(&sum, image.dim(), image.len())?;
        if spectrum.rank() == 0 {
            return Err(Error::NoSpread { what: "probe embeddings".to_string() });
        }
        let rank = match &self.frame {
            Some(frame) => FrameRank::Rank(frame.rank().min(spectrum.rank())),
            None => FrameRank::Energy(self.config.energy),
        };
        FixedFrame::of_spectrum(&spectrum, rank)
    }

    /// The gradients of the loss with respect to the embeddings, of both modalities, batch by batch.
    fn gradients(&self, image: &Cloud, text: &Cloud, scale: f64) -> Vec<Cloud> {
        let rows: Vec<usize> = (0..image.len()).collect();
        // A single pair has no negatives and no gradient.
        let batches = rows.chunks(self.config.batch_size).filter(|batch| batch.len() > 1);
        batches
            .take(self.config.batches)
            .flat_map(|batch| {
                let (image, text) = info_nce_gradients(&image.select(batch), &text.select(batch), scale);
                [image, text]
            })
            .collect()
    }
}

/// The leakage of gradients into `V`, and the correlation of their spectrum within `U` with that of `delta`.
fn leakage(frame: &FixedFrame, gradients: &[Cloud], delta: &Spectrum) -> Result<(f64, Option<f64>)> {
    let values: Vec<f64> = gradients.iter().flat_map(|cloud| cloud.values()).copied().collect();
    let all = Cloud::new(values, frame.dim())?;
    let energy = all.energy();
    let leakage = if energy > 0.0 { (frame.project_v(&all).energy() / energy).sqrt() } else { 0.0 };
    let within = Cloud::new(frame.coordinates(&all), frame.rank())?;
    if frame.rank() < 3 || all.is_empty() {
        return Ok((leakage, None));
    }
    let spectrum = Spectrum::values_of(&within.covariance(), frame.rank(), within.len())?;
    Ok((leakage, pearson(delta.eigenvalues(), spectrum.eigenvalues())))
}

fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    let norms = norm(a) * norm(b);
    (norms > 0.0).then(|| dot(a, b) / norms)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::*;
    use crate::encoder::Pair;
    use crate::encoder::testing::unit_cloud;

    fn probe() -> PairDataset {
        let pair = |_| Pair { pixels: vec![0.5], tokens: vec![1] };
        PairDataset::new((0..9).map(pair).collect(), [1, 1, 1]).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gradients_of_a_frame_that_holds_both_modalities_do_not_leak(seed: u64) {
            let (dim, rank) = (12, 5);
            let inside = |seed| {
                let rows = unit_cloud(40, rank, seed);
                let values = rows.rows().flat_map(|row| row.iter().copied().chain([0.0; 7])).collect();
                Cloud::new(values, dim).unwrap()
            };
            let (image, text) = (inside(seed), inside(!seed));
            let mut tracker =
                GapTrackerConfig::new().with_energy(1.0).with_freeze_at(0).init(probe()).unwrap();
            let record = tracker.measure(0, &image, &text, 10.0).unwrap();
            prop_assert!(record.leakage < 1e-12 && record.gamma < 1e-12, "{record:?}");
            prop_assert_eq!(record.rank, rank);
        }
    }

    #[test]
    fn the_frame_moves_until_it_is_fixed_and_drift_is_measured_from_there() {
        let (image, text) = (unit_cloud(60, 8, 1), unit_cloud(60, 8, 2));
        let config = GapTrackerConfig::new().with_freeze_at(20).with_energy(0.7).with_batch_size(30);
        let mut tracker = config.init(probe()).unwrap();
        let turned = |by: f64| {
            let turn = |rows: &Cloud| {
                let turned = rows.rows().flat_map(|row| {
                    let mut row = row.to_vec();
                    (row[0], row[7]) =
                        (by.cos() * row[0] - by.sin() * row[7], by.sin() * row[0] + by.cos() * row[7]);
                    row
                });
                Cloud::new(turned.collect(), 8).unwrap()
            };
            (turn(&image), turn(&text))
        };
        for (step, by) in [(0, 0.0), (20, 0.3), (40, 0.3), (60, 0.5)] {
            let (image, text) = turned(by);
            tracker.measure(step, &image, &text, 20.0).unwrap();
        }
        let [first, fixed, same, later] = tracker.records() else { panic!("four were measured") };
        assert_eq!((first.sin_theta, first.drift, fixed.drift), (None, None, None));
        assert!(same.sin_theta.unwrap() < 1e-7 && same.drift.unwrap() < 1e-12, "{same:?}");
        assert_abs_diff_eq!(same.gamma_cosine.unwrap(), 1.0, epsilon = 1e-12);
        assert!(later.sin_theta.unwrap() > 1e-3 && later.drift.unwrap() > 1e-3, "{later:?}");
        // A rotation changes no distance.
        assert!(later.gap > 0.0);
        assert_abs_diff_eq!(first.gap, later.gap, epsilon = 1e-12);
        for record in tracker.records() {
            let squares = record.beta.powi(2) + record.gamma.powi(2);
            assert_abs_diff_eq!(squares, record.gap.powi(2), epsilon = 1e-12);
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for config in [
            GapTrackerConfig::new().with_every(0),
            GapTrackerConfig::new().with_batch_size(1),
            GapTrackerConfig::new().with_batches(0),
            GapTrackerConfig::new().with_energy(0.0),
        ] {
            assert!(matches!(config.init(probe()), Err(Error::Config { .. })));
        }
        let one = PairDataset::new(probe().pairs()[..1].to_vec(), [1, 1, 1]).unwrap();
        assert!(matches!(GapTrackerConfig::new().init(one), Err(Error::TooFewRows { .. })));
    }
}
