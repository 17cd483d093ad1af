use burn::tensor::Tensor;

/// Keys and values of the positions that a decoder has seen, layer by layer.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    layers: Vec<Option<(Tensor<4>, Tensor<4>)>>,
}

impl KvCache {
    /// An empty cache, for any number of layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of positions in the cache.
    pub fn len(&self) -> usize {
        self.layers.first().and_then(Option::as_ref).map_or(0, |(key, _)| key.dims()[2])
    }

    /// Whether the cache holds no position.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the keys and values of new positions, `[batch, kv_heads, time, head_dim]`, to those of `layer` and
    /// returns all of them.
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
