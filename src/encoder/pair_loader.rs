//! The order in which pairs are dealt out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::pairs::{PairBatch, PairDataset};

/// Deals out the pairs of a [`PairDataset`] in batches of one size, each call of `iter` being one epoch.
///
/// The loss of a contrastive batch depends on how many pairs compete in it, so a last batch that would be
/// smaller is left out (unless it is the only one). When shuffling, other pairs are left out in each epoch, and
/// the order is a function of the seed and the number of the epoch alone.
///
/// ```
/// use burn::data::dataloader::DataLoader;
/// use burn::tensor::Device;
/// use burn_revision::encoder::{Pair, PairDataset, PairLoader};
///
/// let pair = Pair { pixels: vec![0.0; 4], tokens: vec![1] };
/// let pairs = PairDataset::new(vec![pair; 10], [1, 2, 2])?;
/// let loader = PairLoader::new(pairs, 4, Device::default()).shuffled(7);
/// assert_eq!(loader.num_batches(), 2);
/// assert!(loader.iter().all(|batch| batch.unwrap().len() == 4));
/// # Ok::<(), burn_revision::Error>(())
/// ```
#[derive(Debug)]
pub struct PairLoader {
    pairs: PairDataset,
    /// The pairs dealt out, as indices in `pairs`.
    members: Arc<[usize]>,
    batch_size: usize,
    seed: Option<u64>,
    epoch: AtomicU64,
    /// The batches dealt out so far by this loader and its copies.
    dealt: Arc<AtomicUsize>,
    device: Device,
}

impl PairLoader {
    /// A loader in the order of the data.
    ///
    /// # Panics
    ///
    /// If `batch_size` is zero.
    pub fn new(pairs: PairDataset, batch_size: usize, device: Device) -> Self {
        assert!(batch_size > 0, "batch_size: expected at least 1, found 0");
        Self {
            members: (0..pairs.len()).collect(),
            pairs,
            batch_size,
            seed: None,
            epoch: AtomicU64::new(0),
            dealt: Arc::default(),
            device,
        }
    }

    /// Shuffles every epoch.
    pub fn shuffled(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts at this epoch instead of the first, 0.
    pub fn from_epoch(mut self, epoch: u64) -> Self {
        self.epoch = AtomicU64::new(epoch);
        self
    }

    /// The number of batches in an epoch.
    pub fn num_batches(&self) -> usize {
        if self.members.is_empty() { 0 } else { (self.members.len() / self.batch_size).max(1) }
    }

    /// A count, kept up to date, of the batches dealt out by this loader and its copies.
    pub(super) fn dealt(&self) -> Arc<AtomicUsize> {
        self.dealt.clone()
    }

    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order = self.members.to_vec();
        if let Some(seed) = self.seed {
            // The first draw of a stream seeded by the one number salts the other: seeds 1, 2 and epochs 2, 1
            // do not meet.
            let salt: u64 = StdRng::seed_from_u64(seed).random();
            order.shuffle(&mut StdRng::seed_from_u64(salt.wrapping_add(epoch)));
        }
        order.truncate(self.num_items());
        order
    }

    fn with(&self, members: Arc<[usize]>, device: Device) -> Arc<dyn DataLoader<PairBatch>> {
        Arc::new(Self {
            pairs: self.pairs.clone(),
            members,
            batch_size: self.batch_size,
            seed: self.seed,
            epoch: AtomicU64::new(self.epoch.load(Ordering::Relaxed)),
            dealt: self.dealt.clone(),
            device,
        })
    }
}

impl DataLoader<PairBatch> for PairLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<PairBatch> + 'a> {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed);
        Box::new(Epoch { loader: self, order: self.order(epoch), done: 0 })
    }

    fn num_items(&self) -> usize {
        self.members.len().min(self.num_batches() * self.batch_size)
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<PairBatch>> {
        self.with(self.members.clone(), device.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<PairBatch>> {
        self.with(self.members[start..end].into(), self.device.clone())
    }
}

/// One epoch on its way.
struct Epoch<'a> {
    loader: &'a PairLoader,
    order: Vec<usize>,
    done: usize,
}

impl Iterator for Epoch<'_> {
    type Item = Result<PairBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = (self.done + self.loader.batch_size).min(self.order.len());
        let rows = &self.order[self.done..end];
        if rows.is_empty() {
            return None;
        }
        let pairs = rows.iter().map(|&row| &self.loader.pairs.pairs()[row]);
        let batch = self.loader.pairs.batcher().collate(pairs, &self.loader.device);
        self.done = end;
        self.loader.dealt.fetch_add(1, Ordering::Relaxed);
        Some(Ok(batch))
    }
}

impl DataLoaderIterator<PairBatch> for Epoch<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.order.len(), Some("pairs".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Pair;

    fn pairs(count: u32) -> PairDataset {
        let pair = |token| Pair { pixels: vec![0.0], tokens: vec![token] };
        PairDataset::new((0..count).map(pair).collect(), [1, 1, 1]).unwrap()
    }

    fn epoch(loader: &dyn DataLoader<PairBatch>) -> Vec<i64> {
        let tokens =
            |batch: Result<PairBatch, _>| batch.unwrap().tokens.into_data().iter::<i64>().collect::<Vec<_>>();
        loader.iter().flat_map(tokens).collect()
    }

    fn loader(seed: u64) -> PairLoader {
        PairLoader::new(pairs(40), 8, Device::default()).shuffled(seed)
    }

    #[test]
    fn the_order_is_a_function_of_seed_and_epoch() {
        let first = loader(3);
        let epochs = [epoch(&first), epoch(&first), epoch(&first)];
        let again = loader(3);
        assert_eq!(epochs, [epoch(&again), epoch(&again), epoch(&again)]);
        assert_eq!(epochs[2], epoch(&loader(3).from_epoch(2)));
        assert_eq!(epochs[0], epoch(&*loader(3).to_device(&Device::default())));
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(epochs[0], epoch(&loader(4)));
        assert_ne!(epochs[1], epoch(&loader(4)));
    }

    #[test]
    fn an_epoch_deals_out_every_pair_once() {
        let mut seen = epoch(&loader(3));
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn batches_are_of_one_size_and_over_time_nothing_is_left_out() {
        let loader = PairLoader::new(pairs(13), 5, Device::default()).shuffled(1);
        assert_eq!(loader.num_items(), 10);
        let mut seen: Vec<i64> = (0..20).flat_map(|_| epoch(&loader)).collect();
        assert_eq!(seen.len(), 20 * 10);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 13);
    }

    #[test]
    fn few_pairs_make_one_batch_and_none_make_none() {
        let few = PairLoader::new(pairs(3), 8, Device::default());
        assert_eq!((few.num_batches(), epoch(&few)), (1, vec![0, 1, 2]));
        let none = PairLoader::new(pairs(0), 8, Device::default());
        assert_eq!((none.num_batches(), epoch(&none).len()), (0, 0));
    }

    #[test]
    fn a_slice_deals_out_its_part() {
        let whole = PairLoader::new(pairs(9), 2, Device::default());
        assert_eq!(epoch(&*whole.slice(4, 8)), [4, 5, 6, 7]);
    }
}
