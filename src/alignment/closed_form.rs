use rand_distr::{Distribution, StandardNormal};

use crate::embedding::kernel::Lane;
use crate::embedding::{Loaded, MIN_NORM};
use crate::random::seeded_rng;

/// A map of rows that is one scaling, one shift, and then any number of projections onto the sphere with a shift
/// after each; every method whose statistics are vectors has this form.
///
/// ```text
/// z_0     = s unit(x) + b
/// z_{p+1} = unit(z_p) + c_p
/// out     = unit(z_P + noise)
/// ```
///
/// | method | s | b | c_p |
/// |---|---|---|---|
/// | identity | 1 | 0 | |
/// | mean shift, C3 | 1 | `mu_x - mu_y` | |
/// | ReAlign | s | `mu_x - s mu_y` | `mu_x - E e'`, once for each centroid pass |
///
/// A row's image is a combination of the row, `b` and the `c_p`, so its norm follows from dot products with them: one
/// sweep over the row for those and one for the combination are the whole work.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedForm {
    scale: f64,
    /// `b`, then the `c_p`.
    vectors: Vec<Vec<f64>>,
    /// Their dot products with each other, row-major.
    gram: Vec<f64>,
    noise: f64,
}

/// Below this share of the squares that make it up, a squared norm has lost too many digits to cancellation.
const CANCELLED: f64 = 1e-6;

impl ClosedForm {
    /// `s unit(x) + b`, then a projection and a shift for each of `steps`, then noise of standard deviation `noise`.
    ///
    /// # Panics
    ///
    /// If the vectors differ in length or are empty.
    pub fn new(scale: f64, shift: Vec<f64>, steps: Vec<Vec<f64>>, noise: f64) -> Self {
        let dim = shift.len();
        assert!(dim > 0, "closed form: expected at least 1 dimension, found 0");
        let vectors: Vec<Vec<f64>> = std::iter::once(shift).chain(steps).collect();
        for vector in &vectors {
            assert_eq!(vector.len(), dim, "closed form: dimensions of the shifts");
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
        let gram = vectors.iter().flat_map(|a| vectors.iter().map(move |b| dot(a, b))).collect();
        Self { scale, vectors, gram, noise }
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.vectors[0].len()
    }

    /// The standard deviation of the noise, for each coordinate.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// The same map with noise of standard deviation `noise`.
    pub fn with_noise(self, noise: f64) -> Self {
        Self { noise, ..self }
    }

    /// The shifts, as many as there are: `b`, then the `c_p`.
    pub(super) fn vectors(&self) -> &[Vec<f64>] {
        &self.vectors
    }

    /// How the unit row that becomes of `x` is combined: `alpha x + sum_k beta_k vector_k`. Nothing where a norm
    /// cancels: such rows are computed coordinate by coordinate.
    #[inline(always)]
    pub(super) fn coefficients<const K: usize>(&self, row: &Loaded<K>) -> Option<(f64, [f64; K])> {
        let mut alpha = self.scale * row.inverse_norm;
        let mut beta = [0.0; K];
        for step in 0..K {
            beta[step] = 1.0;
            let own = alpha * alpha * row.square;
            let (mut squares, mut crossed) = (own, 0.0);
            for i in 0..=step {
                squares += beta[i] * beta[i] * self.gram[i * K + i];
                crossed += alpha * beta[i] * row.products[i];
                for j in 0..i {
                    crossed += beta[i] * beta[j] * self.gram[i * K + j];
                }
            }
            let square = squares + 2.0 * crossed;
            // Also false for NaN.
            if !(square > CANCELLED * squares && square >= MIN_NORM * MIN_NORM) {
                return None;
            }
            let factor = 1.0 / square.sqrt();
            alpha *= factor;
            for beta in &mut beta {
                *beta *= factor;
            }
        }
        Some((alpha, beta))
    }

    /// What becomes of a row, coordinate by coordinate; `noise` is the seed and the number of the row.
    #[cold]
    #[inline(never)]
    pub(super) fn explicit<T: Lane>(
        &self,
        row: &[T],
        inverse_norm: f64,
        noise: Option<(u64, u64)>,
        out: &mut [f64],
    ) {
        let (shift, steps) = self.vectors.split_first().expect("there is a shift");
        for ((out, &value), shift) in out.iter_mut().zip(row).zip(shift) {
            *out = self.scale * (value.into() * inverse_norm) + shift;
        }
        for step in steps {
            unit(out);
            out.iter_mut().zip(step).for_each(|(out, step)| *out += step);
        }
        if let Some((seed, number)) = noise {
            let mut rng = seeded_rng(seed, &[number]);
            for out in out.iter_mut() {
                let normal: f64 = StandardNormal.sample(&mut rng);
                // As the noise of tensors, which is float32.
                *out += f64::from((self.noise * normal) as f32);
            }
        }
        unit(out);
    }
}

/// Scales a row to unit length, where it has a direction.
fn unit(row: &mut [f64]) {
    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm >= MIN_NORM {
        row.iter_mut().for_each(|value| *value /= norm);
    }
}
