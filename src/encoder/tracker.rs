use burn::config::Config;
use serde::{Deserialize, Serialize};

use super::{DualEncoder, PairDataset};
use crate::geometry::{
    Cloud, FixedFrame, FrameRank, GapDecomposition, ResidualGeometry, Spectrum, difference, dot, linalg,
    norm, pearson,
};
use crate::{Error, Result};

/// What a [`GapTracker`] measures, and when.
#[derive(Config, Debug)]
pub struct GapTrackerConfig {
    /// The steps between two measurements. Default: 20, as in arXiv 2602.07026, App. H.1.
    #[config(default = 20)]
    pub every: usize,
    /// The reference time `t0`: until this step the frame is that of the moment, from it on it is fixed. Default: 800, as
    /// in arXiv 2602.07026, App. H.1.
    #[config(default = 800)]
    pub freeze_at: usize,
    /// The share of the energy at `t0` that the frame holds; the subspaces of all other steps have as many dimensions.
    /// The paper does not state its own. Default: 0.9.
    #[config(default = 0.9)]
    pub energy: f64,
    /// Probe pairs that compete in a batch when gradients are measured. Default: 128.
    #[config(default = 128)]
    pub batch_size: usize,
    /// Batches whose gradients are gathered. Default: 16, as in arXiv 2602.07026, App. H.1.
    #[config(default = 16)]
    pub batches: usize,
}

/// The gap of a dual encoder at one step of its training, on a probe set that it is not trained on (arXiv 2602.07026,
/// Sec. 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapRecord {
    /// Optimizer steps so far.
    pub step: usize,
    /// `||m||`, `m = mu_x - mu_y`.
    pub gap: f64,
    /// `||beta|| = ||P_U m||`.
    pub beta: f64,
    /// `||gamma|| = ||P_V m||`.
    pub gamma: f64,
    /// The dimensions of the frame.
    pub rank: usize,
    /// `sin theta(U_t, U)`: how far the subspace of the moment has turned out of the frame; nothing up to `t0`.
    pub sin_theta: Option<f64>,
    /// `leak_ref = sqrt(E||P_V g||^2 / E||g||^2)` over the gradients of the loss with respect to the embeddings of both
    /// modalities.
    pub leakage: f64,
    /// `||gamma(t) - gamma(t0)|| / ||gamma(t0)||`; nothing before `t0` or where `gamma(t0)` is zero.
    pub drift: Option<f64>,
    /// `cos(gamma(t), gamma(t - 1))` to the measurement before, in one frame; nothing up to `t0`.
    pub gamma_cosine: Option<f64>,
    /// `rho_eig`, the correlation of the sorted eigenvalues of `Cov(delta)` and of the covariance of gradients within
    /// `U`; nothing where one of them is flat or there are fewer than three.
    pub spectral_locking: Option<f64>,
    /// The condition number of `Cov(delta)` over its eigenvalues above rounding.
    pub kappa_u: f64,
    /// `A_r` of the residual.
    pub anisotropy: f64,
    /// The mean cosine of pairs.
    pub paired_cosine: f64,
}

/// Follows the gap of a dual encoder while it is trained.
///
/// [`DualEncoderTraining::fit_tracked`](super::DualEncoderTraining::fit_tracked) feeds it; other trainings call
/// [`GapTracker::observe`] themselves.
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
    probe: PairDataset,
    frame: Option<FixedFrame>,
    reference: Vec<f64>,
    last: Vec<f64>,
    records: Vec<GapRecord>,
    failure: Option<String>,
}

impl GapTrackerConfig {
    /// A tracker on these pairs.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a cadence or a batch of 0 or a share that is not in `(0, 1]`, [`Error::TooFewRows`] for fewer
    /// than two pairs.
    pub fn init(&self, probe: PairDataset) -> Result<GapTracker> {
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
        if probe.len() < 2 {
            let what = "probe pairs".to_string();
            return Err(Error::TooFewRows { what, needed: 2, actual: probe.len() });
        }
        Ok(GapTracker {
            config: self.clone(),
            probe,
            frame: None,
            reference: Vec::new(),
            last: Vec::new(),
            records: Vec::new(),
            failure: None,
        })
    }
}

impl GapTracker {
    /// What was measured so far.
    pub fn records(&self) -> &[GapRecord] {
        &self.records
    }

