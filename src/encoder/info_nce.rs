//! The contrastive loss.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Int, Tensor};

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
        cross_entropies(logits(image, text, scale))
    }

    /// Computes the loss of pairs some of which say the same: pairs of one group are no negatives of each other.
    ///
    /// Where many pictures have the same caption, a picture would otherwise be pushed away from the captions of others that
    /// are true of it as well. Here these have no part in the softmax. With groups of one pair each it is
    /// [`forward`](Self::forward); pairs that are all of one group have a loss of 0.
    ///
    /// # Shapes
    ///
    /// - image, text, scale, output: those of [`forward`](Self::forward)
    /// - groups: `[n]`, the number of the group of each pair
    ///
    /// # Panics
    ///
    /// If the shapes of image and text differ, `scale` is not `[1]`, or there is not one group a pair.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_revision::encoder::InfoNceLoss;
    ///
    /// let device = Device::default();
    /// let same = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0]], &device);
    /// let scale = Tensor::<1>::from_data([50.0], &device);
    /// let one_caption = Tensor::<1, Int>::from_data([7, 7], &device);
    /// let loss = InfoNceLoss::new().forward_with_groups(same.clone(), same, scale, one_caption);
    /// assert_eq!(loss.into_scalar::<f32>(), 0.0);
    /// ```
    pub fn forward_with_groups(
        &self,
        image: Tensor<2>,
        text: Tensor<2>,
        scale: Tensor<1>,
        groups: Tensor<1, Int>,
    ) -> Tensor<1> {
        let [n, _] = image.dims();
        assert_shape!(groups, [n], "groups");
        let logits = logits(image, text, scale);
        let others = Tensor::<2, Bool>::diag_mask([n, n], 0, &logits.device());
        let same = groups.clone().unsqueeze_dim::<2>(1).equal(groups.unsqueeze_dim::<2>(0));
        cross_entropies(logits.mask_fill(same.bool_and(others), EXCLUDED))
    }
}

/// The logit of what has no part in a softmax: its exponential is zero beside any logit of unit rows, and it is finite in
/// half precision too, since an infinite one would make NaN of the zeros that it is multiplied by.
const EXCLUDED: f64 = -3e4;

/// `scale * <x_i, y_j>`, `[n, n]`.
fn logits(image: Tensor<2>, text: Tensor<2>, scale: Tensor<1>) -> Tensor<2> {
    assert!(
        image.dims() == text.dims(),
        "text: expected the shape of the images {:?}, found {:?}",
        image.dims(),
        text.dims()
    );
    assert_shape!(scale, [1], "scale");
    image.matmul(text.transpose()) * scale.unsqueeze::<2>()
}

/// The mean cross-entropy over rows and columns, with the diagonal as targets.
fn cross_entropies(logits: Tensor<2>) -> Tensor<1> {
    let [n, _] = logits.dims();
    let truth = Tensor::<2>::eye(n, &logits.device()).cast(logits.dtype());
    let log_probability = log_softmax(logits.clone(), 1) + log_softmax(logits, 0);
    (log_probability * truth).sum().div_scalar(-2.0 * n as f64)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};
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

    #[test]
    fn pairs_of_one_group_are_no_negatives_of_each_other() {
        let mut rng = StdRng::seed_from_u64(5);
        let (n, scale) = (7, 3.0);
        let (image, text) = (host_rows(n, 4, &mut rng), host_rows(n, 4, &mut rng));
        let groups = [3, 8, 3, 1, 8, 3, 0];
        // The definition, in float64: a row's softmax is over itself and the rows of other groups.
        let entropy = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
            let of = |i: usize| {
                let others = (0..n).filter(|j| *j == i || groups[*j] != groups[i]);
                let sum: f64 = others.map(|j| (scale * dot(&a[i], &b[j])).exp()).sum();
                sum.ln() - scale * dot(&a[i], &b[i])
            };
            (0..n).map(of).sum::<f64>() / n as f64
        };
        let expected = (entropy(&image, &text) + entropy(&text, &image)) / 2.0;

        let device = Device::default();
        let tensor = |rows: &[Vec<f64>]| {
            Tensor::<2>::from_data(TensorData::new(rows.concat(), [n, 4]).convert::<f32>(), &device)
        };
        let found = |groups: [i64; 7]| {
            let groups = Tensor::<1, Int>::from_data(groups, &device);
            let scale = Tensor::<1>::from_data([scale], &device);
            let loss = InfoNceLoss::new().forward_with_groups(tensor(&image), tensor(&text), scale, groups);
            loss.into_scalar::<f32>()
        };
        assert_abs_diff_eq!(f64::from(found(groups)), expected, epsilon = 1e-5);
        // Groups of one pair change nothing, and one group leaves nothing to learn.
        assert_abs_diff_eq!(
            found([0, 1, 2, 3, 4, 5, 6]),
            loss(tensor(&image), tensor(&text), scale),
            epsilon = 1e-6
        );
        assert_eq!(found([2; 7]), 0.0);
    }
}
