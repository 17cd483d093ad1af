//! The mixing matrix, learned from images alone.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::config::AnisoAlignConfig;
use crate::Result;
use crate::embedding::{Progress, check_cancelled};

/// Rows that a step looks at.
const ROWS: usize = 4096;
/// How far a step goes, as a share of the norm of the matrix.
const STEP: f64 = 0.03;

/// `sum_k |E e^{i theta_k}|^2 + sum_{k < l} |M_kl|^2` for rows `[n, r]` and a matrix `[r, r]` whose rows 0 and 1 are the
/// first block, and so on. The circle's points are `(a, b) / rho`: no angle is needed.
fn coherence(rows: Tensor<2>, matrix: Tensor<2>) -> Tensor<1> {
    let [n, rank] = rows.dims();
    let coordinates = rows.matmul(matrix.transpose()).reshape([n, rank / 2, 2]);
    let a = coordinates.clone().narrow(2, 0, 1).squeeze_dim::<2>(2);
    let b = coordinates.narrow(2, 1, 1).squeeze_dim::<2>(2);
    let radius = (a.clone() * a.clone() + b.clone() * b.clone() + 1e-12).sqrt();
    let (cosine, sine) = (a / radius.clone(), b / radius);
    let mean = |values: Tensor<2>| values.mean_dim(0).square().sum();
    let concentrated = mean(cosine.clone()) + mean(sine.clone());
    let product = |a: Tensor<2>, b: Tensor<2>| a.transpose().matmul(b) / n as f64;
    let real = product(cosine.clone(), cosine.clone()) + product(sine.clone(), sine.clone());
    let imaginary = product(sine.clone(), cosine.clone()) - product(cosine, sine);
    // M_kk = 1 is no concern.
    let coherent = (real.square().sum() + imaginary.square().sum() - (rank / 2) as f64) / 2.0;
    concentrated + coherent
}

/// The nearest orthogonal matrix, by the iteration of Newton and Schulz; for matrices near one.
fn orthogonalized(mut matrix: Tensor<2>) -> Tensor<2> {
    for _ in 0..4 {
        let gram = matrix.clone().transpose().matmul(matrix.clone());
        matrix = matrix.clone() * 1.5 - matrix.matmul(gram) * 0.5;
    }
    matrix
}

/// Moves an orthogonal matrix, `[r, r]` row-major, along the gradient of [`coherence`] on rows `[n, r]`.
pub(super) fn learn(
    config: &AnisoAlignConfig,
    start: Vec<f64>,
    rows: &[f32],
    rank: usize,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    let training = device.clone().autodiff();
    let n = (rows.len() / rank).min(ROWS);
    let data = TensorData::new(rows[..n * rank].to_vec(), [n, rank]);
    let rows = Tensor::<2>::from_data(data, (&training, DType::F32));
    let start: Vec<f32> = start.into_iter().map(|value| value as f32).collect();
    let mut matrix = Tensor::<2>::from_data(TensorData::new(start, [rank, rank]), (device, DType::F32));
    progress.begin("anisoalign: mixing", config.mixing_steps);
    for step in 0..config.mixing_steps {
        check_cancelled(progress)?;
        let variable = Tensor::from_data(matrix.to_data(), (&training, DType::F32)).require_grad();
        let gained = coherence(rows.clone(), variable.clone());
        progress.loss(-gained.clone().into_scalar::<f64>());
        let gradient = variable.grad(&gained.backward()).expect("the matrix takes a gradient");
        // Along the orthogonal matrices: without the part that only stretches.
        let symmetric = matrix.clone().transpose().matmul(gradient.clone());
        let symmetric = (symmetric.clone() + symmetric.transpose()) * 0.5;
        let along = gradient - matrix.clone().matmul(symmetric);
        let norm = along.clone().square().sum().sqrt().into_scalar::<f64>();
        if !norm.is_finite() || norm < 1e-12 {
            break;
        }
        let rate = STEP * (rank as f64).sqrt() * (1.0 - step as f64 / config.mixing_steps as f64);
        matrix = orthogonalized(matrix + along * (rate / norm));
        progress.advance(1);
    }
    let values = matrix.into_data().try_into_vec_as::<f32>().expect("a float type converts to f32");
    Ok(values.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random::seeded_rng;

    /// Two coordinates whose phase is concentrated, mixed with four of noise: the matrix finds coherence, and stays
    /// orthogonal.
    #[test]
    fn learning_makes_phases_more_coherent() {
        let mut rng = seeded_rng(2, &[]);
        let rows: Vec<f32> = (0..1500)
            .flat_map(|_| {
                let noise: [f32; 6] = std::array::from_fn(|_| rng.random::<f32>() - 0.5);
                [noise[0] + 0.8, noise[1], noise[2], noise[3] - 0.6, noise[4], noise[5]]
            })
            .collect();
        let start: Vec<f64> = {
            // A rotation by 0.7 in the planes (0, 2), (1, 4), (3, 5).
            let mut matrix = vec![0.0; 36];
            for (i, j) in [(0, 2), (1, 4), (3, 5)] {
                (matrix[i * 7], matrix[j * 7]) = (0.7_f64.cos(), 0.7_f64.cos());
                (matrix[i * 6 + j], matrix[j * 6 + i]) = (0.7_f64.sin(), -0.7_f64.sin());
            }
            matrix
        };
        let device = Device::default();
        let config = AnisoAlignConfig::new();
        let learned = learn(&config, start.clone(), &rows, 6, &device, &()).unwrap();
        let tensor = |values: &[f64]| {
            let values = values.iter().map(|&value| value as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [6, 6]), (&device, DType::F32))
        };
        let data = Tensor::<2>::from_data(TensorData::new(rows, [1500, 6]), (&device, DType::F32));
        let value = |matrix: &[f64]| coherence(data.clone(), tensor(matrix)).into_scalar::<f64>();
        assert!(value(&learned) > 1.1 * value(&start), "{} {}", value(&start), value(&learned));
        let gram = tensor(&learned).matmul(tensor(&learned).transpose());
        assert!((gram - Tensor::eye(6, &device)).abs().max().into_scalar::<f64>() < 1e-4);
    }
}
