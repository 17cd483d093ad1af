//! Means of two clouds, and pairs of their rows.

use super::sections::MethodPairs;
use crate::Result;
use crate::geometry::{Cloud, Spectrum, difference, distribution_gap, linalg, norm};

/// Rows of images that are compared with all texts at once.
const BLOCK: usize = 512;

/// `||mu_x - mu_y||`.
pub(super) fn mean_gap(text: &Cloud, image: &Cloud) -> f64 {
    norm(&difference(&image.mean(), &text.mean()))
}

/// The mean product of rows of the same number.
pub(super) fn mean_product(a: &Cloud, b: &Cloud) -> f64 {
    a.values().iter().zip(b.values()).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
}

/// The texts and the images of pairs, row by row.
pub(super) fn paired(text: &Cloud, image: &Cloud, pairs: &[[u32; 2]]) -> (Cloud, Cloud) {
    let rows = |side: usize| pairs.iter().map(|pair| pair[side] as usize).collect::<Vec<_>>();
    (text.select(&rows(0)), image.select(&rows(1)))
}

/// The gap that sampling would leave between equal means: the norms of what each text adds to it together with its
/// images, because those are not drawn independently; without pairs each row is drawn by itself.
pub(super) fn sampling_floor(text: &Cloud, image: &Cloud, pairs: Option<&[[u32; 2]]>) -> f64 {
    let Some(pairs) = pairs else {
        return (image.trace() / image.len() as f64 + text.trace() / text.len() as f64).sqrt();
    };
    let (text, image) = (text.centered(), image.centered());
    let share = 1.0 / text.len() as f64;
    let mut parts: Vec<f64> = text.values().iter().map(|value| -value * share).collect();
    let (dim, share) = (text.dim(), 1.0 / image.len() as f64);
    for &[text, of_image] in pairs {
        let part = &mut parts[text as usize * dim..][..dim];
        part.iter_mut().zip(image.row(of_image as usize)).for_each(|(part, value)| *part += value * share);
    }
    norm(&parts)
}

/// What a method makes of pairs; `probe` is how many texts and images, the first of each, are searched for recall.
pub(super) fn measure_pairs(
    text: &Cloud,
    image: &Cloud,
    pairs: &[[u32; 2]],
    probe: [usize; 2],
) -> Result<MethodPairs> {
    let (own, images) = paired(text, image, pairs);
    let distribution_gap = distribution_gap(&images, &own)?;
    let moment = images.difference(&own)?.second_moment();
    let spectrum = Spectrum::values_of(&moment, text.dim(), pairs.len())?;
    let within = |[text, image]: &&[u32; 2]| (*text as usize) < probe[0] && (*image as usize) < probe[1];
    let probed: Vec<[u32; 2]> = pairs.iter().filter(within).copied().collect();
    let ranks = ranks(text, image, &probed, probe[0]);
    let share =
        |most: usize| ranks.iter().filter(|&&rank| rank < most).count() as f64 / ranks.len().max(1) as f64;
    Ok(MethodPairs {
        cosine: mean_product(&own, &images),
        distribution_gap: Some(distribution_gap),
        anisotropy: spectrum.anisotropy(),
        recall_at_1: share(1),
        recall_at_10: share(10),
    })
}

/// How many of the first `texts` texts are no further from an image than its own.
fn ranks(text: &Cloud, image: &Cloud, pairs: &[[u32; 2]], texts: usize) -> Vec<usize> {
    let dim = text.dim();
    let all = &text.values()[..texts * dim];
    let mut ranks = Vec::with_capacity(pairs.len());
    for block in pairs.chunks(BLOCK) {
        let images = image.select(&block.iter().map(|pair| pair[1] as usize).collect::<Vec<_>>());
        let cosines = linalg::matmul_transposed_b(images.values(), [block.len(), dim], all, [texts, dim]);
        for (cosines, [own, _]) in cosines.chunks_exact(texts).zip(block) {
            let own_cosine = cosines[*own as usize];
            ranks.push(cosines.iter().filter(|&&cosine| cosine >= own_cosine).count() - 1);
        }
    }
    ranks
}
