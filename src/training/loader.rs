use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use burn::train::Interrupter;

use super::journal::StepJournal;
use super::prefetch::Prefetch;
use super::worker::Worker;
use super::{Step, StepBatcher, StepPlan, StopRequest};

/// A burn-train data loader over a [`StepPlan`]: each call of `iter` yields the next *segment* of the run, the optimizer
/// steps between two checkpoints.
///
/// burn-train evaluates and writes a checkpoint after each pass over its loader; a pass over this loader is a segment of
/// `segment_steps` steps, so that checkpoints come after a number of steps. Starting at a later step resumes a run
/// exactly. A [`StopRequest`] ends a segment early: its checkpoint is written, and the next pass stops the run. Within a
/// segment, a step's input is made while the step before is taken.
pub(crate) struct StepLoader<O> {
    batcher: Arc<dyn StepBatcher<O>>,
    plan: StepPlan,
    segment_steps: usize,
    device: Device,
    worker: Arc<Worker>,
    state: Arc<State>,
}

/// The position in the run, shared by a loader and its clones on other devices.
struct State {
    next_step: AtomicUsize,
    /// The checkpoint at the end of the current segment, counted from one as burn-train does.
    checkpoint: AtomicUsize,
    journal: Mutex<Option<StepJournal>>,
    stop: StopRequest,
    interrupter: Interrupter,
}

impl<O> StepLoader<O> {
    /// A loader over `plan`, from its first step on, in segments of `segment_steps`.
    pub fn new(
        batcher: Arc<dyn StepBatcher<O>>,
        plan: StepPlan,
        segment_steps: usize,
        device: &Device,
    ) -> Self {
        let state = State {
            next_step: AtomicUsize::new(0),
            checkpoint: AtomicUsize::new(0),
            journal: Mutex::new(None),
            stop: StopRequest::new(),
            interrupter: Interrupter::new(),
        };
        Self {
            batcher,
            plan,
            segment_steps: segment_steps.max(1),
            device: device.clone(),
            worker: Arc::new(Worker::new("batches")),
            state: Arc::new(state),
        }
    }

    /// Goes on at step `first_step`, after `checkpoint` checkpoints.
    pub fn starting_at(self, first_step: usize, checkpoint: usize) -> Self {
        self.state.next_step.store(first_step, Ordering::SeqCst);
        self.state.checkpoint.store(checkpoint, Ordering::SeqCst);
        self
    }

    /// Ends a segment early once `stop` is requested, and then stops `interrupter`'s run.
    pub fn with_stop(mut self, stop: StopRequest, interrupter: Interrupter) -> Self {
        let state = Arc::get_mut(&mut self.state).expect("a loader that is being built is not shared");
        (state.stop, state.interrupter) = (stop, interrupter);
        self
    }

    /// Records in `journal` after how many steps each checkpoint is written.
    pub fn with_journal(self, journal: StepJournal) -> Self {
        *self.state.journal.lock().expect("no thread panicked") = Some(journal);
        self
    }

    /// The number of the run's last checkpoint, unless the run is stopped earlier.
    pub fn last_checkpoint(&self) -> usize {
        let next = self.next_step();
        let whole = self.plan.steps().div_ceil(self.segment_steps);
        let left = if next < self.plan.steps() { whole - next / self.segment_steps } else { 0 };
        self.state.checkpoint.load(Ordering::SeqCst) + left
    }

    /// The number of optimizer steps of the run.
    pub fn steps(&self) -> usize {
        self.plan.steps()
    }

    /// The index of the next step.
    pub fn next_step(&self) -> usize {
        self.state.next_step.load(Ordering::SeqCst)
    }

    /// A loader on `device` that shares the position in the run.
    fn on_device(&self, device: &Device) -> Self {
        Self {
            batcher: self.batcher.clone(),
            plan: self.plan.clone(),
            segment_steps: self.segment_steps,
            device: device.clone(),
            worker: self.worker.clone(),
            state: self.state.clone(),
        }
    }

    /// A clone, to read the position from while burn-train owns the loader.
    pub fn observer(&self) -> Self {
        self.on_device(&self.device)
    }
}

/// The steps of a segment, up to a request to stop.
struct Segment<'a, O, S> {
    loader: &'a StepLoader<O>,
    batches: Prefetch<O, S>,
    start: usize,
    done: usize,
    total: usize,
    ended: bool,
}

