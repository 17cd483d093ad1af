//! The contrastive loss.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

use crate::assert_shape;

/// Symmetric InfoNCE over a batch of pairs (arXiv 2602.07026, Lemma B.6; the loss of CLIP).
///
/// With the logits `l_ij = scale * <x_i, y_j>` of images `x` and texts `y`, the loss is the mean of the cross-entropies
/// over rows (the text of each image) and over columns (the image of each text), with the diagonal as targets. `scale` is
/// the inverse temperature `1/tau`.
///
/// The loss is 0 for pairs that are separated perfectly and `ln n` if all embeddings are equal.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::InfoNceLoss;
///
/// let device = Device::default();
/// let same = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0]], &device);
/// let scale = Tensor::<1>::from_data([50.0], &device);
/// let loss = InfoNceLoss::new().forward(same.clone(), same, scale);
/// assert!((loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct InfoNceLoss;

impl InfoNceLoss {
    /// Creates the loss.
    pub fn new() -> Self {
        Self
    }

    /// Computes the loss, where pairs of one group, such as pictures of one caption, are no negatives of each other: their logits
    /// are left out of the softmax, but for a pair's own.
    ///
    /// # Shapes
    ///
    /// - image, text, scale and output: as for [`forward`](Self::forward)
    /// - groups: `n`
    ///
    /// # Panics
    ///
    /// If the shapes differ, or there is another number of groups than of rows.
    pub fn forward_grouped(
        &self,
        image: Tensor<2>,
        text: Tensor<2>,
        scale: Tensor<1>,
        groups: &[usize],
    ) -> Tensor<1> {
        let [n, _] = image.dims();
        assert!(groups.len() == n, "groups: expected {n}, one a pair, found {}", groups.len());
        let mut left_out = vec![0.0_f32; n * n];
        for (row, group) in groups.iter().enumerate() {
            for (column, other) in groups.iter().enumerate() {
                if row != column && group == other {
                    // Far below any logit; infinities would make NaN of the truth's zeros.
                    left_out[row * n + column] = -1e9;
                }
            }
        }
        let left_out = TensorData::new(left_out, [n, n]);
        self.masked(image, text, scale, Some(left_out))
    }

    /// Computes the loss.
    ///
    /// # Shapes
    ///
    /// - image: `[n, d]`, unit rows; row `i` belongs to row `i` of `text`
    /// - text: `[n, d]`, unit rows
    /// - scale: `[1]`, the inverse temperature
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes of image and text differ, or `scale` is not `[1]`.
    ///
    /// # Numerical Behavior
    ///
    /// Each log-softmax subtracts its maximum first: a large scale cannot overflow.
    pub fn forward(&self, image: Tensor<2>, text: Tensor<2>, scale: Tensor<1>) -> Tensor<1> {
        self.masked(image, text, scale, None)
    }

