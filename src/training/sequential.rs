use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::prefetch::Prefetch;
use super::worker::Worker;
use super::{Step, StepBatcher};

/// A burn-train data loader that yields all samples in their own order on every pass: for validation.
pub(crate) struct SequentialLoader<O> {
    batcher: Arc<dyn StepBatcher<O>>,
    batch_size: usize,
    device: Device,
    worker: Arc<Worker>,
}

impl<O> SequentialLoader<O> {
    /// A loader of batches of `batch_size` samples.
    pub fn new(batcher: Arc<dyn StepBatcher<O>>, batch_size: usize, device: &Device) -> Self {
        let worker = Arc::new(Worker::new("validation batches"));
        Self { batcher, batch_size: batch_size.max(1), device: device.clone(), worker }
    }

    fn num_batches(&self) -> usize {
        self.batcher.num_items().div_ceil(self.batch_size)
    }
}

impl<O: Send + 'static> DataLoader<O> for SequentialLoader<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let (size, items) = (self.batch_size, self.batcher.num_items());
        let steps = (0..self.num_batches()).map(move |index| Step {
            index,
            epoch: 0,
            items: (index * size..((index + 1) * size).min(items)).collect(),
        });
        let batches = Prefetch::new(&self.worker, &self.batcher, steps, &self.device);
        Box::new(Batches { batches, done: 0, total: self.num_batches() })
    }

    fn num_items(&self) -> usize {
        self.num_batches()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        let (batcher, worker) = (self.batcher.clone(), self.worker.clone());
        Arc::new(Self { batcher, batch_size: self.batch_size, device: device.clone(), worker })
    }

    /// Validation runs on one device.
    ///
    /// # Panics
    ///
    /// Always.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<O>> {
        panic!("a SequentialLoader serves one device and cannot be sliced");
    }
}

struct Batches<O, S> {
    batches: Prefetch<O, S>,
    done: usize,
    total: usize,
}

impl<O: Send + 'static, S: Iterator<Item = Step>> Iterator for Batches<O, S> {
    type Item = std::result::Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (_, batch) = self.batches.next()?;
        self.done += 1;
        Some(batch.map_err(DatasetError::new))
    }
}

impl<O: Send + 'static, S: Iterator<Item = Step>> DataLoaderIterator<O> for Batches<O, S> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("steps".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;

    struct Items(usize);

    impl StepBatcher<Vec<usize>> for Items {
        fn num_items(&self) -> usize {
            self.0
        }

        fn batch(&self, step: &Step, _device: &Device) -> Result<Vec<usize>> {
            Ok(step.items.clone())
        }
    }

    #[test]
    fn every_pass_yields_every_sample_in_order() {
        let loader = SequentialLoader::new(Arc::new(Items(7)), 3, &Device::default());
        for _ in 0..2 {
            let items: Vec<usize> = loader.iter().flat_map(|batch| batch.unwrap()).collect();
            assert_eq!(items, (0..7).collect::<Vec<_>>());
        }
    }
}