impl<O: Send + 'static, S: Iterator<Item = Step>> Iterator for Segment<'_, O, S> {
    type Item = std::result::Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let state = &self.loader.state;
        let stopped = self.done > 0 && state.stop.is_requested();
        let next = if stopped || self.ended { None } else { self.batches.next() };
        let Some((step, batch)) = next else {
            if !std::mem::replace(&mut self.ended, true)
                && self.done > 0
                && let Some(journal) = state.journal.lock().expect("no thread panicked").as_mut()
                && let Err(error) =
                    journal.record(state.checkpoint.load(Ordering::SeqCst), self.start + self.done)
            {
                return Some(Err(DatasetError::new(error)));
            }
            return None;
        };
        self.done += 1;
        state.next_step.store(step + 1, Ordering::SeqCst);
        Some(batch.map_err(DatasetError::new))
    }
}

impl<O: Send + 'static, S: Iterator<Item = Step>> DataLoaderIterator<O> for Segment<'_, O, S> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("steps".to_string()))
    }
}

impl<O: Send + 'static> DataLoader<O> for StepLoader<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let start = self.next_step();
        let mut end = ((start / self.segment_steps + 1) * self.segment_steps).min(self.plan.steps());
        if self.state.stop.is_requested() {
            self.state.interrupter.stop(Some("stopped on request"));
            end = start;
        } else {
            self.state.checkpoint.fetch_add(1, Ordering::SeqCst);
        }
        let steps = self.plan.range(start..end.max(start));
        Box::new(Segment {
            loader: self,
            batches: Prefetch::new(&self.worker, &self.batcher, steps, &self.device),
            start,
            done: 0,
            total: end.saturating_sub(start),
            ended: false,
        })
    }

    /// The number of optimizer steps in a segment.
    fn num_items(&self) -> usize {
        self.segment_steps
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.on_device(device))
    }

    /// A sequence of optimizer steps has no parts that could be taken at the same time: several devices share each step, by
    /// its micro-batches.
    ///
    /// # Panics
    ///
    /// Always.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<O>> {
        panic!("optimizer steps follow one another: devices share each of them, and not their sequence");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;

    struct Indices(usize);

    impl StepBatcher<(usize, Vec<usize>)> for Indices {
        fn num_items(&self) -> usize {
            self.0
        }

        fn batch(&self, step: &Step, _device: &Device) -> Result<(usize, Vec<usize>)> {
            Ok((step.index, step.items.clone()))
        }
    }

    fn loader(first_step: usize) -> StepLoader<(usize, Vec<usize>)> {
        let plan = StepPlan::new(10, 3, 2, None, 5).unwrap();
        StepLoader::new(Arc::new(Indices(10)), plan, 3, &Device::default())
            .starting_at(first_step, first_step.div_ceil(3))
    }

    fn pass(loader: &StepLoader<(usize, Vec<usize>)>) -> Vec<(usize, Vec<usize>)> {
        loader.iter().map(|batch| batch.unwrap()).collect()
    }

    /// All segments of a run, from its first step here.
    fn passes(first_step: usize) -> Vec<Vec<(usize, Vec<usize>)>> {
        let loader = loader(first_step);
        let first = first_step.div_ceil(3);
        (first..loader.last_checkpoint()).map(|_| pass(&loader)).collect()
    }

    #[test]
    fn segments_in_a_row_are_the_whole_run() {
        let plan = StepPlan::new(10, 3, 2, None, 5).unwrap();
        let all: Vec<_> = plan.range(0..plan.steps()).map(|step| (step.index, step.items)).collect();
        assert_eq!(passes(0).concat(), all);
        assert_eq!(passes(0).iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2]);
    }

    #[test]
    fn a_later_start_continues_and_keeps_the_cadence() {
        for first_step in 0..8 {
            let later = passes(first_step);
            assert_eq!(later.concat(), passes(0).concat()[first_step..]);
            assert_eq!(later.len(), 3 - first_step / 3);
        }
        assert!(passes(8).is_empty());
    }

    #[test]
    fn a_stop_ends_the_segment_and_then_the_run() {
        let (stop, interrupter) = (StopRequest::new(), Interrupter::new());
        let folder = tempfile::tempdir().unwrap();
        let loader = loader(0)
            .with_stop(stop.clone(), interrupter.clone())
            .with_journal(StepJournal::open(folder.path()).unwrap());
        pass(&loader);
        let mut segment = loader.iter();
        segment.next().unwrap().unwrap();
        stop.request();
        assert!(segment.next().is_none() && !interrupter.should_stop());
        drop(segment);
        assert!(pass(&loader).is_empty() && interrupter.should_stop());
        let journal = StepJournal::open(folder.path()).unwrap();
        assert_eq!((journal.steps(1).unwrap(), journal.steps(2).unwrap()), (3, 4));
        assert_eq!(loader.next_step(), 4);
    }

    #[test]
    fn a_clone_on_another_device_shares_the_position() {
        let loader = loader(0);
        let clone = loader.to_device(&Device::default());
        let first = loader.iter().next().unwrap().unwrap().0;
        let second = clone.iter().next().unwrap().unwrap().0;
        assert_eq!((first, second), (0, 1));
    }
}
