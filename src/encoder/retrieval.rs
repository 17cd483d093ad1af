//! Retrieval of images by texts and of texts by images.

use burn::tensor::Tensor;

/// The share of queries whose partner is among the `k` nearest rows; see [`recall_at_k`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecallAtK {
    /// The number of nearest rows.
    pub k: usize,
    /// The recall of texts for an image, from 0 to 1.
    pub image_to_text: f64,
    /// The recall of images for a text, from 0 to 1.
    pub text_to_image: f64,
}

/// Measures recall at each of `ks` in both directions over paired embeddings.
///
/// Pairs may share a text: these have equal `text_groups`, and each of their rows is correct for each of them. The rank of
/// a query is the number of rows of other groups that are at least as near as the nearest correct row. A tie counts
/// against the query, so that the recall of a collapsed encoder is 0.
///
/// # Shapes
///
/// - image: `[n, d]`, unit rows
/// - text: `[n, d]`, unit rows; row `i` belongs to row `i` of `image`
/// - text_groups: `n` group ids
///
/// # Panics
///
/// If the shapes or the number of groups differ.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::recall_at_k;
///
/// let rows = Tensor::<2>::eye(4, &Device::default());
/// let recalls = recall_at_k(rows.clone(), rows, &[0, 1, 2, 3], &[1, 2]);
/// assert_eq!(recalls[0].image_to_text, 1.0);
/// ```
pub fn recall_at_k(image: Tensor<2>, text: Tensor<2>, text_groups: &[usize], ks: &[usize]) -> Vec<RecallAtK> {
    let (images, texts) = (image.dims(), text.dims());
    assert!(images == texts, "text: expected the shape of the images {images:?}, found {texts:?}");
    let n = images[0];
    assert!(text_groups.len() == n, "text_groups: expected {n}, found {}", text_groups.len());

    let image_ranks = ranks(image.clone(), text.clone(), text_groups);
    let text_ranks = ranks(text, image, text_groups);
    let recall = |ranks: &[usize], k: usize| ranks.iter().filter(|&&rank| rank < k).count() as f64 / n as f64;
    ks.iter()
        .map(|&k| RecallAtK {
            k,
            image_to_text: recall(&image_ranks, k),
            text_to_image: recall(&text_ranks, k),
        })
        .collect()
}

/// For each query, the number of rows of other groups at least as near as the nearest row of its own.
fn ranks(queries: Tensor<2>, gallery: Tensor<2>, groups: &[usize]) -> Vec<usize> {
    /// The queries compared at a time, which bounds the memory.
    const CHUNK: usize = 1024;
    let n = groups.len();
    let gallery = gallery.transpose();
    let mut ranks = Vec::with_capacity(n);
    for start in (0..n).step_by(CHUNK) {
        let count = CHUNK.min(n - start);
        let similarity = queries.clone().narrow(0, start, count).matmul(gallery.clone());
        let similarity: Vec<f32> = similarity.into_data().iter::<f32>().collect();
        for (row, own) in similarity.chunks_exact(n).zip(&groups[start..]) {
            let right = row.iter().zip(groups).filter(|(_, group)| *group == own);
            let best = right.map(|(&value, _)| value).fold(f32::NEG_INFINITY, f32::max);
            // NaN counts against the query, as a tie does.
            let ahead = |(value, group): (&f32, &usize)| group != own && (value.is_nan() || *value >= best);
            ranks.push(row.iter().zip(groups).filter(|&pair| ahead(pair)).count());
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    fn distinct(n: usize) -> Vec<usize> {
        (0..n).collect()
    }

    #[test]
    fn a_shift_by_one_is_found_at_two_neighbours_but_not_at_one() {
        let device = Device::default();
        let image = Tensor::<2>::eye(4, &device);
        // Text i is nearest to image i + 1 and next to its own.
        let text = Tensor::<2>::from_data(
            [[0.6, 0.8, 0.0, 0.0], [0.0, 0.6, 0.8, 0.0], [0.0, 0.0, 0.6, 0.8], [0.8, 0.0, 0.0, 0.6]],
            &device,
        );
        let recalls = recall_at_k(image, text, &distinct(4), &[1, 2]);
        assert_eq!((recalls[0].image_to_text, recalls[0].text_to_image), (0.0, 0.0));
        assert_eq!((recalls[1].image_to_text, recalls[1].text_to_image), (1.0, 1.0));
    }

    #[test]
    fn the_directions_are_told_apart() {
        let device = Device::default();
        let image = Tensor::<2>::from_data([[1.0, 0.0], [0.8, 0.6]], &device);
        let text = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.1]], &device);
        let recalls = recall_at_k(image.clone(), text.clone(), &distinct(2), &[1]);
        let swapped = recall_at_k(text, image, &distinct(2), &[1]);
        assert_eq!((recalls[0].image_to_text, recalls[0].text_to_image), (0.5, 0.5));
        assert_eq!(swapped[0].image_to_text, recalls[0].text_to_image);
    }

    #[test]
    fn pairs_that_share_a_text_are_right_for_each_other() {
        let device = Device::default();
        let image = Tensor::<2>::from_data([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], &device);
        let text = Tensor::<2>::from_data([[0.9, 0.1], [0.9, 0.1], [0.0, 1.0]], &device);
        let apart = recall_at_k(image.clone(), text.clone(), &distinct(3), &[1]);
        let shared = recall_at_k(image, text, &[5, 5, 9], &[1]);
        assert!(apart[0].image_to_text < 1.0);
        assert_eq!((shared[0].image_to_text, shared[0].text_to_image), (1.0, 1.0));
    }

    #[test]
    fn a_collapsed_encoder_recalls_nothing() {
        let device = Device::default();
        for value in [1.0, f32::NAN] {
            let rows = Tensor::<2>::full([6, 3], value, &device);
            let recalls = recall_at_k(rows.clone(), rows, &distinct(6), &[1, 5, 6]);
            assert_eq!(recalls[1].image_to_text, 0.0);
            assert_eq!(recalls[2].image_to_text, 1.0);
        }
    }

    #[test]
    fn grows_with_k_up_to_one() {
        let device = Device::default();
        let rows = || Tensor::<2>::random([30, 4], Distribution::Normal(0.0, 1.0), &device);
        let recalls = recall_at_k(rows(), rows(), &distinct(30), &[1, 3, 10, 30]);
        assert!(recalls.is_sorted_by_key(|recall| recall.image_to_text));
        assert!(recalls.is_sorted_by_key(|recall| recall.text_to_image));
        assert_eq!((recalls[3].image_to_text, recalls[3].text_to_image), (1.0, 1.0));
    }
}
