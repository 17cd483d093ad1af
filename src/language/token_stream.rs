use std::fmt;
use std::iter::FusedIterator;

use burn::tensor::Tensor;

use super::{BatchDecoder, Decoded, GenerationConfig, LanguageModel};
use crate::Result;

/// A text that is written token by token, as an iterator: for a program that shows each token as it comes, stops at a
/// word of its own, or gives up. The tokens are those of [`generate`](super::generate).
///
/// Each token is computed when it is asked for, so that dropping the stream costs nothing; the first call goes through the
/// whole prompt. After an error, the stream has ended.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::language::{GenerationConfig, LanguageModel, LlamaConfig, TokenStream};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?;
/// let prompt = model.embed(Tensor::<2, Int>::ones([1, 3], &device));
/// let end = [2];
/// for token in TokenStream::new(&model, prompt, &end, &GenerationConfig::new().with_max_new_tokens(8))? {
///     println!("{}", token?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct TokenStream<'a, L> {
    batch: BatchDecoder<'a, L>,
}

impl<'a, L: LanguageModel> TokenStream<'a, L> {
    /// Prepares the continuation of a prompt.
    ///
    /// # Arguments
    ///
    /// * `prompt` - Embeddings, `[1, time, width]`: visual tokens can be part of it.
    /// * `end` - The tokens that end the text, and are no part of it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a prompt that leaves no position of the model to write at, and for settings
    /// that [`GenerationConfig::validate`] refuses. The iterator gives [`Error::Sample`](crate::Error::Sample) where the next
    /// token has no finite logits.
    ///
    /// # Panics
    ///
    /// Panics if the prompt is empty or several. The first call of `next` panics if the model does not keep the prompt in its
    /// cache (see [`check_cache`](super::check_cache)).
    pub fn new(model: &'a L, prompt: Tensor<3>, end: &[u32], config: &GenerationConfig) -> Result<Self> {
        let mut batch = BatchDecoder::new(model);
        batch.add(prompt, end, config)?;
        Ok(Self { batch })
    }
}

impl<L: LanguageModel> Iterator for TokenStream<'_, L> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batch.step().into_iter().next()?.1 {
            Decoded::Token(token) => Some(Ok(token)),
            Decoded::End | Decoded::Full => None,
            Decoded::Failed(error) => Some(Err(error)),
        }
    }
}

impl<L: LanguageModel> FusedIterator for TokenStream<'_, L> {}

impl<L> fmt::Debug for TokenStream<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream").field("batch", &self.batch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{LlamaConfig, LlamaDecoder, generate};
    use burn::tensor::{Device, Distribution};

    fn model() -> LlamaDecoder {
        LlamaConfig::new(40, 16, 32, 2, 2).with_initializer_range(0.5).init(&Device::default()).unwrap()
    }

    fn prompt(value: f64) -> Tensor<3> {
        Tensor::random([1, 3, 16], Distribution::Normal(0.0, 1.0), &Device::default()) * value
    }

    #[test]
    fn the_tokens_are_those_of_generate() {
        let (model, prompt) = (model(), prompt(1.0));
        let greedy = GenerationConfig::new().with_max_new_tokens(10);
        let sampled = greedy.clone().with_temperature(1.5).with_seed(2).with_first_sequence(7);
        for config in [greedy, sampled] {
            let free = generate(&model, prompt.clone(), &[], &config).unwrap().remove(0);
            assert_eq!(free.len(), 10);
            for end in [vec![], vec![free[4]]] {
                let stream = TokenStream::new(&model, prompt.clone(), &end, &config).unwrap();
                let tokens: Vec<u32> = stream.map(Result::unwrap).collect();
                assert_eq!(tokens, generate(&model, prompt.clone(), &end, &config).unwrap()[0]);
                assert_eq!(tokens.len() == 10, end.is_empty());
            }
        }
    }

    #[test]
    fn an_error_ends_the_stream() {
        let model = model();
        let mut stream = TokenStream::new(&model, prompt(f64::NAN), &[], &GenerationConfig::new()).unwrap();
        let error = stream.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("NaN"), "{error}");
        assert!(stream.next().is_none());
    }
}
