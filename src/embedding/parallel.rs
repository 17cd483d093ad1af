//! Work on blocks of rows, spread over the processor's cores.
//!
//! The blocks are fixed by the caller and their results come back in order, so that what is computed from them
//! does not depend on the number of cores.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// Applies `work` to every item and returns the results in the order of the items.
///
/// # Panics
///
/// If `work` panics.
pub(crate) fn map<I, T>(items: I, work: impl Fn(I::Item) -> T + Sync) -> Vec<T>
where
    I: IntoIterator<Item: Send>,
    T: Send,
{
    let items: Vec<_> = items.into_iter().collect();
    // Items take different times: each is a task of its own.
    items.into_par_iter().with_max_len(1).map(&work).collect()
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

    #[test]
    #[should_panic(expected = "item 37")]
    fn a_panic_of_the_work_is_the_callers() {
        super::map(0..100, |i| assert!(i != 37, "item {i}"));
    }
}
