//! Work on pieces of a stream by several threads, with results that are taken in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::error::panic_message;
use crate::{Error, Result};

/// The number of threads that use this machine's cores.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

struct State<P, T, C> {
    produce: P,
    commit: C,
    /// The next piece to hand out, and the next one whose result is taken.
    produced: usize,
    committed: usize,
    waiting: BTreeMap<usize, Result<T>>,
    ended: bool,
    failure: Result<()>,
}

/// Runs on `threads` threads: `produce` hands out pieces, one thread at a time, until there is none; `work` turns a
/// piece into a result; `commit` takes the results in the order of the pieces, one thread at a time. Every thread has
/// buffers of its own, made by `buffers`, that are used again and again.
///
/// What `commit` sees does not depend on the number of threads, and neither does the error returned: the first one in
/// the order of the pieces; a panic is one. At most a few results for each thread wait for their turn, so memory is bounded.
pub(crate) fn run<W, I, T, P, F, C>(
    threads: usize,
    buffers: impl Fn() -> W + Sync,
    produce: P,
    work: F,
    commit: C,
) -> Result<()>
where
    T: Send,
    P: FnMut(&mut W) -> Result<Option<I>> + Send,
    F: Fn(&mut W, I) -> Result<T> + Sync,
    C: FnMut(T) -> Result<()> + Send,
{
    let threads = threads.max(1);
    let most_waiting = 4 * threads;
    let state = Mutex::new(State {
        produce,
        commit,
        produced: 0,
        committed: 0,
        waiting: BTreeMap::new(),
        ended: false,
        failure: Ok(()),
    });
    let progress = Condvar::new();
    let worker = || {
        let mut buffers = buffers();
        loop {
            let mut turn = lock(&state);
            while !turn.ended && turn.produced >= turn.committed + most_waiting {
                turn = progress.wait(turn).expect("another worker panicked");
            }
            if turn.ended {
                return;
            }
            let number = turn.produced;
            let result = match caught(|| (turn.produce)(&mut buffers)) {
                Ok(None) => {
                    turn.ended = true;
                    progress.notify_all();
                    return;
                }
                Ok(Some(piece)) => {
                    turn.produced += 1;
                    drop(turn);
                    caught(|| work(&mut buffers, piece))
                }
                Err(error) => {
                    turn.produced += 1;
                    turn.ended = true;
                    drop(turn);
                    Err(error)
                }
            };
            let mut turn = lock(&state);
            turn.waiting.insert(number, result);
            commit_in_order(&mut turn);
            progress.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(worker);
        }
        worker();
    });
    state.into_inner().expect("no worker panicked").failure
}

/// A panic as an error: the other threads, which wait for this one, then end as they do after any error.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(Error::Worker { detail: panic_message(payload.as_ref()) }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("another worker panicked")
}

/// Takes the results whose turn it is.
fn commit_in_order<P, T, C: FnMut(T) -> Result<()>>(state: &mut State<P, T, C>) {
    while state.failure.is_ok()
        && let Some(result) = state.waiting.remove(&state.committed)
    {
        state.committed += 1;
        let done = result.and_then(|value| caught(|| (state.commit)(value)));
        if done.is_err() {
            state.failure = done;
            state.ended = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn numbers(threads: usize, end: usize, fail: impl Fn(usize) -> bool + Sync) -> (Vec<usize>, Result<()>) {
        let (mut next, mut seen) = (0, Vec::new());
        let result = run(
            threads,
            || 0_usize,
            |_| {
                next += 1;
                Ok((next <= end).then_some(next - 1))
            },
            |done, number| {
                *done += 1;
                // Pieces take different times, so that they end out of order.
                std::thread::sleep(std::time::Duration::from_micros((number * 7 % 5) as u64 * 50));
                if fail(number) { Err(Error::config("number", number.to_string())) } else { Ok(number) }
            },
            |number| {
                seen.push(number);
                Ok(())
            },
        );
        (seen, result)
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        for threads in [1, 2, 7] {
            let (seen, result) = numbers(threads, 200, |_| false);
            result.unwrap();
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
            assert!(numbers(threads, 0, |_| false).0.is_empty());
        }
    }

    #[test]
    fn the_first_error_in_order_is_returned() {
        for threads in [1, 2, 7] {
            let (seen, result) = numbers(threads, 200, |number| number >= 100 && number % 3 == 0);
            assert_eq!(seen, (0..102).collect::<Vec<_>>());
            assert_eq!(result.unwrap_err().to_string(), "number: 102");
        }
    }

    #[test]
    fn an_error_of_the_source_comes_after_the_results_before_it() {
        let (mut next, mut sum) = (0, 0);
        let result = run(
            3,
            || (),
            |_| {
                next += 1;
                if next > 10 { Err(Error::config("source", "broken")) } else { Ok(Some(next)) }
            },
            |_, number| Ok(number),
            |number| {
                sum += number;
                Ok(())
            },
        );
        assert!(result.is_err());
        assert_eq!(sum, 55);
    }

    /// As where a device has too little memory. No other thread waits for the one that is gone.
    #[test]
    fn a_panic_ends_the_work_with_its_message() {
        for threads in [1, 2, 8] {
            for place in ["produce", "work", "commit"] {
                let panics = |at: &str, number: usize| {
                    assert!(at != place || number != 17, "no memory at {number}");
                };
                let mut next = 0;
                let result = run(
                    threads,
                    || (),
                    |()| {
                        next += 1;
                        panics("produce", next);
                        Ok((next <= 1000).then_some(next))
                    },
                    |(), number| {
                        panics("work", number);
                        Ok(number)
                    },
                    |number| {
                        panics("commit", number);
                        Ok(())
                    },
                );
                let error = result.unwrap_err();
                assert!(matches!(error, Error::Worker { .. }), "{threads} threads, {place}: {error}");
                assert!(error.to_string().contains("no memory at 17"), "{error}");
            }
        }
    }
}
