use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::{Step, StepPlan};
use crate::Result;

/// Makes the input of one optimizer step from the indices of its samples.
pub trait StepBatcher<O>: Send + Sync {
    /// The number of samples.
    fn num_items(&self) -> usize;

    /// The input of `step` on `device`.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the samples; training stops and reports it.
    fn batch(&self, step: &Step, device: &Device) -> Result<O>;
}

/// A burn-train data loader over a [`StepPlan`]: each call of `iter` yields the next *segment* of the run.
///
/// burn-train evaluates and writes a checkpoint after each pass over its loader. A pass over this loader is a
/// segment of `segment_steps` optimizer steps, which makes that a step cadence, and starting at a later segment
/// resumes a run exactly.
pub struct StepLoader<O> {
    batcher: Arc<dyn StepBatcher<O>>,
    plan: StepPlan,
    segment_steps: usize,
    next_segment: Arc<AtomicUsize>,
    dealt: Arc<AtomicUsize>,
    device: Device,
}

impl<O> StepLoader<O> {
    /// A loader over `plan` whose first pass is segment `first_segment` (counted from zero).
    pub fn new(
        batcher: Arc<dyn StepBatcher<O>>,
        plan: StepPlan,
        segment_steps: usize,
        first_segment: usize,
        device: &Device,
    ) -> Self {
        Self {
            batcher,
            plan,
            segment_steps: segment_steps.max(1),
            next_segment: Arc::new(AtomicUsize::new(first_segment)),
            dealt: Arc::default(),
            device: device.clone(),
        }
    }

    /// The number of steps that the loader and its twins on other devices have handed out, as it grows.
    pub fn steps_dealt(&self) -> Arc<AtomicUsize> {
        self.dealt.clone()
    }

    /// The number of segments in the run.
    pub fn num_segments(&self) -> usize {
        self.plan.steps().div_ceil(self.segment_steps)
    }
}

impl<O: Send + 'static> DataLoader<O> for StepLoader<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let segment = self.next_segment.fetch_add(1, Ordering::SeqCst);
        let start = (segment * self.segment_steps).min(self.plan.steps());
        let end = (start + self.segment_steps).min(self.plan.steps());
        let steps = self.plan.range(start..end).inspect(|_| {
            self.dealt.fetch_add(1, Ordering::Relaxed);
        });
        Box::new(StepIterator {
            batcher: self.batcher.as_ref(),
            steps,
            device: self.device.clone(),
            done: 0,
            total: end - start,
        })
    }

    /// The number of optimizer steps in a segment.
    fn num_items(&self) -> usize {
        self.segment_steps
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self {
            batcher: self.batcher.clone(),
            plan: self.plan.clone(),
            segment_steps: self.segment_steps,
            next_segment: self.next_segment.clone(),
            dealt: self.dealt.clone(),
            device: device.clone(),
        })
    }

    /// Training on several devices would slice the loader; a plan of optimizer steps cannot be sliced.
    ///
    /// # Panics
    ///
    /// Always.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<O>> {
        panic!("a StepLoader is a sequence of optimizer steps and cannot be sliced across devices");
    }
}

/// A burn-train data loader that yields all samples in their own order on every pass: for validation.
pub struct SequentialLoader<O> {
    batcher: Arc<dyn StepBatcher<O>>,
    batch_size: usize,
    device: Device,
}

impl<O> SequentialLoader<O> {
    /// A loader of batches of `batch_size` samples.
    pub fn new(batcher: Arc<dyn StepBatcher<O>>, batch_size: usize, device: &Device) -> Self {
        Self { batcher, batch_size: batch_size.max(1), device: device.clone() }
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
        Box::new(StepIterator {
            batcher: self.batcher.as_ref(),
            steps,
            device: self.device.clone(),
            done: 0,
            total: self.num_batches(),
        })
    }

    fn num_items(&self) -> usize {
        self.num_batches()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self { batcher: self.batcher.clone(), batch_size: self.batch_size, device: device.clone() })
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

struct StepIterator<'a, O, S> {
    batcher: &'a dyn StepBatcher<O>,
    steps: S,
    device: Device,
    done: usize,
    total: usize,
}

impl<O, S: Iterator<Item = Step>> Iterator for StepIterator<'_, O, S> {
    type Item = std::result::Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.steps.next()?;
        self.done += 1;
        Some(self.batcher.batch(&step, &self.device).map_err(DatasetError::new))
    }
}

impl<O, S: Iterator<Item = Step>> DataLoaderIterator<O> for StepIterator<'_, O, S> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("steps".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Indices(usize);

    impl StepBatcher<(usize, Vec<usize>)> for Indices {
        fn num_items(&self) -> usize {
            self.0
        }

        fn batch(&self, step: &Step, _device: &Device) -> Result<(usize, Vec<usize>)> {
            Ok((step.index, step.items.clone()))
        }
    }

    fn passes(first_segment: usize) -> Vec<(usize, Vec<usize>)> {
        let plan = StepPlan::new(10, 3, 2, None, 5).unwrap();
        let loader = StepLoader::new(Arc::new(Indices(10)), plan, 3, first_segment, &Device::default());
        (first_segment..loader.num_segments())
            .flat_map(|_| loader.iter().map(|batch| batch.unwrap()).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn segments_in_a_row_are_the_whole_run() {
        let plan = StepPlan::new(10, 3, 2, None, 5).unwrap();
        let all: Vec<_> = (0..plan.steps()).map(|i| (i, plan.step(i).items)).collect();
        assert_eq!(passes(0), all);
    }

    #[test]
    fn a_later_start_continues_where_the_earlier_run_stood() {
        assert_eq!(passes(1), passes(0)[3..]);
    }

    #[test]
    fn the_device_twin_shares_the_position() {
        let plan = StepPlan::new(10, 3, 2, None, 5).unwrap();
        let loader = StepLoader::new(Arc::new(Indices(10)), plan, 3, 0, &Device::default());
        let twin = loader.to_device(&Device::default());
        let first = loader.iter().next().unwrap().unwrap().0;
        let second = twin.iter().next().unwrap().unwrap().0;
        assert_eq!((first, second), (0, 3));
    }

    #[test]
    fn validation_yields_every_sample_in_order() {
        let loader = SequentialLoader::new(Arc::new(Indices(7)), 3, &Device::default());
        let items: Vec<usize> = loader.iter().flat_map(|batch| batch.unwrap().1).collect();
        assert_eq!(items, (0..7).collect::<Vec<_>>());
    }
}
