use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after the other, for as long as there is its handle.
///
/// One thread for all jobs and not one for each: backends keep a queue of work for every thread that ever used them.
pub(crate) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread.
    pub fn new(name: &str) -> Self {
        let (jobs, queue) = channel::<Job>();
        let thread =
            thread::Builder::new().name(name.into()).spawn(move || queue.iter().for_each(|job| job()));
        Self { jobs: Some(jobs), thread: Some(thread.expect("the system has a thread for a worker")) }
    }

    /// Queues a job behind those before it.
    pub fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (answer, pending) = channel();
        // An answer that nobody waits for any more is dropped.
        let job = move || drop(answer.send(catch_unwind(AssertUnwindSafe(job))));
        let jobs = self.jobs.as_ref().expect("the queue is open until the worker is dropped");
        jobs.send(Box::new(job)).expect("the thread takes jobs until then");
        Pending(pending)
    }
}

impl Drop for Worker {
    /// Waits for the jobs that were queued.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Panics of jobs went to those who waited for them.
            let _ = thread.join();
        }
    }
}

/// The answer of a job.
pub(crate) struct Pending<T>(Receiver<thread::Result<T>>);

impl<T> Pending<T> {
    /// Waits for the answer.
    ///
    /// # Panics
    ///
    /// With what the job panicked.
    pub fn wait(self) -> T {
        match self.0.recv().expect("a worker answers all its jobs") {
            Ok(answer) => answer,
            Err(panic) => resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn jobs_are_done_in_order_on_one_other_thread() {
        let worker = Worker::new("worker");
        let done = Arc::new(AtomicUsize::new(0));
        let jobs: Vec<_> = (0..50)
            .map(|_| {
                let done = done.clone();
                worker.start(move || (done.fetch_add(1, Ordering::SeqCst), thread::current().id()))
            })
            .collect();
        let (orders, threads): (Vec<_>, Vec<_>) = jobs.into_iter().map(Pending::wait).unzip();
        assert_eq!(orders, (0..50).collect::<Vec<_>>());
        assert!(threads.iter().all(|id| *id == threads[0]) && threads[0] != thread::current().id());
    }

    #[test]
    fn a_panic_comes_out_where_its_answer_is_awaited_and_the_worker_goes_on() {
        let worker = Worker::new("worker");
        let (bad, good) = (worker.start(|| -> usize { panic!("no such row") }), worker.start(|| 7));
        let panic = catch_unwind(AssertUnwindSafe(|| bad.wait())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"no such row"));
        assert_eq!(good.wait(), 7);
    }

    #[test]
    fn what_was_queued_is_done_before_a_worker_is_gone() {
        let done = Arc::new(AtomicUsize::new(0));
        let worker = Worker::new("worker");
        for _ in 0..20 {
            let done = done.clone();
            drop(worker.start(move || done.fetch_add(1, Ordering::SeqCst)));
        }
        drop(worker);
        assert_eq!(done.load(Ordering::SeqCst), 20);
    }
}
