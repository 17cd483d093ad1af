//! The gradients of the InfoNCE loss with respect to embeddings, in float64 on the host.

use crate::geometry::{Cloud, linalg};

/// The gradients of the symmetric InfoNCE loss with respect to normalised embeddings, before the normalisation
/// (arXiv 2602.07026, Lemma B.6): `[n, d]` each, image `i` belonging to text `i`.
///
/// ```text
/// grad_x_i = scale / 2n (sum_j (p_ij + q_ij) y_j - 2 y_i)
///
/// p: softmax of scale x_i y_j over texts        q: softmax of scale x_i y_j over images
/// ```
///
/// Each gradient lies in the span of the rows of the other modality.
///
/// # Panics
///
/// If the shapes differ.
pub(super) fn info_nce_gradients(image: &Cloud, text: &Cloud, scale: f64) -> (Cloud, Cloud) {
    assert_eq!(
        (image.len(), image.dim()),
        (text.len(), text.dim()),
        "InfoNCE gradients: shapes of the pairs"
    );
    assert!(scale.is_finite(), "InfoNCE gradients: expected a finite logit scale, found {scale}");
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
    let cloud = |values| Cloud::computed(values, dim);
    (cloud(of_image), cloud(of_text))
}

/// Adds the softmax over the second index to `weights`; `place` maps a pair of indexes to a position.
fn add_softmax(logits: &[f64], n: usize, place: impl Fn(usize, usize) -> usize, weights: &mut [f64]) {
    for i in 0..n {
        let largest = (0..n).map(|j| logits[place(i, j)]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..n).map(|j| (logits[place(i, j)] - largest).exp()).sum();
        (0..n).for_each(|j| weights[place(i, j)] += (logits[place(i, j)] - largest).exp() / sum);
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    use super::*;
    use crate::encoder::testing::unit_cloud;
    use crate::geometry::{FixedFrame, FrameRank, Spectrum};

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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gradients_are_finite_differences_of_the_loss_and_lie_in_the_span(
            n in 2_usize..7, dim in 8_usize..12, scale in 0.5..12.0_f64, seed: u64,
        ) {
            let (image, text) = (unit_cloud(n, dim, seed), unit_cloud(n, dim, !seed));
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
                assert_abs_diff_eq!(image_difference / (2.0 * step), of_image.values()[at], epsilon = 1e-7);
                assert_abs_diff_eq!(text_difference / (2.0 * step), of_text.values()[at], epsilon = 1e-7);
            }
            // There are fewer rows than dimensions.
            let span = Spectrum::of(&text.second_moment(), dim, n).unwrap();
            let span = FixedFrame::of_spectrum(&span, FrameRank::Rank(span.rank())).unwrap();
            prop_assert!(span.project_v(&of_image).energy() < 1e-24 * of_image.energy().max(1e-3));
        }
    }
}