    /// `left_out`: what is added to the logits.
    fn masked(
        &self,
        image: Tensor<2>,
        text: Tensor<2>,
        scale: Tensor<1>,
        left_out: Option<TensorData>,
    ) -> Tensor<1> {
        assert!(
            image.dims() == text.dims(),
            "text: expected the shape of the images {:?}, found {:?}",
            image.dims(),
            text.dims()
        );
        assert_shape!(scale, [1], "scale");
        let [n, _] = image.dims();
        let logits = image.matmul(text.transpose()) * scale.unsqueeze::<2>();
        let logits = match left_out {
            None => logits,
            Some(data) => {
                let added = Tensor::<2>::from_data(data, &logits.device()).cast(logits.dtype());
                logits + added
            }
        };
        let truth = Tensor::<2>::eye(n, &logits.device()).cast(logits.dtype());
        let log_probability = log_softmax(logits.clone(), 1) + log_softmax(logits, 0);
        (log_probability * truth).sum().div_scalar(-2.0 * n as f64)
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use burn::tensor::{Device, Distribution, Tolerance};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn unit_rows(n: usize, d: usize, device: &Device) -> Tensor<2> {
        let rows = Tensor::<2>::random([n, d], Distribution::Normal(0.0, 1.0), device);
        let norm = (rows.clone() * rows.clone()).sum_dim(1).sqrt();
        rows / norm
    }

    fn loss(image: Tensor<2>, text: Tensor<2>, scale: f64) -> f32 {
        let scale = Tensor::<1>::from_data([scale], &image.device());
        InfoNceLoss::new().forward(image, text, scale).into_scalar()
    }

    /// Rows of unit length in float64, as `[row][column]`.
    fn host_rows(n: usize, d: usize, rng: &mut StdRng) -> Vec<Vec<f64>> {
        (0..n)
            .map(|_| {
                let row: Vec<f64> = (0..d).map(|_| rng.random_range(-1.0..1.0)).collect();
                let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                row.iter().map(|v| v / norm).collect()
            })
            .collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// `p[i][j]`, the softmax over `j` of `scale * <a_i, b_j>`.
    fn probabilities(a: &[Vec<f64>], b: &[Vec<f64>], scale: f64) -> Vec<Vec<f64>> {
        a.iter()
            .map(|a| {
                let weights: Vec<f64> = b.iter().map(|b| (scale * dot(a, b)).exp()).collect();
                let sum: f64 = weights.iter().sum();
                weights.iter().map(|w| w / sum).collect()
            })
            .collect()
    }

    fn upload(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flatten().map(|&v| v as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
    }

    #[test]
    fn the_gradient_lies_in_the_span_of_the_other_modality() {
        let device = Device::default().autodiff();
        let mut rng = StdRng::seed_from_u64(3);
        let (n, d, scale) = (5, 8, 7.0);
        let (x, y) = (host_rows(n, d, &mut rng), host_rows(n, d, &mut rng));
        let image = upload(&x, &device).require_grad();
        let text = upload(&y, &device).require_grad();
        let loss =
            InfoNceLoss::new().forward(image.clone(), text.clone(), Tensor::from_data([scale], &device));
        let grads = loss.backward();

        // d loss / d x_i = scale / 2n * (sum_j (p_ij + q_ji) y_j - 2 y_i), p over texts and q over images.
        let (p, q) = (probabilities(&x, &y, scale), probabilities(&y, &x, scale));
        let expected = |own: &[Vec<f64>], other: &[Vec<f64>], p: &[Vec<f64>], q: &[Vec<f64>]| {
            let mut rows = vec![vec![0.0; d]; own.len()];
            for (i, row) in rows.iter_mut().enumerate() {
                for (column, value) in row.iter_mut().enumerate() {
                    let pull: f64 = (0..n).map(|j| (p[i][j] + q[j][i]) * other[j][column]).sum();
                    *value = scale / (2.0 * n as f64) * (pull - 2.0 * other[i][column]);
                }
            }
            upload(&rows, &Device::default()).into_data()
        };
        let tolerance = Tolerance::absolute(1e-5);
        let found = image.grad(&grads).unwrap().into_data();
        found.assert_approx_eq::<f32>(&expected(&x, &y, &p, &q), tolerance);
        let found = text.grad(&grads).unwrap().into_data();
        found.assert_approx_eq::<f32>(&expected(&y, &x, &q, &p), tolerance);
    }

    #[test]
    fn equals_its_definition_in_float64() {
        let device = Device::default();
        let mut rng = StdRng::seed_from_u64(4);
        let (n, scale) = (6, 11.0);
        let (x, y) = (host_rows(n, 8, &mut rng), host_rows(n, 8, &mut rng));
        let (p, q) = (probabilities(&x, &y, scale), probabilities(&y, &x, scale));
        let expected = -(0..n).map(|i| p[i][i].ln() + q[i][i].ln()).sum::<f64>() / (2.0 * n as f64);
        let found = loss(upload(&x, &device), upload(&y, &device), scale);
        assert_abs_diff_eq!(found as f64, expected, epsilon = 1e-5);
    }

    /// Without its own kind, a pair is told from the others alone.
    #[test]
    fn pairs_of_one_group_are_no_negatives_of_each_other() {
        let device = Device::default();
        let mut rng = StdRng::seed_from_u64(5);
        let (groups, scale) = ([0, 1, 0, 2, 0], 9.0);
        let (x, y) = (host_rows(5, 8, &mut rng), host_rows(5, 8, &mut rng));
        let side = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
            (0..5)
                .map(|i| {
                    let others = (0..5).filter(|j| *j == i || groups[*j] != groups[i]);
                    let sum: f64 = others.map(|j| (scale * dot(&a[i], &b[j])).exp()).sum();
                    sum.ln() - scale * dot(&a[i], &b[i])
                })
                .sum()
        };
        let expected = (side(&x, &y) + side(&y, &x)) / 10.0;
        let (image, text) = (upload(&x, &device), upload(&y, &device));
        let scale = Tensor::from_data([scale], &device);
        let grouped = InfoNceLoss::new().forward_grouped(image.clone(), text.clone(), scale.clone(), &groups);
        assert_abs_diff_eq!(f64::from(grouped.into_scalar::<f32>()), expected, epsilon = 1e-5);
        let alone =
            InfoNceLoss::new().forward_grouped(image.clone(), text.clone(), scale.clone(), &[0, 1, 2, 3, 4]);
        let plain = InfoNceLoss::new().forward(image, text, scale);
        assert_abs_diff_eq!(alone.into_scalar::<f32>(), plain.into_scalar::<f32>(), epsilon = 1e-6);
    }

    #[test]
    fn is_symmetric_in_the_modalities() {
        let device = Device::default();
        let (image, text) = (unit_rows(9, 16, &device), unit_rows(9, 16, &device));
        let (there, back) = (loss(image.clone(), text.clone(), 20.0), loss(text, image, 20.0));
        assert_abs_diff_eq!(there, back, epsilon = 1e-5);
    }

    #[test]
    fn vanishes_for_aligned_pairs_and_survives_a_huge_scale() {
        let device = Device::default();
        let rows = Tensor::<2>::eye(8, &device);
        assert_abs_diff_eq!(loss(rows.clone(), rows.clone(), 100.0), 0.0, epsilon = 1e-6);
        assert_abs_diff_eq!(loss(rows.clone(), rows, 1e6), 0.0, epsilon = 1e-6);
    }

    #[test]
    fn is_ln_n_if_all_embeddings_of_a_modality_are_equal() {
        let device = Device::default();
        let (row, other) = (unit_rows(1, 16, &device), unit_rows(1, 16, &device));
        for n in [1, 2, 7, 64] {
            let found = loss(row.clone().repeat_dim(0, n), other.clone().repeat_dim(0, n), 60.0);
            assert_abs_diff_eq!(found, (n as f32).ln(), epsilon = 1e-4);
        }
    }

    #[test]
    #[should_panic(expected = "expected the shape of the images [3, 4], found [2, 4]")]
    fn unpaired_rows_panic_with_both_shapes() {
        let device = Device::default();
        loss(unit_rows(3, 4, &device), unit_rows(2, 4, &device), 1.0);
    }
}
