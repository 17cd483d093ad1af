use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::blocks::wrap;
use crate::Result;
use crate::alignment::record::{self, Stored};
use crate::geometry::linalg;

/// The periodic prior of the images' phases (arXiv 2605.07825, Sec. 4 and App. A): where each phase gathers, how blocks are
/// coupled, and the potential of both.
///
/// ```text
/// M_kl = E e^{i (theta_k - theta_l)},   A = |M|,   eta = arg M
/// psi_k = arg E e^{i theta_k},          alpha_k = E rho_k^2 / (sum_u E rho_u^2 + eps)
/// Psi(phi) = sum_k alpha_k (1 - cos(phi_k - psi_k)) + sum_{(k, l) in E} A_kl (1 - cos(phi_k - phi_l - eta_kl))
/// ```
///
/// `E` are the pairs of blocks of which one is among the `p` of the largest `A` of the other.
#[derive(Module, Debug)]
pub(super) struct PeriodicPrior {
    /// `psi`, `[m]`.
    centre: Param<Tensor<1>>,
    /// `alpha`, `[m]`.
    weight: Param<Tensor<1>>,
    /// `A cos eta` on the edges, else 0, `[m, m]`; symmetric.
    real: Param<Tensor<2>>,
    /// `A sin eta` on the edges, else 0, `[m, m]`; antisymmetric.
    imaginary: Param<Tensor<2>>,
    /// 1 on the edges, else 0, `[m, m]`.
    edges: Param<Tensor<2>>,
}

