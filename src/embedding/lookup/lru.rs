use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use lru::LruCache;

/// A cache of the values that were used last, as many as their weights allow; for several threads.
///
/// Two threads that miss the same value at once both make it, and the later one stays.
pub(super) struct WeightedLru<K: Eq + Hash, V> {
    /// The weight of all values together that is not exceeded.
    capacity: usize,
    state: Mutex<State<K, V>>,
}

struct State<K: Eq + Hash, V> {
    /// Values with their weights.
    entries: LruCache<K, (Arc<V>, usize)>,
    /// The weight of all values together.
    weight: usize,
}

impl<K: Eq + Hash, V> WeightedLru<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::new(State { entries: LruCache::unbounded(), weight: 0 }) }
    }

    /// The value of a key, if it is in the cache.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.lock().entries.get(key).map(|(value, _)| Arc::clone(value))
    }

    /// Keeps a value, and drops those that were not used for the longest time. One that weighs more than the capacity
    /// is not kept.
    pub fn put(&self, key: K, value: Arc<V>, weight: usize) {
        let mut state = self.lock();
        if let Some((_, replaced)) = state.entries.pop(&key) {
            state.weight -= replaced;
        }
        if weight > self.capacity {
            return;
        }
        while state.weight + weight > self.capacity
            && let Some((_, (_, dropped))) = state.entries.pop_lru()
        {
            state.weight -= dropped;
        }
        state.entries.put(key, (value, weight));
        state.weight += weight;
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().expect("no thread panics while it holds the cache")
    }

    /// The weight of all values together.
    #[cfg(test)]
    pub fn weight(&self) -> usize {
        self.lock().weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_and_the_capacity_holds() {
        let cache = WeightedLru::new(10);
        for key in 0..3 {
            cache.put(key, Arc::new(key), 3);
        }
        assert_eq!(cache.get(&0).as_deref(), Some(&0));
        cache.put(3, Arc::new(3), 4);
        let there: Vec<i32> = (0..4).filter(|key| cache.get(key).is_some()).collect();
        assert_eq!((there, cache.weight()), (vec![0, 2, 3], 10));
        cache.put(4, Arc::new(4), 11);
        assert!(cache.get(&4).is_none() && cache.weight() == 10);
        cache.put(3, Arc::new(33), 1);
        assert_eq!((cache.get(&3).as_deref(), cache.weight()), (Some(&33), 7));
        cache.put(5, Arc::new(5), 10);
        assert_eq!(((0..4).filter_map(|key| cache.get(&key)).count(), cache.weight()), (0, 10));
    }
}
