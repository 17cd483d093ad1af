use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{KvCache, LanguageModel};
use crate::{Error, Result};

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
