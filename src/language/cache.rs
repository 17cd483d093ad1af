use std::any::Any;
use std::fmt;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};

/// What a language model keeps of the positions that it has seen: keys and values layer by layer, or a state of its own.
///
/// [`generate`](super::generate) makes one for a sequence and gives it to
/// [`LanguageModel::forward`](super::LanguageModel::forward), whose attention layers append to it. A recurrent model
/// replaces its [`state`](Self::state) instead.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::language::KvCache;
///
/// let device = Device::default();
/// let mut cache = KvCache::new();
/// for time in [5, 1] {
///     // What the first layer computed for `time` new positions: a batch of 1, 2 heads of 8.
///     let [key, value] = [(); 2].map(|()| Tensor::<4>::zeros([1, 2, time, 8], &device));
///     let (keys, values) = cache.append(0, key, value);
///     assert_eq!((keys.dims(), values.dims()), ([1, 2, cache.len(), 8], [1, 2, cache.len(), 8]));
/// }
/// assert_eq!(cache.len(), 6);
/// ```
#[derive(Clone, Default)]
pub struct KvCache {
    layers: Vec<Option<Layer>>,
    state: Option<Arc<dyn Any + Send + Sync>>,
    /// The positions that went into the state.
    positions: usize,
    /// The positions that the first buffers have room for.
    capacity: usize,
    /// For each sequence, the positions at its beginning that are none of it; none where all begin together.
    padding: Vec<usize>,
}

/// Keys and values of a layer in buffers, `[batch, kv_heads, capacity, head_dim]`, of which the first `len` positions are
/// in use.
#[derive(Clone)]
struct Layer {
    keys: Tensor<4>,
    values: Tensor<4>,
    len: usize,
}

/// The smallest buffer, in positions.
const SMALLEST: usize = 64;

impl KvCache {
    /// Creates an empty cache, for any number of layers and positions: its buffers grow to double their size where they are
    /// full.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty cache with room for this number of positions, so that its buffers need not grow until then.
    pub fn with_capacity(positions: usize) -> Self {
        Self { capacity: positions, ..Self::default() }
    }

    /// The number of positions in the cache, with those before the beginning of a sequence (see [`padding`](Self::padding)).
    pub fn len(&self) -> usize {
        match self.state {
            Some(_) => self.positions,
            None => self.layers.first().and_then(Option::as_ref).map_or(0, |layer| layer.len),
        }
    }

    /// For each sequence of the batch, how many positions of the cache lie before its beginning: sequences of unlike lengths
    /// end together. Nothing attends to these, and the first position behind them is the sequence's position 0. Empty where
    /// all sequences have the length of the cache.
    pub fn padding(&self) -> &[usize] {
        &self.padding
    }

    /// The state that was set last, of whatever type the model keeps; `None` at the beginning of a sequence.
    ///
    /// # Panics
    ///
    /// Panics if the state is of another type than the one that was set.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_revision::language::KvCache;
    ///
    /// let mut cache = KvCache::new();
    /// assert!(cache.state::<Tensor<2>>().is_none());
    /// cache.set_state(Tensor::<2>::ones([1, 4], &Device::default()), 5);
    /// assert_eq!((cache.state::<Tensor<2>>().unwrap().dims(), cache.len()), ([1, 4], 5));
    /// ```
    pub fn state<S: Any + Clone>(&self) -> Option<S> {
        let state = self.state.as_ref()?.downcast_ref::<S>();
        Some(state.expect("the state of a cache has the type that was set").clone())
    }

    /// Replaces the state by that after `time` more positions.
    pub fn set_state<S: Any + Send + Sync>(&mut self, state: S, time: usize) {
        self.state = Some(Arc::new(state));
        self.positions += time;
    }

    /// Whether the cache holds no position.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the keys and values of new positions to those of a layer, and returns all of them: views of the buffers that
    /// the cache holds. The new ones are written in place, provided that the views of the last call have been dropped.
    ///
    /// # Shapes
    ///
    /// - key, value: `[batch, kv_heads, time, head_dim]`
    /// - output: `[batch, kv_heads, seen, head_dim]` each, the last `time` of the `seen` positions being the new ones
    ///
    /// # Panics
    ///
    /// Panics if the new keys or values differ from those of the layer in another size than `time`.
    pub fn append(&mut self, layer: usize, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let [_, _, time, _] = key.dims();
        let slot = &mut self.layers[layer];
        let layer = match slot.take() {
            Some(layer) => layer.with_room(time),
            None => Layer::new(&key, &value, self.capacity),
        };
        let layer = slot.insert(layer.append(key, value));
        (layer.keys.clone().narrow(2, 0, layer.len), layer.values.clone().narrow(2, 0, layer.len))
    }

