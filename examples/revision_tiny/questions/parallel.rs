//! Independent trainings side by side: networks as small as these do not keep several cores busy.
//!
//! On a CPU only; another device has one queue of work. Initial weights are drawn from one generator of the device, so that
//! nothing here may draw beside something else that does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use burn::tensor::Device;
use burn_revision::Result;
use burn_revision::device::is_cpu;

/// What both find.
pub fn join<A: Send, B>(
    device: &Device,
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    if !is_cpu(device) {
        return Ok((first()?, second()?));
    }
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        let first = first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((first?, second?))
    })
}

/// What `work` finds for each item, in their order.
pub fn map<T: Sync, R: Send>(
    device: &Device,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let cores = if is_cpu(device) { thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    let next = AtomicUsize::new(0);
    let found: Vec<Mutex<Option<Result<R>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { break };
                    let result = work(item);
                    let failed = result.is_err();
                    *found[number].lock().expect("no thread panics with it") = Some(result);
                    if failed {
                        // The others need not begin.
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let found = found.into_iter().filter_map(|result| result.into_inner().expect("no thread panics with it"));
    // Without the error everything began.
    found.collect()
}
