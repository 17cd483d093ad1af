//! Pairs of an image and a text, in memory and in batches.

use std::sync::Arc;

use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::training::{Step, StepBatcher};
use crate::{Error, Result};

/// An image and its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The preprocessed values of the image, `[channels, height, width]` row-major.
    pub pixels: Vec<f32>,
    /// The token ids of the text, without padding.
    pub tokens: Vec<u32>,
}

/// Pairs in memory, with images of one shape. Clones share the pairs.
///
/// # Example
///
/// It is a [`Dataset`] of [`Pair`]s, for Burn's samplers, mappers and data loaders.
///
/// # Example
///
/// ```
/// use burn_revision::encoder::{Pair, PairDataset};
///
/// let pair = Pair { pixels: vec![0.0; 3 * 4 * 4], tokens: vec![7, 2] };
/// let pairs = PairDataset::new(vec![pair], [3, 4, 4])?;
/// assert_eq!(pairs.len(), 1);
///
/// use burn::data::dataset::{Dataset, transform::PartialDataset};
/// let first: PartialDataset<_, Pair> = PartialDataset::new(pairs, 0, 1);
/// assert_eq!(first.get(0).unwrap().tokens, [7, 2]);
/// # Ok::<(), burn_revision::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PairDataset {
    pairs: Arc<[Pair]>,
    image_shape: [usize; 3],
    groups: Option<Arc<[usize]>>,
}

impl PairDataset {
    /// Creates a dataset of pairs whose images have the shape `[channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if an image has another number of values or a text has no token, [`Error::Sample`] if a value is
    /// not finite.
    pub fn new(pairs: Vec<Pair>, image_shape: [usize; 3]) -> Result<Self> {
        let values = image_shape.iter().product();
        for (row, pair) in pairs.iter().enumerate() {
            if pair.pixels.len() != values {
                return Err(Error::mismatch(format!("pixels of pair {row}"), values, pair.pixels.len()));
            }
            if let Some(column) = pair.pixels.iter().position(|value| !value.is_finite()) {
                let value = pair.pixels[column];
                return Err(Error::sample(
                    format!("pair {row}"),
                    format!("value {column} of its image is {value}"),
                ));
            }
            if pair.tokens.is_empty() {
                return Err(Error::mismatch(format!("tokens of pair {row}, at least"), 1, 0));
            }
        }
        Ok(Self { pairs: pairs.into(), image_shape, groups: None })
    }

    /// The same pairs, with the number of a group for each: pairs that say the same, such as pictures with one caption. In
    /// training, pairs of a group are no negatives of each other, see
    /// [`InfoNceLoss::forward_grouped`](super::InfoNceLoss::forward_grouped). A
    /// [`GapTracker`](super::GapTracker) measures the gradients of the loss without groups.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where there is not one number a pair.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::encoder::{Pair, PairDataset};
    ///
    /// let pair = |token| Pair { pixels: vec![0.0; 3 * 4 * 4], tokens: vec![token] };
    /// let pairs = PairDataset::new(vec![pair(7), pair(2), pair(7)], [3, 4, 4])?.with_groups(vec![0, 1, 0])?;
    /// # Ok::<(), burn_revision::Error>(())
    /// ```
    pub fn with_groups(self, groups: Vec<usize>) -> Result<Self> {
        if groups.len() != self.len() {
            return Err(Error::mismatch("groups of the pairs", self.len(), groups.len()));
        }
        Ok(Self { groups: Some(groups.into()), ..self })
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether the dataset is empty.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// All pairs in their order, in batches of `batch_size`; the last batch may be smaller.
    pub(super) fn batches<'a>(
        &'a self,
        batch_size: usize,
        device: &Device,
    ) -> impl Iterator<Item = PairBatch> + 'a {
        let device = device.clone();
        let all: Vec<usize> = (0..self.len()).collect();
        let chunks: Vec<Vec<usize>> = all.chunks(batch_size).map(<[usize]>::to_vec).collect();
        chunks.into_iter().map(move |rows| self.collate(&rows, &device))
    }

    /// Collates the pairs at `rows`, padding each text to the longest of the batch.
    fn collate(&self, rows: &[usize], device: &Device) -> PairBatch {
        let n = rows.len();
        let pairs = rows.iter().map(|row| &self.pairs[*row]);
        let len = pairs.clone().map(|pair| pair.tokens.len()).max().unwrap_or(0);
        let [channels, height, width] = self.image_shape;
        let mut pixels = Vec::with_capacity(n * channels * height * width);
        let mut tokens = Vec::with_capacity(n * len);
        let mut padding = Vec::with_capacity(n * len);
        for pair in pairs {
            pixels.extend_from_slice(&pair.pixels);
            for position in 0..len {
                let token = pair.tokens.get(position);
                // Any id works under the mask, and zero is in every vocabulary.
                tokens.push(token.map_or(0, |&token| i64::from(token)));
                padding.push(token.is_none());
            }
        }
        let groups = self.groups.as_ref().map(|groups| rows.iter().map(|row| groups[*row]).collect());
        PairBatch {
            groups,
            images: Tensor::from_data(TensorData::new(pixels, [n, channels, height, width]), device),
            tokens: Tensor::from_data(TensorData::new(tokens, [n, len]), device),
            pad_mask: Tensor::from_data(TensorData::new(padding, [n, len]), device),
        }
    }
}

