use std::f64::consts::PI;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::fused::rotary;
use crate::{Error, Result};

/// How rotary frequencies are changed for sequences longer than those of the first training, with the field names of
/// Hugging Face's `rope_scaling`.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::language::{LanguageModel, LlamaConfig, RopeScaling};
/// let config = LlamaConfig::new(256, 64, 128, 2, 4)
///     .with_rope_scaling(Some(RopeScaling::Linear { factor: 4.0 }))
///     .with_max_position_embeddings(8192);
/// assert_eq!(config.init(&Device::default()).unwrap().max_positions(), 8192);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// All positions are divided by the factor (arXiv 2306.15595).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Low frequencies are divided by the factor, high ones are kept, those between are interpolated: LLaMA 3.1 and
    /// later (arXiv 2407.21783).
    Llama3 {
        /// The factor.
        factor: f64,
        /// Frequencies of wavelengths above `original_max_position_embeddings / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Frequencies of wavelengths below `original_max_position_embeddings / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The longest sequence of the first training.
        original_max_position_embeddings: usize,
    },
    /// Each frequency is divided by a factor of its own, as in GGUF files of LLaMA 3.1.
    Factors {
        /// A factor for each pair of coordinates.
        factors: Vec<f64>,
    },
}

/// The angle by which each pair of coordinates of a head is rotated from one position to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RotaryFrequencies {
    theta: f64,
    scaling: Option<RopeScaling>,
    frequencies: Vec<f64>,
}

impl RotaryFrequencies {
    /// `theta^(-2 i / head_dim)`, scaled.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for scaling that is not finite and above zero, or whose numbers do not fit together.
    pub(super) fn new(head_dim: usize, theta: f64, scaling: Option<RopeScaling>) -> Result<Self> {
        let half = head_dim / 2;
        let refuse = |detail: String| Err(Error::config("rope_scaling", detail));
        let plain = (0..half).map(|i| theta.powf(-((2 * i) as f64) / head_dim as f64));
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let frequencies: Vec<f64> = match &scaling {
            None => plain.collect(),
            Some(RopeScaling::Linear { factor }) if positive(*factor) => plain.map(|f| f / factor).collect(),
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            }) if positive(*factor) && positive(*low) && high > low && high.is_finite() && *original > 0 => {
                let blended = |frequency: f64| {
                    // The number of full turns within the first training's longest sequence.
                    let turns = *original as f64 * frequency / (2.0 * PI);
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    frequency * (kept + (1.0 - kept) / factor)
                };
                plain.map(blended).collect()
            }
            Some(RopeScaling::Factors { factors }) if factors.iter().all(|factor| positive(*factor)) => {
                if factors.len() != half {
                    return refuse(format!(
                        "expected {half} factors for heads of {head_dim}, found {}",
                        factors.len()
                    ));
                }
                plain.zip(factors).map(|(frequency, factor)| frequency / factor).collect()
            }
            Some(other) => {
                return refuse(format!(
                    "expected factors above 0, and low_freq_factor below high_freq_factor; found {other:?}"
                ));
            }
        };
        Ok(Self { theta, scaling, frequencies })
    }

    /// The angles at a position.
    pub(super) fn angles(&self, position: usize) -> impl Iterator<Item = f64> {
        self.frequencies.iter().map(move |frequency| position as f64 * frequency)
    }

    /// The base of the frequencies.
    pub(super) fn theta(&self) -> f64 {
        self.theta
    }

    /// How they are scaled.
    pub(super) fn scaling(&self) -> Option<&RopeScaling> {
        self.scaling.as_ref()
    }
}

/// Rotary position embedding in the rotate-half layout of Hugging Face's LLaMA models: coordinate `i` of a head
/// is rotated together with coordinate `i + head_dim / 2`.
///
/// Source: RoFormer (arXiv 2104.09864, Sec. 3.2); the layout is that of the published LLaMA checkpoints.
#[derive(Clone, Debug)]
pub(super) struct RotaryAngles {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryAngles {
    /// The angles of `len` positions from `start` on, for each sequence with other `padding` before its beginning, which is
    /// its position 0; for all sequences together where there is none.
    ///
    /// They are computed in float64 and rounded once to `dtype`.
    pub(super) fn new(
        start: usize,
        len: usize,
        padding: &[usize],
        frequencies: &RotaryFrequencies,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let half = frequencies.frequencies.len();
        let paddings = if padding.is_empty() { &[0][..] } else { padding };
        let positions = paddings
            .iter()
            .flat_map(|padding| (start..start + len).map(move |position| position.saturating_sub(*padding)));
        let angles = positions.flat_map(|position| {
            frequencies.frequencies.iter().map(move |frequency| position as f64 * frequency)
        });
        let table = |values: Vec<f64>| {
            Tensor::from_data(
                TensorData::new(values, [paddings.len(), 1, len, half]).convert_dtype(dtype),
                (device, dtype),
            )
        };
        Self {
            cos: table(angles.clone().map(f64::cos).collect()),
            sin: table(angles.map(f64::sin).collect()),
        }
    }