    /// Why nothing was measured from some step of a training on; nothing where all went well.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Gives up after a measurement that failed.
    pub(super) fn fail(&mut self, step: usize, error: &Error) {
        self.failure = Some(format!("step {step}: {error}"));
    }

    /// The frame, once it is fixed.
    pub fn frame(&self) -> Option<&FixedFrame> {
        self.frame.as_ref()
    }

    /// Whether a step is to be measured.
    pub fn is_due(&self, step: usize) -> bool {
        self.failure.is_none() && step.is_multiple_of(self.config.every)
    }

    /// The pairs that it measures on.
    pub(super) fn probe(&self) -> &PairDataset {
        &self.probe
    }

    /// Measures an encoder after so many steps. Steps must come in order.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] or [`Error::ZeroRow`] for embeddings without direction, [`Error::NoSpread`] where all of them
    /// are alike.
    pub fn observe(&mut self, step: usize, encoder: &DualEncoder) -> Result<&GapRecord> {
        let (image, text) = encoder.embed_pairs(&self.probe, self.config.batch_size);
        let cloud = |rows: burn::tensor::Tensor<2>, what: &str| {
            let dim = rows.dims()[1];
            let values = rows.into_data().try_into_vec_as::<f64>().expect("a float type converts to f64");
            Cloud::new(values, dim)?.into_unit(what)
        };
        let (image, text) = (cloud(image, "probe images")?, cloud(text, "probe texts")?);
        let scale: f32 = encoder.logit_scale().into_scalar();
        self.measure(step, &image, &text, f64::from(scale))
    }