impl Dataset<Pair> for PairDataset {
    fn get(&self, index: usize) -> Result<Pair, DatasetError> {
        Ok(self.pairs[index].clone())
    }

    fn len(&self) -> usize {
        self.pairs.len()
    }
}

impl StepBatcher<PairBatch> for PairDataset {
    fn num_items(&self) -> usize {
        self.len()
    }

    fn batch(&self, step: &Step, device: &Device) -> Result<PairBatch> {
        Ok(self.collate(&step.items, device))
    }
}

/// A batch of pairs on a device.
#[derive(Clone, Debug)]
pub(crate) struct PairBatch {
    /// The images, `[n, channels, height, width]`.
    pub images: Tensor<4>,
    /// The token ids, `[n, len]`, with the length `len` of the longest text.
    pub tokens: Tensor<2, Int>,
    /// True where a token is padding, `[n, len]`.
    pub pad_mask: Tensor<2, Bool>,
    /// The group of each pair, `[n]`, where there are groups.
    pub groups: Option<Vec<usize>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(value: f32, tokens: &[u32]) -> Pair {
        Pair { pixels: vec![value; 2 * 2], tokens: tokens.to_vec() }
    }

    #[test]
    fn a_batch_holds_the_pairs_and_marks_the_padding() {
        let pairs = PairDataset::new(vec![pair(0.5, &[4]), pair(2.0, &[9, 8, 7])], [1, 2, 2]).unwrap();
        let batch = pairs.batches(8, &Device::default()).next().unwrap();
        assert_eq!(batch.images.dims(), [2, 1, 2, 2]);
        let pixels = batch.images.into_data().convert::<f32>().try_into_vec::<f32>().unwrap();
        assert_eq!(pixels, [vec![0.5; 4], vec![2.0; 4]].concat());
        let mask: Vec<bool> = batch.pad_mask.into_data().iter::<bool>().collect();
        assert_eq!(mask, [false, true, true, false, false, false]);
        let tokens: Vec<i64> = batch.tokens.into_data().iter::<i64>().collect();
        assert_eq!((tokens[0], &tokens[3..]), (4, &[9, 8, 7][..]));
    }

    #[test]
    fn batches_cover_every_pair_once_in_order() {
        let all = (1..=7).map(|token| pair(0.0, &[token])).collect();
        let pairs = PairDataset::new(all, [1, 2, 2]).unwrap();
        let seen: Vec<i64> = pairs
            .batches(3, &Device::default())
            .flat_map(|batch| batch.tokens.into_data().iter::<i64>().collect::<Vec<_>>())
            .collect();
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_batch_has_the_groups_of_its_pairs() {
        let all = (0..5).map(|token| pair(0.0, &[token])).collect();
        let pairs = PairDataset::new(all, [1, 2, 2]).unwrap();
        let device = Device::default();
        assert!(pairs.batches(2, &device).all(|batch| batch.groups.is_none()));
        let error = pairs.clone().with_groups(vec![1; 4]).unwrap_err();
        assert_eq!(error.to_string(), "groups of the pairs: expected 5, found 4");
        let pairs = pairs.with_groups(vec![9, 8, 7, 9, 8]).unwrap();
        let step = Step { epoch: 0, index: 0, items: vec![4, 0, 2] };
        let batch = pairs.batch(&step, &device).unwrap();
        let tokens: Vec<i64> = batch.tokens.into_data().iter::<i64>().collect();
        assert_eq!((batch.groups.unwrap(), tokens), (vec![8, 9, 7], vec![4, 0, 2]));
    }

    #[test]
    fn a_wrong_pair_is_refused_with_its_place_and_both_sizes() {
        let error = PairDataset::new(vec![pair(0.0, &[1]), pair(0.0, &[1])], [3, 2, 2]).unwrap_err();
        assert_eq!(error.to_string(), "pixels of pair 0: expected 12, found 4");
        let error = PairDataset::new(vec![pair(0.0, &[1]), pair(0.0, &[])], [1, 2, 2]).unwrap_err();
        assert!(error.to_string().starts_with("tokens of pair 1"));
    }
}
