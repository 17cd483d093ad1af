use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// The values that were used last, for as many as their weights allow; for several threads.
///
/// Two threads that miss the same value at once both make it, and the later one stays.
pub(super) struct Recent<K, V> {
    /// The weight of all values together that is not exceeded.
    limit: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The keys by the time of their last use.
    by_age: BTreeMap<u64, K>,
    now: u64,
    weight: usize,
}

struct Entry<V> {
    value: Arc<V>,
    weight: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub fn new(limit: usize) -> Self {
        let state = State { entries: HashMap::new(), by_age: BTreeMap::new(), now: 0, weight: 0 };
        Self { limit, state: Mutex::new(state) }
    }

    /// The value of a key, if it is still there.
    pub fn get(&self, key: K) -> Option<Arc<V>> {
        let mut state = self.state.lock().expect("no thread panics with the values in its hands");
        let State { entries, by_age, now, .. } = &mut *state;
        let entry = entries.get_mut(&key)?;
        by_age.remove(&entry.used);
        *now += 1;
        entry.used = *now;
        by_age.insert(*now, key);
        Some(Arc::clone(&entry.value))
    }

    /// Keeps a value, and lets go of those that were not used for the longest time. One that weighs more than the
    /// limit is not kept.
    pub fn put(&self, key: K, value: Arc<V>, weight: usize) {
        let mut state = self.state.lock().expect("no thread panics with the values in its hands");
        state.remove(key);
        if weight > self.limit {
            return;
        }
        while state.weight + weight > self.limit {
            let (_, oldest) = state.by_age.pop_first().expect("what weighs something is there");
            state.remove(oldest);
        }
        state.now += 1;
        let used = state.now;
        state.by_age.insert(used, key);
        state.entries.insert(key, Entry { value, weight, used });
        state.weight += weight;
    }

    /// The weight of what is kept.
    #[cfg(test)]
    pub fn weight(&self) -> usize {
        self.state.lock().unwrap().weight
    }
}

impl<K: Copy + Eq + Hash, V> State<K, V> {
    fn remove(&mut self, key: K) {
        if let Some(entry) = self.entries.remove(&key) {
            self.by_age.remove(&entry.used);
            self.weight -= entry.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_and_the_limit_holds() {
        let recent = Recent::new(10);
        for key in 0..3 {
            recent.put(key, Arc::new(key), 3);
        }
        assert_eq!(recent.get(0).as_deref(), Some(&0));
        recent.put(3, Arc::new(3), 4);
        let there: Vec<i32> = (0..4).filter(|key| recent.get(*key).is_some()).collect();
        assert_eq!((there, recent.weight()), (vec![0, 2, 3], 10));
        recent.put(4, Arc::new(4), 11);
        assert!(recent.get(4).is_none() && recent.weight() == 10);
        recent.put(3, Arc::new(33), 1);
        assert_eq!((recent.get(3).as_deref(), recent.weight()), (Some(&33), 7));
        recent.put(5, Arc::new(5), 10);
        assert_eq!(((0..4).filter_map(|key| recent.get(key)).count(), recent.weight()), (0, 10));
    }
}