    /// As [`GapTracker::observe`], from the embeddings of the probe pairs.
    fn measure(&mut self, step: usize, image: &Cloud, text: &Cloud, scale: f64) -> Result<&GapRecord> {
        let moment = self.moment(image, text)?;
        let frame = self.frame.as_ref().unwrap_or(&moment);
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
            sin_theta: if is_fixed { Some(frame.sin_theta(&moment)?) } else { None },
            leakage,
            drift: match is_fixed && norm(reference) > 0.0 {
                true => Some(norm(&difference(gamma, reference)) / norm(reference)),
                false => None,
            },
            gamma_cosine: is_fixed.then(|| cosine(gamma, &self.last)).flatten(),
            spectral_locking: locking,
            kappa_u: delta.condition(frame.rank()).retained,
            anisotropy: residual.anisotropy,
            paired_cosine: cosines / image.len() as f64,
        };
        self.last = gamma.to_vec();
        if !is_fixed && step >= self.config.freeze_at {
            self.reference = gamma.to_vec();
            self.frame = Some(moment);
        }
        self.records.push(record);
        Ok(self.records.last().expect("one was just added"))
    }

    /// The subspace of the moment, in as many dimensions as the frame, or as many as there are after a collapse.
    fn moment(&self, image: &Cloud, text: &Cloud) -> Result<FixedFrame> {
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
        // A pair alone has no rival and no gradient.
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

/// The gradients of the symmetric InfoNCE loss with respect to normalised embeddings, before the normalisation
/// (arXiv 2602.07026, Lemma B.6): `[n, d]` each, image `i` belonging to text `i`.
///
/// ```text
/// grad_x_i = scale / 2n (sum_j (p_ij + q_ij) y_j - 2 y_i)    p: softmax over texts, q: softmax over images, of scale x_i y_j
/// ```
///
/// Each lies in the span of the other modality's rows.
///
/// # Panics
///
/// If the shapes differ.
pub fn info_nce_gradients(image: &Cloud, text: &Cloud, scale: f64) -> (Cloud, Cloud) {
    assert_eq!(
        (image.len(), image.dim()),
        (text.len(), text.dim()),
        "InfoNCE gradients: shapes of the pairs"
    );
    let (n, dim) = (image.len(), image.dim());
    let logits = linalg::matmul_transposed_b(image.values(), [n, dim], text.values(), [n, dim]);
    let logits: Vec<f64> = logits.iter().map(|product| scale * product).collect();
    let mut weights = vec![0.0; n * n];
    add_softmax(&logits, n, |i, j| i * n + j, &mut weights);
    add_softmax(&logits, n, |j, i| i * n + j, &mut weights);
    weights.iter_mut().step_by(n + 1).for_each(|weight| *weight -= 2.0);
    weights.iter_mut().for_each(|weight| *weight *= scale / (2 * n) as f64);
    let of_image = linalg::matmul(&weights, [n, n], text.values(), [n, dim]);
    let of_text = linalg::matmul_transposed_a(&weights, [n, n], image.values(), [n, dim]);
    let cloud = |values| Cloud::new(values, dim).expect("gradients of finite rows are finite");
    (cloud(of_image), cloud(of_text))
}

/// Adds the softmax over the second index to `weights`, where `place` says where a pair of indexes stands.
fn add_softmax(logits: &[f64], n: usize, place: impl Fn(usize, usize) -> usize, weights: &mut [f64]) {
    for i in 0..n {
        let largest = (0..n).map(|j| logits[place(i, j)]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..n).map(|j| (logits[place(i, j)] - largest).exp()).sum();
        (0..n).for_each(|j| weights[place(i, j)] += (logits[place(i, j)] - largest).exp() / sum);
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
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;
    use crate::encoder::Pair;

    fn unit(n: usize, dim: usize, seed: u64) -> Cloud {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let values = (0..n * dim).map(|_| rng.random::<f64>() - 0.4).collect();
        Cloud::new(values, dim).unwrap().into_unit("rows").unwrap()
    }

    fn loss(image: &[f64], text: &[f64], n: usize, scale: f64) -> f64 {
        let dim = image.len() / n;
        let logit = |i: usize, j: usize| {
            scale * (0..dim).map(|k| image[i * dim + k] * text[j * dim + k]).sum::<f64>()
        };
        let side = |logit: &dyn Fn(usize, usize) -> f64| {
            (0..n).map(|i| (0..n).map(|j| logit(i, j).exp()).sum::<f64>().ln() - logit(i, i)).sum::<f64>()
        };
        (side(&logit) + side(&|i, j| logit(j, i))) / (2 * n) as f64
    }

    fn probe() -> PairDataset {
        let pair = |_| Pair { pixels: vec![0.5], tokens: vec![1] };
        PairDataset::new((0..9).map(pair).collect(), [1, 1, 1]).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gradients_are_finite_differences_of_the_loss_and_lie_in_the_span(
            n in 2_usize..7, dim in 8_usize..12, scale in 0.5..12.0_f64, seed: u64,
        ) {
            let (image, text) = (unit(n, dim, seed), unit(n, dim, !seed));
            let (of_image, of_text) = info_nce_gradients(&image, &text, scale);
            let step = 1e-5;
            for at in 0..n * dim {
                let moved = |rows: &Cloud, by: f64| {
                    let mut values = rows.values().to_vec();
                    values[at] += by;
                    values
                };
                let image_difference = loss(&moved(&image, step), text.values(), n, scale)
                    - loss(&moved(&image, -step), text.values(), n, scale);
                let text_difference = loss(image.values(), &moved(&text, step), n, scale)
                    - loss(image.values(), &moved(&text, -step), n, scale);
                prop_assert!((image_difference / (2.0 * step) - of_image.values()[at]).abs() < 1e-7);
                prop_assert!((text_difference / (2.0 * step) - of_text.values()[at]).abs() < 1e-7);
            }
            // The span of fewer rows than dimensions, by its own orthonormal basis.
            let span = Spectrum::of(&text.second_moment(), dim, n).unwrap();
            let span = FixedFrame::of_spectrum(&span, FrameRank::Rank(span.rank())).unwrap();
            prop_assert!(span.project_v(&of_image).energy() < 1e-24 * of_image.energy().max(1e-3));
        }

        #[test]
        fn gradients_of_a_frame_that_holds_both_modalities_do_not_leak(seed: u64) {
            let (dim, rank) = (12, 5);
            let inside = |seed| {
                let rows = unit(40, rank, seed);
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
        let (image, text) = (unit(60, 8, 1), unit(60, 8, 2));
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
        assert!((same.gamma_cosine.unwrap() - 1.0).abs() < 1e-12);
        assert!(later.sin_theta.unwrap() > 1e-3 && later.drift.unwrap() > 1e-3, "{later:?}");
        assert!(later.gap > 0.0 && (first.gap - later.gap).abs() < 1e-12, "a turn changes no distance");
        for record in tracker.records() {
            assert!((record.beta.powi(2) + record.gamma.powi(2) - record.gap.powi(2)).abs() < 1e-12);
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
