use std::any::Any;
use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;

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
    layers: Vec<Option<(Tensor<4>, Tensor<4>)>>,
    state: Option<Arc<dyn Any + Send + Sync>>,
    /// The positions that went into the state.
    positions: usize,
}

impl KvCache {
    /// Creates an empty cache, for any number of layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of positions in the cache.
    pub fn len(&self) -> usize {
        match self.state {
            Some(_) => self.positions,
            None => self.layers.first().and_then(Option::as_ref).map_or(0, |(key, _)| key.dims()[2]),
        }
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

    /// Appends the keys and values of new positions to those of a layer, and returns all of them.
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
        let slot = &mut self.layers[layer];
        let joined = match slot.take() {
            Some((keys, values)) => (Tensor::cat(vec![keys, key], 2), Tensor::cat(vec![values, value], 2)),
            None => (key, value),
        };
        *slot = Some(joined.clone());
        joined
    }
}

impl fmt::Debug for KvCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvCache")
            .field("len", &self.len())
            .field("layers", &self.layers.len())
            .field("state", &self.state.is_some())
            .finish()
    }
}