    /// Those of the last `len` positions.
    pub(super) fn last(&self, len: usize) -> Self {
        let [_, _, all, _] = self.cos.dims();
        let part = |table: &Tensor<4>| match len == all {
            true => table.clone(),
            false => table.clone().narrow(2, all - len, len),
        };
        Self { cos: part(&self.cos), sin: part(&self.sin) }
    }

    /// Rotates the heads of queries or keys, `[batch, len, heads, head_dim]`, by their positions: `[batch, heads, len, head_dim]`.
    pub(super) fn rotate(&self, heads: Tensor<4>) -> Tensor<4> {
        rotary(heads, self.cos.clone(), self.sin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{assert_abs_diff_eq, assert_abs_diff_ne};
    use burn::tensor::{Distribution, Tolerance};

    fn angles(start: usize, len: usize) -> RotaryAngles {
        let frequencies = RotaryFrequencies::new(8, 10_000.0, None).unwrap();
        RotaryAngles::new(start, len, &[], &frequencies, DType::F32, &Device::default())
    }

    fn heads(len: usize) -> Tensor<4> {
        Tensor::random([1, len, 2, 8], Distribution::Normal(0.0, 1.0), &Device::default())
    }

    #[test]
    fn a_rotation_keeps_lengths() {
        let x = heads(5);
        let norm = |x: Tensor<4>| (x.clone() * x).sum_dim(3);
        let rotated = norm(angles(3, 5).rotate(x.clone()).swap_dims(1, 2)).into_data();
        rotated.assert_approx_eq::<f32>(&norm(x).into_data(), Tolerance::absolute(1e-5));
    }

    #[test]
    fn scores_depend_on_the_distance_between_positions_only() {
        let (query, key) = (heads(1), heads(1));
        let scores = |q: usize, k: usize| {
            let products = angles(q, 1).rotate(query.clone()) * angles(k, 1).rotate(key.clone());
            products.sum_dim(3).into_data().try_into_vec::<f32>().unwrap()
        };
        assert_abs_diff_eq!(scores(7, 3)[..], scores(104, 100)[..], epsilon = 1e-4);
        assert_abs_diff_ne!(scores(7, 3)[..], scores(8, 3)[..], epsilon = 1e-3);
    }

    #[test]
    fn a_coordinate_is_rotated_with_its_partner_in_the_other_half() {
        let mut unit = [0.0f32; 8];
        unit[1] = 1.0;
        let x = Tensor::<1>::from_floats(unit, &Device::default()).reshape([1, 1, 1, 8]);
        let rotated = angles(2, 1).rotate(x).into_data().try_to_vec::<f32>().unwrap();
        let angle = 2.0 * 10_000f64.powf(-2.0 / 8.0);
        assert_abs_diff_eq!(rotated[1] as f64, angle.cos(), epsilon = 1e-6);
        assert_abs_diff_eq!(rotated[5] as f64, angle.sin(), epsilon = 1e-6);
    }

    fn llama3(factor: f64) -> RopeScaling {
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        }
    }

    #[test]
    fn llama_3_keeps_short_wavelengths_and_stretches_long_ones() {
        let plain = RotaryFrequencies::new(128, 5e5, None).unwrap().frequencies;
        let scaled = RotaryFrequencies::new(128, 5e5, Some(llama3(8.0))).unwrap().frequencies;
        for (plain, scaled) in plain.iter().zip(&scaled) {
            let wave = 2.0 * PI / plain;
            let ratio = plain / scaled;
            match wave {
                wave if wave < 8192.0 / 4.0 => assert_eq!(ratio, 1.0),
                wave if wave > 8192.0 => assert_abs_diff_eq!(ratio, 8.0, epsilon = 1e-12),
                _ => assert!((1.0..=8.0).contains(&ratio)),
            }
        }
        assert_eq!(RotaryFrequencies::new(128, 5e5, Some(llama3(1.0))).unwrap().frequencies, plain);
    }

    #[test]
    fn impossible_scaling_is_refused() {
        let factors = |factors: Vec<f64>| RopeScaling::Factors { factors };
        for scaling in [
            RopeScaling::Linear { factor: 0.0 },
            llama3(f64::NAN),
            factors(vec![1.0; 3]),
            factors(vec![1.0, 1.0, 0.0, 1.0]),
        ] {
            let error = RotaryFrequencies::new(8, 1e4, Some(scaling)).unwrap_err();
            assert!(error.to_string().contains("rope_scaling"), "{error}");
        }
    }
}
