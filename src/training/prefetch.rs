use std::sync::Arc;

use burn::tensor::Device;

use super::worker::{Pending, Worker};
use super::{Step, StepBatcher};
use crate::Result;

/// The inputs of steps with the indices of the steps, in order: each is made by a [`Worker`] while the one before is used,
/// and none further ahead.
pub(super) struct Prefetch<O, S> {
    worker: Arc<Worker>,
    batcher: Arc<dyn StepBatcher<O>>,
    steps: S,
    device: Device,
    is_begun: bool,
    ahead: Option<Pending<(usize, Result<O>)>>,
}

impl<O: Send + 'static, S: Iterator<Item = Step>> Prefetch<O, S> {
    /// The inputs that `batcher` makes of `steps` on `device`. Nothing is made before the first is asked for.
    pub fn new(worker: &Arc<Worker>, batcher: &Arc<dyn StepBatcher<O>>, steps: S, device: &Device) -> Self {
        let (worker, batcher, device) = (worker.clone(), batcher.clone(), device.clone());
        Self { worker, batcher, steps, device, is_begun: false, ahead: None }
    }

    fn begin_next(&mut self) {
        self.ahead = self.steps.next().map(|step| {
            let (batcher, device) = (self.batcher.clone(), self.device.clone());
            self.worker.start(move || (step.index, batcher.batch(&step, &device)))
        });
    }
}

impl<O: Send + 'static, S: Iterator<Item = Step>> Iterator for Prefetch<O, S> {
    type Item = (usize, Result<O>);

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.begin_next();
        }
        let batch = self.ahead.take()?.wait();
        self.begin_next();
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::{self, ThreadId};

    use super::*;
    use crate::Error;

    /// Gives the thread that made an input, but for a step that fails and one that panics.
    #[derive(Default)]
    struct Threads {
        made: AtomicUsize,
        fails: Option<usize>,
        panics: Option<usize>,
    }

    impl StepBatcher<ThreadId> for Threads {
        fn num_items(&self) -> usize {
            usize::MAX
        }

        fn batch(&self, step: &Step, _: &Device) -> Result<ThreadId> {
            assert_ne!(Some(step.index), self.panics, "no such row");
            self.made.fetch_add(1, Ordering::SeqCst);
            if Some(step.index) == self.fails {
                return Err(Error::sample("s", "is broken"));
            }
            Ok(thread::current().id())
        }
    }

    fn ahead(threads: Threads) -> (Arc<Threads>, Prefetch<ThreadId, impl Iterator<Item = Step>>) {
        let threads = Arc::new(threads);
        let batcher: Arc<dyn StepBatcher<ThreadId>> = threads.clone();
        let steps = (3..9).map(|index| Step { index, epoch: 0, items: vec![index] });
        (threads, Prefetch::new(&Arc::new(Worker::new("batches")), &batcher, steps, &Device::default()))
    }

    #[test]
    fn inputs_come_in_order_from_another_thread_and_at_most_one_is_made_ahead() {
        let (threads, mut batches) = ahead(Threads::default());
        assert_eq!(threads.made.load(Ordering::SeqCst), 0);
        for index in 3..9 {
            let (step, thread) = batches.next().unwrap();
            assert_eq!(step, index);
            assert_ne!(thread.unwrap(), thread::current().id());
            let used = index - 2;
            // What is ahead is made without anyone asking for it.
            while threads.made.load(Ordering::SeqCst) < (used + 1).min(6) {
                thread::yield_now();
            }
            thread::sleep(std::time::Duration::from_millis(1));
            assert_eq!(threads.made.load(Ordering::SeqCst), (used + 1).min(6));
        }
        assert!(batches.next().is_none() && batches.next().is_none());
    }

    #[test]
    fn an_error_comes_at_its_step_and_not_before() {
        let (_, batches) = ahead(Threads { fails: Some(5), ..Threads::default() });
        let good: Vec<_> = batches.map(|(step, batch)| (step, batch.is_ok())).collect();
        assert_eq!(good, (3..9).map(|step| (step, step != 5)).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_comes_at_its_step_and_not_before() {
        let (_, mut batches) = ahead(Threads { panics: Some(4), ..Threads::default() });
        assert!(batches.next().unwrap().1.is_ok());
        let panic = catch_unwind(AssertUnwindSafe(|| batches.next())).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("no such row"));
    }
}
