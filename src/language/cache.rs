use std::any::Any;
use std::fmt;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::LanguageModel;
use crate::{Error, Result};

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

/// Checks that a language model continues a sequence from its cache as it would without: with a cache that it ignores or
/// fills wrongly, a model trains well and writes nonsense. For the tests of an own [`LanguageModel`].
///
/// A sequence of tokens goes through the model at once, and in pieces with a cache; hidden states must agree to a
/// thousandth of the largest one.
///
/// # Errors
///
/// [`Error::Config`] with the first position that differs, or where the cache does not count the positions.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::language::{LlamaConfig, check_cache};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// check_cache(&LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?, &device)?;
/// # Ok(())
/// # }
/// ```
pub fn check_cache<L: LanguageModel>(model: &L, device: &Device) -> Result<()> {
    let time = 9.min(model.max_positions());
    let tokens = (0..time).map(|at| (at * 31 % model.vocab_size()) as i64).collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [1, time]), device);
    let embeddings = model.embed(tokens);
    let whole = model.forward(embeddings.clone(), None);
    let scale = whole.clone().abs().max().into_scalar::<f64>();
    let mut cache = KvCache::new();
    let mut first = 0;
    while first < time {
        // A prompt, then a token at a time, then some more at once.
        let length = [4, 1, 1, 3][[4, 5, 6].iter().filter(|end| first >= **end).count()].min(time - first);
        let piece = model.forward(embeddings.clone().narrow(1, first, length), Some(&mut cache));
        if cache.len() != first + length {
            let detail =
                format!("after {} positions, its cache holds {} of them", first + length, cache.len());
            return Err(Error::config("language model", detail));
        }
        for at in 0..length {
            let apart = piece.clone().narrow(1, at, 1) - whole.clone().narrow(1, first + at, 1);
            let apart = apart.abs().max().into_scalar::<f64>();
            // Also refuses NaN.
            let agrees = apart <= 1e-3 * scale;
            if !agrees {
                let detail = format!(
                    "at position {}, hidden states with and without a cache differ by {apart:.3e}, where the largest is \
                     {scale:.3e}",
                    first + at
                );
                return Err(Error::config("language model", detail));
            }
        }
        first += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::language::{LlamaConfig, LlamaDecoder};

    /// How a model may treat its cache.
    #[derive(Module, Debug)]
    struct Careless {
        model: LlamaDecoder,
        /// 0 forgets the cache, 1 fills it and forgets it in its answer, 2 is right.
        care: usize,
    }

    impl LanguageModel for Careless {
        fn width(&self) -> usize {
            self.model.width()
        }

        fn vocab_size(&self) -> usize {
            self.model.vocab_size()
        }

        fn max_positions(&self) -> usize {
            self.model.max_positions()
        }

        fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
            self.model.embed(tokens)
        }

        fn forward(&self, embeddings: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3> {
            match (self.care, cache) {
                (2, cache) => self.model.forward(embeddings, cache),
                (1, Some(cache)) => {
                    self.model.forward(embeddings.clone(), Some(cache));
                    self.model.forward(embeddings, None)
                }
                _ => self.model.forward(embeddings, None),
            }
        }

        fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
            self.model.logits(hidden)
        }
    }

    fn careless(care: usize) -> Careless {
        let config = LlamaConfig::new(40, 16, 32, 2, 2).with_initializer_range(0.5);
        Careless { model: config.init(&Device::default()).unwrap(), care }
    }

    #[test]
    fn a_model_that_does_not_use_its_cache_is_found_out() {
        let device = Device::default();
        check_cache(&careless(2), &device).unwrap();
        let error = check_cache(&careless(1), &device).unwrap_err().to_string();
        assert!(error.contains("at position 4"), "{error}");
        let error = check_cache(&careless(0), &device).unwrap_err().to_string();
        assert!(error.contains("after 4 positions, its cache holds 0"), "{error}");
    }

    #[test]
    #[should_panic(expected = "positions of the prompt in the cache")]
    fn generation_does_not_go_on_without_a_cache() {
        let prompt = Tensor::ones([1, 3, 16], &Device::default());
        let config = crate::language::GenerationConfig::new();
        let _ = crate::language::generate(&careless(0), prompt, &[], &config);
    }
}
