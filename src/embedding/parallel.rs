//! Work on blocks of rows, spread over the processor's cores.
//!
//! The blocks are fixed by the caller and their results come back in order, so that what is computed from them
//! does not depend on the number of cores.

use std::sync::{Mutex, OnceLock};

fn workers() -> usize {
    static WORKERS: OnceLock<usize> = OnceLock::new();
    *WORKERS.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get()))
}

/// Applies `work` to every item and returns the results in the order of the items.
pub(crate) fn map<I, T, F>(items: I, work: F) -> Vec<T>
where
    I: ExactSizeIterator + Send,
    I::Item: Send,
    T: Send,
    F: Fn(I::Item) -> T + Sync,
{
    let workers = workers().min(items.len());
    if workers <= 1 {
        return items.map(work).collect();
    }
    let mut results: Vec<Option<T>> = (0..items.len()).map(|_| None).collect();
    let queue = Mutex::new(items.zip(results.iter_mut()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((item, slot)) = take(&queue) {
                    *slot = Some(work(item));
                }
            });
        }
    });
    drop(queue);
    results.into_iter().map(|result| result.expect("every item was worked on")).collect()
}

fn take<I: Iterator>(queue: &Mutex<I>) -> Option<I::Item> {
    queue.lock().expect("another worker panicked").next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_keep_the_order_of_the_items() {
        for n in [0, 1, 2, 1000] {
            let squares = super::map(0..n, |i| i * i);
            assert_eq!(squares, (0..n).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn items_may_be_mutable_slices() {
        let mut values = vec![0_usize; 100];
        super::map(values.chunks_mut(7).enumerate(), |(block, chunk)| chunk.fill(block));
        assert!(values.iter().enumerate().all(|(i, v)| *v == i / 7));
    }
}