    /// Keeps these sequences of the batch, in this order, and gives up positions that lie before the beginning of all.
    pub(super) fn select(&mut self, rows: &[usize]) {
        if !self.padding.is_empty() {
            self.padding = rows.iter().map(|row| self.padding[*row]).collect();
        }
        let unused = self.padding.iter().copied().min().unwrap_or(0);
        self.padding.iter_mut().for_each(|padding| *padding -= unused);
        if self.padding.iter().all(|padding| *padding == 0) {
            self.padding.clear();
        }
        for layer in self.layers.iter_mut().flatten() {
            let len = layer.len - unused;
            let [rest, room] = [len, len.next_power_of_two().max(SMALLEST)];
            let indices = rows.iter().map(|row| *row as i64).collect();
            let indices = TensorData::new(indices, [rows.len()]);
            let indices = Tensor::<1, Int>::from_data(indices, &layer.keys.device());
            let kept = |buffer: &Tensor<4>| {
                with_room(buffer.clone().narrow(2, unused, rest).select(0, indices.clone()), room)
            };
            *layer = Layer { keys: kept(&layer.keys), values: kept(&layer.values), len };
        }
    }

    /// Appends the sequences of another cache to the batch. The shorter of both gets padding.
    pub(super) fn join(&mut self, other: Self) {
        let len = self.len().max(other.len());
        let room = (len + 1).next_power_of_two().max(SMALLEST).max(self.capacity.min(2 * len));
        let paddings = [&*self, &other].map(|cache| {
            let shift = len - cache.len();
            let own = cache.padding.iter().copied().chain(std::iter::repeat(0));
            own.map(|padding| padding + shift).take(cache.batch()).collect::<Vec<_>>()
        });
        self.padding = paddings.concat();
        if self.padding.iter().all(|padding| *padding == 0) {
            self.padding.clear();
        }
        for (layer, other) in self.layers.iter_mut().zip(other.layers) {
            let (Some(ours), Some(theirs)) = (layer.take(), other) else { continue };
            let joined = |ours: (Tensor<4>, usize), theirs: (Tensor<4>, usize)| {
                let placed = [ours, theirs].map(|(buffer, used)| {
                    let [batch, heads, _, dim] = buffer.dims();
                    let empty = Tensor::zeros([batch, heads, room, dim], (&buffer.device(), buffer.dtype()));
                    let used_part = buffer.narrow(2, 0, used);
                    empty.slice_assign([0..batch, 0..heads, len - used..len, 0..dim], used_part)
                });
                Tensor::cat(placed.to_vec(), 0)
            };
            *layer = Some(Layer {
                keys: joined((ours.keys, ours.len), (theirs.keys, theirs.len)),
                values: joined((ours.values, ours.len), (theirs.values, theirs.len)),
                len,
            });
        }
    }

    /// The sequences in the cache.
    fn batch(&self) -> usize {
        self.layers.iter().flatten().next().map_or(0, |layer| layer.keys.dims()[0])
    }
}

impl Layer {
    /// Empty buffers for sequences like these.
    fn new(key: &Tensor<4>, value: &Tensor<4>, capacity: usize) -> Self {
        let room = capacity.max(key.dims()[2]).max(SMALLEST);
        let buffer = |like: &Tensor<4>| {
            let [batch, heads, _, dim] = like.dims();
            Tensor::zeros([batch, heads, room, dim], (&like.device(), like.dtype()))
        };
        Self { keys: buffer(key), values: buffer(value), len: 0 }
    }

    /// The same with room for more positions.
    fn with_room(self, time: usize) -> Self {
        let (len, needed) = (self.len, self.len + time);
        let room = self.keys.dims()[2];
        if needed <= room {
            return self;
        }
        let room = needed.max(2 * room);
        let grown = |buffer: Tensor<4>| with_room(buffer.narrow(2, 0, len), room);
        Self { keys: grown(self.keys), values: grown(self.values), len }
    }

