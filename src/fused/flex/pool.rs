//! Work on the pool of threads that flex computes with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;

/// Threads that are kept awake besides the one that works: small operations have no more parts.
const HELPERS: usize = 15;

/// How long a thread stays awake without work: longer than what lies between two operations of a token.
const IDLE: Duration = Duration::from_millis(1);

/// Whether threads are kept awake now.
static AWAKE: AtomicBool = AtomicBool::new(false);

/// Does work on a thread of the pool that flex computes with, where the device is flex's: there it takes part in every
/// operation, while a call from elsewhere wakes the threads of the pool and waits until one of them wakes it.
///
/// What waits for other threads' operations does not belong here: it would keep one of them.
pub(crate) fn in_pool<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    match is_flex(device) {
        true => rayon::scope(|_| work()),
        false => work(),
    }
}

/// [`in_pool`] for work of many small operations, such as a token: the other threads stay awake between them.
///
/// A thread that finds no work sleeps, and to wake it takes as long as a small operation does.
pub(crate) fn in_awake_pool<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    if !is_flex(device) {
        return work();
    }
    rayon::scope(|_| {
        // Once at a time: what keeps threads awake then serves all.
        if AWAKE.swap(true, Ordering::Relaxed) {
            return work();
        }
        let ended = Arc::new(AtomicBool::new(false));
        let _end = End(ended.clone());
        let own = rayon::current_thread_index();
        // Nobody waits for it: a thread may come to it late, or while it is in the middle of this work.
        rayon::spawn_broadcast(move |thread| {
            if Some(thread.index()) != own && thread.index() <= HELPERS {
                stay_awake(&ended);
            }
        });
        work()
    })
}

/// Does what others have to do, until it has ended or there was nothing for as long as [`IDLE`].
///
/// A thread that waits for a part of some work comes here too, and the work cannot end before that thread goes on.
fn stay_awake(ended: &AtomicBool) {
    let mut busy = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            busy = Instant::now();
        } else if busy.elapsed() > IDLE {
            break;
        } else {
            std::thread::yield_now();
        }
    }
}

fn is_flex(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// Lets threads sleep again, where the work panics too.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        AWAKE.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    use rayon::prelude::*;

    /// Work of small parts, some of which have parts.
    fn sum(n: u64) -> u64 {
        (0..n).into_par_iter().map(|i| (0..i % 7).into_par_iter().sum::<u64>()).sum()
    }

    #[test]
    fn work_in_the_pool_is_done_there_and_its_panic_is_its_callers() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            assert!(in_pool(&device, || rayon::current_thread_index().is_some()));
            assert!(in_awake_pool(&device, || rayon::current_thread_index().is_some()));
            // Within the pool it stays where it is.
            let within = || rayon::current_thread_index();
            assert!(in_pool(&device, || within() == in_pool(&device, within)));
            assert!(in_awake_pool(&device, || within() == in_awake_pool(&device, within)));
            let panic = std::panic::catch_unwind(|| in_pool(&device, || panic!("of the work")));
            assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"of the work"));
            let panic = std::panic::catch_unwind(|| in_awake_pool(&device, || panic!("of the work")));
            assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"of the work"));
        }
    }

    /// Waits without doing anything else.
    fn wait_for(flag: &AtomicBool) {
        let begin = Instant::now();
        while !flag.load(Ordering::Relaxed) {
            assert!(begin.elapsed() < Duration::from_secs(60), "it never came");
            thread::yield_now();
        }
    }

    /// The other thread comes to what keeps it awake in the middle of a part that the work waits for.
    #[test]
    fn a_thread_that_is_kept_awake_still_ends_what_it_had_begun() {
        let device = &Device::flex();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for _ in 0..20 {
            let (part, work, ended) = Default::default();
            let part_has_begun: &AtomicBool = &part;
            let (work_has_begun, part_has_ended): (&AtomicBool, &AtomicBool) = (&work, &ended);
            let own = || {
                wait_for(part_has_begun);
                in_awake_pool(device, || {
                    work_has_begun.store(true, Ordering::Relaxed);
                    wait_for(part_has_ended);
                });
            };
            let others = || {
                part_has_begun.store(true, Ordering::Relaxed);
                wait_for(work_has_begun);
                while rayon::yield_now() == Some(rayon::Yield::Executed) {}
                part_has_ended.store(true, Ordering::Relaxed);
            };
            pool.install(|| rayon::join(own, others));
        }
    }

    /// Callers inside and outside of pools of several sizes, at the same time, one within another, and some that panic.
    #[test]
    fn callers_that_keep_threads_awake_do_not_wait_for_each_other() {
        let device = &Device::flex();
        let expected = sum(500);
        let call = |round: usize| {
            if round % 10 == 9 {
                assert!(
                    std::panic::catch_unwind(|| in_awake_pool(device, || panic!("of the work"))).is_err()
                );
            }
            let found = in_awake_pool(device, || sum(500) + in_awake_pool(device, || sum(500)));
            assert_eq!(found, 2 * expected);
        };
        thread::scope(|scope| {
            for threads in [0, 0, 1, 2, 5, 40] {
                scope.spawn(move || match threads {
                    0 => (0..100).for_each(call),
                    _ => {
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        pool.install(|| (0..100).for_each(call));
                    }
                });
            }
        });
        // Nobody has it for ever; other tests may have it now.
        let begin = Instant::now();
        while AWAKE.load(Ordering::Relaxed) {
            assert!(begin.elapsed() < Duration::from_secs(60), "threads stay awake");
            thread::yield_now();
        }
    }
}