impl PeriodicPrior {
    /// The prior of radii and phases of the images, `[n, m]` each.
    pub fn fit(
        radius: &[f64],
        phase: &[f64],
        blocks: usize,
        neighbours: usize,
        eps: f64,
        device: &Device,
    ) -> Self {
        let n = phase.len() / blocks;
        let shape = [n, blocks];
        let (sine, cosine): (Vec<f64>, Vec<f64>) = phase.iter().map(|phase| phase.sin_cos()).unzip();
        let product = |a: &[f64], b: &[f64]| linalg::matmul_transposed_a(a, shape, b, shape);
        let add = |a: Vec<f64>, b: Vec<f64>, sign: f64| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| (a + sign * b) / n as f64).collect()
        };
        let mut real = add(product(&cosine, &cosine), product(&sine, &sine), 1.0);
        let mut imaginary = add(product(&sine, &cosine), product(&cosine, &sine), -1.0);

        let mut edges = vec![0.0; blocks * blocks];
        for k in 0..blocks {
            let strength = |l: &usize| real[k * blocks + l].hypot(imaginary[k * blocks + l]);
            let mut others: Vec<usize> = (0..blocks).filter(|&l| l != k).collect();
            others.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
            for &l in others.iter().take(neighbours) {
                (edges[k * blocks + l], edges[l * blocks + k]) = (1.0, 1.0);
            }
        }
        for ((real, imaginary), edge) in real.iter_mut().zip(&mut imaginary).zip(&edges) {
            *real *= edge;
            *imaginary *= edge;
        }
        let column = |values: &[f64], block: usize, f: fn(f64) -> f64| {
            values.iter().skip(block).step_by(blocks).map(|&value| f(value)).sum::<f64>() / n as f64
        };
        let centre = (0..blocks).map(|k| column(&sine, k, |v| v).atan2(column(&cosine, k, |v| v)) as f32);
        let energy: Vec<f64> = (0..blocks).map(|k| column(radius, k, |v| v * v)).collect();
        let total = energy.iter().sum::<f64>() + eps;
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let square = |values| record::constant(single(values), [blocks, blocks], device);
        Self {
            centre: record::constant(centre.collect(), [blocks], device),
            weight: record::constant(energy.iter().map(|e| (e / total) as f32).collect(), [blocks], device),
            real: square(real),
            imaginary: square(imaginary),
            edges: square(edges),
        }
    }

    /// `Psi` of phases `[n, m]`, `[n, 1]`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the training needs its gradient alone"))]
    pub fn potential(&self, phase: Tensor<2>) -> Tensor<2> {
        let dtype = phase.dtype();
        let centre: Tensor<2> = record::value(&self.centre, dtype).unsqueeze();
        let weight: Tensor<2> = record::value(&self.weight, dtype).unsqueeze();
        let single = (((phase.clone() - centre).cos() * -1.0 + 1.0) * weight).sum_dim(1);
        let (real, imaginary) = self.coupled(phase.clone());
        let agreement = (phase.clone().cos() * real + phase.sin() * imaginary).sum_dim(1) / 2.0;
        let strength = (record::value(&self.real, dtype).square()
            + record::value(&self.imaginary, dtype).square())
        .sqrt();
        single + strength.sum().unsqueeze::<2>() / 2.0 - agreement
    }

    /// `grad Psi` of phases `[n, m]` (Eq. 4):
    /// `alpha_k sin(phi_k - psi_k) + sum_l A_kl sin(phi_k - phi_l - eta_kl)`.
    pub fn gradient(&self, phase: Tensor<2>) -> Tensor<2> {
        let dtype = phase.dtype();
        let centre: Tensor<2> = record::value(&self.centre, dtype).unsqueeze();
        let weight: Tensor<2> = record::value(&self.weight, dtype).unsqueeze();
        let (real, imaginary) = self.coupled(phase.clone());
        (phase.clone() - centre).sin() * weight + phase.clone().sin() * real - phase.cos() * imaginary
    }

    /// `(M z)_k` for `z = e^{i phi}`, its real and its imaginary part: the sums over edges are products.
    fn coupled(&self, phase: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let dtype = phase.dtype();
        let (cosine, sine) = (phase.clone().cos(), phase.sin());
        let real = record::value(&self.real, dtype).transpose();
        let imaginary = record::value(&self.imaginary, dtype).transpose();
        (
            cosine.clone().matmul(real.clone()) - sine.clone().matmul(imaginary.clone()),
            sine.matmul(real) + cosine.matmul(imaginary),
        )
    }

    /// `wrap(phi - tau grad Psi(phi))` (Eq. 5).
    pub fn drifted(&self, phase: Tensor<2>, step: f64) -> Tensor<2> {
        wrap(phase.clone() - self.gradient(phase) * step)
    }

    /// `sum_E w_kl [1 - cos(delta_k - delta_l)]` with `w_kl ~ rho_k rho_l` of sum 1, for phases that have moved by `delta`
    /// and radii `rho`, `[n, m]` each; `[n, 1]` (Eq. 9, times the number of edges).
    pub fn phase_loss(&self, delta: Tensor<2>, radius: Tensor<2>, eps: f64) -> Tensor<2> {
        let edges = record::value(&self.edges, delta.dtype());
        let form = |a: Tensor<2>| (a.clone().matmul(edges.clone()) * a).sum_dim(1);
        let total = form(radius.clone()) + eps;
        let kept = form(radius.clone() * delta.clone().cos()) + form(radius * delta.sin());
        (kept / total) * -1.0 + 1.0
    }

    pub fn from_stored(stored: &mut Stored, blocks: usize, device: &Device) -> Result<Self> {
        Ok(Self {
            centre: stored.take_shaped("prior.centre", [blocks], device)?,
            weight: stored.take_shaped("prior.weight", [blocks], device)?,
            real: stored.take_shaped("prior.real", [blocks, blocks], device)?,
            imaginary: stored.take_shaped("prior.imaginary", [blocks, blocks], device)?,
            edges: stored.take_shaped("prior.edges", [blocks, blocks], device)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use burn::tensor::{DType, TensorData};
    use rand::RngExt;

    use super::*;
    use crate::random::seeded_rng;

    const BLOCKS: usize = 7;

    fn phases(n: usize, seed: u64) -> Vec<f64> {
        let mut rng = seeded_rng(seed, &[]);
        (0..n * BLOCKS).map(|_| 3.0 * (2.0 * rng.random::<f64>() - 1.0).powi(3)).collect()
    }

    fn prior(neighbours: usize) -> (PeriodicPrior, Vec<f64>) {
        let phase = phases(60, 1);
        let radius: Vec<f64> = phase.iter().map(|phase| 0.2 + phase.abs()).collect();
        (PeriodicPrior::fit(&radius, &phase, BLOCKS, neighbours, 1e-12, &Device::default()), phase)
    }

    fn tensor(values: &[f64]) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), [values.len() / BLOCKS, BLOCKS]);
        Tensor::from_data(data, (&Device::default(), DType::F64))
    }

    fn values(tensor: Tensor<2>) -> Vec<f64> {
        tensor.into_data().try_into_vec().unwrap()
    }

    /// Against the sum over the edges as it is printed.
    #[test]
    fn the_gradient_is_the_printed_sum_and_that_of_the_potential() {
        let (prior, sample) = prior(2);
        let n = sample.len() / BLOCKS;
        let moment = |k: usize, l: usize| {
            let (mut real, mut imaginary) = (0.0, 0.0);
            for row in sample.chunks_exact(BLOCKS) {
                let (sine, cosine) = (row[k] - row[l]).sin_cos();
                (real, imaginary) = (real + cosine / n as f64, imaginary + sine / n as f64);
            }
            (real.hypot(imaginary), imaginary.atan2(real))
        };
        let edges: Vec<f32> = record::host(&prior.edges);
        let (centre, weight) = (record::host(&prior.centre), record::host(&prior.weight));
        let at = phases(3, 9);
        let gradient = values(prior.gradient(tensor(&at)));
        for (row, phase) in at.chunks_exact(BLOCKS).enumerate() {
            for k in 0..BLOCKS {
                let mut expected = f64::from(weight[k]) * (phase[k] - f64::from(centre[k])).sin();
                for l in (0..BLOCKS).filter(|l| edges[k * BLOCKS + l] == 1.0) {
                    let (strength, angle) = moment(k, l);
                    expected += strength * (phase[k] - phase[l] - angle).sin();
                }
                // The statistics are rounded to float32.
                assert_abs_diff_eq!(gradient[row * BLOCKS + k], expected, epsilon = 1e-6);
                let h = 1e-5;
                let moved = |by: f64| {
                    let mut moved = at.clone();
                    moved[row * BLOCKS + k] += by;
                    values(prior.potential(tensor(&moved)))[row]
                };
                let numeric = (moved(h) - moved(-h)) / (2.0 * h);
                assert_abs_diff_eq!(gradient[row * BLOCKS + k], numeric, epsilon = 1e-8);
            }
        }
    }

    #[test]
    fn each_block_is_coupled_with_its_strongest_and_nothing_with_itself() {
        for neighbours in [1, 3, 20] {
            let edges: Vec<f32> = record::host(&prior(neighbours).0.edges);
            for k in 0..BLOCKS {
                let degree: f32 = edges[k * BLOCKS..][..BLOCKS].iter().sum();
                assert!(degree as usize >= neighbours.min(BLOCKS - 1));
                assert_eq!(edges[k * (BLOCKS + 1)], 0.0);
                assert!((0..BLOCKS).all(|l| edges[k * BLOCKS + l] == edges[l * BLOCKS + k]));
            }
        }
    }

    #[test]
    fn the_phase_loss_is_the_printed_sum_and_ignores_common_turns() {
        let (prior, _) = prior(2);
        let edges: Vec<f32> = record::host(&prior.edges);
        let (delta, radius) = (phases(2, 3), phases(2, 4).iter().map(|r| r.abs() + 0.1).collect::<Vec<_>>());
        let found = values(prior.phase_loss(tensor(&delta), tensor(&radius), 0.0));
        for row in 0..2 {
            let (mut sum, mut total) = (0.0, 0.0);
            for k in 0..BLOCKS {
                for l in (k + 1..BLOCKS).filter(|l| edges[k * BLOCKS + l] == 1.0) {
                    let at = |values: &[f64], block: usize| values[row * BLOCKS + block];
                    let weight = at(&radius, k) * at(&radius, l);
                    total += weight;
                    sum += weight * (1.0 - (at(&delta, k) - at(&delta, l)).cos());
                }
            }
            assert_abs_diff_eq!(found[row], sum / total, epsilon = 1e-10);
        }
        let turned = values(prior.phase_loss(tensor(&[0.7; BLOCKS]), tensor(&radius[..BLOCKS]), 0.0));
        assert_abs_diff_eq!(turned[0], 0.0, epsilon = 1e-12);
    }
}