    fn append(self, key: Tensor<4>, value: Tensor<4>) -> Self {
        let [_, _, time, _] = key.dims();
        let len = self.len + time;
        let written = |buffer: Tensor<4>, new: Tensor<4>| {
            let [batch, heads, _, dim] = buffer.dims();
            let [new_batch, new_heads, _, new_dim] = new.dims();
            let (expected, found) = ([batch, heads, dim], [new_batch, new_heads, new_dim]);
            assert!(expected == found, "keys and values of the cache are {expected:?}, found {found:?}");
            buffer.slice_assign([0..batch, 0..heads, len - time..len, 0..dim], new)
        };
        Self { keys: written(self.keys, key), values: written(self.values, value), len }
    }
}

/// A buffer of `room` positions that begins with these.
fn with_room(positions: Tensor<4>, room: usize) -> Tensor<4> {
    let [batch, heads, len, dim] = positions.dims();
    let buffer = Tensor::zeros([batch, heads, room, dim], (&positions.device(), positions.dtype()));
    buffer.slice_assign([0..batch, 0..heads, 0..len, 0..dim], positions)
}

impl fmt::Debug for KvCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvCache")
            .field("len", &self.len())
            .field("layers", &self.layers.len())
            .field("state", &self.state.is_some())
            .field("padding", &self.padding)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    fn random(batch: usize, time: usize) -> Tensor<4> {
        Tensor::random([batch, 2, time, 4], Distribution::Normal(0.0, 1.0), &Device::default())
    }

    #[track_caller]
    fn assert_same(a: Tensor<4>, b: Tensor<4>) {
        assert_eq!(a.into_data(), b.into_data());
    }

    /// Past the first buffer and the one after, whatever room there was in the beginning.
    #[test]
    fn growing_buffers_hold_what_was_appended() {
        for capacity in [0, 1, 70, 500] {
            let mut cache = KvCache::with_capacity(capacity);
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for time in [3, 60, 1, 1, 80, 1, 200] {
                let (key, value) = (random(2, time), random(2, time));
                let (all_keys, all_values) = cache.append(0, key.clone(), value.clone());
                keys.push(key);
                values.push(value);
                assert_same(all_keys, Tensor::cat(keys.clone(), 2));
                assert_same(all_values, Tensor::cat(values.clone(), 2));
            }
            assert_eq!(cache.len(), 346);
        }
    }

    #[test]
    #[should_panic(expected = "found [3, 2, 4]")]
    fn another_batch_is_refused() {
        let mut cache = KvCache::new();
        cache.append(0, random(2, 1), random(2, 1));
        cache.append(0, random(3, 1), random(3, 1));
    }

    /// The positions of a sequence, without its padding.
    fn sequence(cache: &KvCache, row: usize) -> Tensor<4> {
        let layer = cache.layers[0].as_ref().unwrap();
        let padding = cache.padding.get(row).copied().unwrap_or(0);
        layer.keys.clone().narrow(0, row, 1).narrow(2, padding, layer.len - padding)
    }

    #[test]
    fn sequences_of_unlike_lengths_join_and_leave() {
        let parts = [3, 70, 5, 70].map(|time| random(1, time));
        let mut cache = KvCache::new();
        for (count, part) in parts.iter().enumerate() {
            let mut other = KvCache::new();
            other.append(0, part.clone(), part.clone());
            if count == 0 { cache = other } else { cache.join(other) }
        }
        assert_eq!((cache.len(), cache.padding()), (70, &[67, 0, 65, 0][..]));
        parts.iter().enumerate().for_each(|(row, part)| assert_same(sequence(&cache, row), part.clone()));
        let new = random(4, 1);
        cache.append(0, new.clone(), new.clone());
        cache.select(&[2, 0]);
        assert_eq!((cache.len(), cache.padding()), (6, &[0, 2][..]));
        for (row, from) in [2, 0].into_iter().enumerate() {
            let expected = Tensor::cat(vec![parts[from].clone(), new.clone().narrow(0, from, 1)], 2);
            assert_same(sequence(&cache, row), expected);
        }
    }
}
