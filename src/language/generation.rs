use std::collections::HashMap;

use burn::tensor::Tensor;

use super::{BatchDecoder, Decoded, GenerationConfig, LanguageModel, SequenceId};
use crate::Result;

/// Continues every sequence of a batch until an end token, `max_new_tokens`, or the longest sequence of the model.
///
/// # Arguments
///
/// * `prompt` - Embeddings, `[batch, time, width]`, without padding: visual tokens can be part of it.
/// * `end` - The tokens that end a sequence.
///
/// # Returns
///
/// The new tokens of each sequence, without the end token.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) for a prompt that leaves no position of the model to write at, and for settings that
/// [`GenerationConfig::validate`] refuses; [`Error::Sample`](crate::Error::Sample) for a sequence whose next token has no finite logits, as with
/// weights that are NaN.
///
/// # Panics
///
/// Panics if the prompt is empty, and if the model does not keep the prompt in its cache (see [`check_cache`](super::check_cache)).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::language::{GenerationConfig, LanguageModel, LlamaConfig, generate};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?;
/// let prompt = model.embed(Tensor::<2, Int>::ones([2, 3], &device));
/// let tokens = generate(&model, prompt, &[], &GenerationConfig::new().with_max_new_tokens(4))?;
/// assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
/// # Ok(())
/// # }
/// ```
pub fn generate<L: LanguageModel>(
    model: &L,
    prompt: Tensor<3>,
    end: &[u32],
    config: &GenerationConfig,
) -> Result<Vec<Vec<u32>>> {
    let numbers: Vec<u64> = (0..prompt.dims()[0] as u64).map(|row| config.first_sequence + row).collect();
    generate_numbered(model, prompt, end, config, &numbers)
}

/// [`generate`] for sequences of any numbers, `[batch]`.
pub(crate) fn generate_numbered<L: LanguageModel>(
    model: &L,
    prompt: Tensor<3>,
    end: &[u32],
    config: &GenerationConfig,
    numbers: &[u64],
) -> Result<Vec<Vec<u32>>> {
    let mut batch = BatchDecoder::new(model);
    let ids = batch.add_group(prompt, end, config, numbers)?;
    let places = ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect();
    finish(batch, &places)
}

/// Continues prompts of any lengths, `[1, time, width]` each, `batch_size` of them together: the texts are those that
/// [`generate`] writes one by one.
///
/// # Errors
///
/// Those of [`generate`].
///
/// # Panics
///
/// Those of [`generate`]; and if a prompt is several.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::language::{GenerationConfig, LanguageModel, LlamaConfig, generate_each};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?;
/// let prompts = [3, 8].map(|time| model.embed(Tensor::<2, Int>::ones([1, time], &device)));
/// let tokens = generate_each(&model, prompts, &[], &GenerationConfig::new().with_max_new_tokens(4))?;
/// assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
/// # Ok(())
/// # }
/// ```
pub fn generate_each<L: LanguageModel>(
    model: &L,
    prompts: impl IntoIterator<Item = Tensor<3>>,
    end: &[u32],
    config: &GenerationConfig,
) -> Result<Vec<Vec<u32>>> {
    config.validate()?;
    let mut prompts = prompts.into_iter().peekable();
    let mut texts = Vec::new();
    while prompts.peek().is_some() {
        let mut batch = BatchDecoder::new(model);
        let mut places = HashMap::new();
        for (place, prompt) in prompts.by_ref().take(config.batch_size).enumerate() {
            let number = config.first_sequence + (texts.len() + place) as u64;
            places.insert(batch.add(prompt, end, &config.clone().with_first_sequence(number))?, place);
        }
        texts.extend(finish(batch, &places)?);
    }
    Ok(texts)
}

/// Writes all texts of a batch to their ends, and puts each in its place.
fn finish<L: LanguageModel>(
    mut batch: BatchDecoder<'_, L>,
    places: &HashMap<SequenceId, usize>,
) -> Result<Vec<Vec<u32>>> {
    let mut texts = vec![Vec::new(); places.len()];
    while !batch.is_empty() {
        for (id, decoded) in batch.step() {
            match decoded {
                Decoded::Token(token) => texts[places[&id]].push(token),
                Decoded::End | Decoded::Full => {}
                Decoded::Failed(error) => return Err(error),
            }
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{KvCache, LlamaConfig, LlamaDecoder};
    use burn::tensor::{Device, Distribution, Int};

    fn model() -> LlamaDecoder {
        LlamaConfig::new(40, 16, 32, 2, 2).with_initializer_range(0.5).init(&Device::default()).unwrap()
    }

    /// A model whose logits are all `value` from the fifth position on.
    #[derive(burn::module::Module, Debug)]
    struct Poisoned {
        model: LlamaDecoder,
        value: f32,
    }

    /// What hidden states of such positions consist of.
    const MARK: f32 = 1e30;

    impl LanguageModel for Poisoned {
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
            let cache = cache.expect("generation gives a cache");
            let hidden = self.model.forward(embeddings, Some(cache));
            if cache.len() < 5 { hidden } else { hidden.zeros_like() + MARK }
        }

        fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
            let [rows, _] = hidden.dims();
            let marked = hidden.clone().narrow(1, 0, 1).equal_elem(MARK).expand([rows, self.vocab_size()]);
            self.model.logits(hidden).mask_fill(marked, self.value)
        }
    }

    fn prompt(batch: usize) -> Tensor<3> {
        Tensor::random([batch, 3, 16], Distribution::Normal(0.0, 1.0), &Device::default())
    }

    #[test]
    fn greedy_text_is_the_argmax_of_uncached_passes() {
        let (model, prompt) = (model(), prompt(2));
        let config = GenerationConfig::new().with_max_new_tokens(6);
        let texts = generate(&model, prompt.clone(), &[], &config).unwrap();
        let mut sequence = prompt;
        for position in 0..6 {
            let hidden = model.forward(sequence.clone(), None);
            let last = hidden.dims()[1] - 1;
            let best = model.logits(hidden.narrow(1, last, 1).reshape([2, 16])).argmax(1);
            let expected: Vec<i64> = best.clone().into_data().iter().collect();
            assert_eq!(expected, texts.iter().map(|text| text[position] as i64).collect::<Vec<_>>());
            sequence = Tensor::cat(vec![sequence, model.embed(best)], 1);
        }
    }

    #[test]
    fn rows_of_a_batch_do_not_disturb_each_other() {
        let (model, prompt) = (model(), prompt(3));
        let config = GenerationConfig::new().with_max_new_tokens(8);
        let together = generate(&model, prompt.clone(), &[5], &config).unwrap();
        for (row, text) in together.iter().enumerate() {
            assert_eq!(*text, generate(&model, prompt.clone().narrow(0, row, 1), &[5], &config).unwrap()[0]);
        }
    }

    #[test]
    fn the_end_token_ends_a_row_and_is_left_out() {
        let (model, prompt) = (model(), prompt(1));
        let config = GenerationConfig::new().with_max_new_tokens(8);
        let free = generate(&model, prompt.clone(), &[], &config).unwrap().remove(0);
        let end = free[3];
        let first = free.iter().position(|token| *token == end).unwrap();
        assert_eq!(generate(&model, prompt, &[end], &config).unwrap()[0], free[..first]);
    }

    #[test]
    fn samples_do_not_depend_on_how_sequences_are_divided_into_batches() {
        let (model, prompt) = (model(), prompt(5));
        let config = GenerationConfig::new().with_temperature(1.5).with_seed(3).with_max_new_tokens(12);
        let whole = generate(&model, prompt.clone(), &[], &config).unwrap();
        for size in [1, 2, 4] {
            let parts = (0..5).step_by(size).flat_map(|first| {
                let part = prompt.clone().narrow(0, first, size.min(5 - first));
                generate(&model, part, &[], &config.clone().with_first_sequence(first as u64)).unwrap()
            });
            assert_eq!(parts.collect::<Vec<_>>(), whole, "batches of {size}");
        }
        assert_ne!(whole[0], whole[1], "each draws its own numbers");
    }

    #[test]
    fn a_seed_repeats_its_samples() {
        let (model, prompt) = (model(), prompt(2));
        let text = |seed| {
            let config =
                GenerationConfig::new().with_temperature(1.5).with_seed(seed).with_max_new_tokens(12);
            generate(&model, prompt.clone(), &[], &config).unwrap()
        };
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }

    #[test]
    fn logits_that_are_not_finite_end_generation_with_an_error() {
        let prompt = prompt(3);
        for (value, expected) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "all 40")] {
            let poisoned = Poisoned { model: model(), value };
            let config = GenerationConfig::new().with_max_new_tokens(8).with_first_sequence(7);
            for config in [config.clone(), config.with_temperature(1.0)] {
                let error = generate(&poisoned, prompt.clone(), &[], &config).unwrap_err().to_string();
                assert!(error.contains("\"7\"") && error.contains("after 2 new"), "{error}");
                assert!(error.contains(expected), "{error}");
            }
        }
    }

    #[test]
    fn a_prompt_without_a_position_left_is_refused() {
        let model = LlamaConfig::new(40, 16, 32, 2, 2).with_max_position_embeddings(5);
        let model = model.init(&Device::default()).unwrap();
        let prompt = |time| Tensor::ones([1, time, 16], &Device::default());
        let config = GenerationConfig::new();
        assert_eq!(generate(&model, prompt(4), &[], &config).unwrap()[0].len(), 1);
        for time in [5, 9] {
            let error = generate(&model, prompt(time), &[], &config).unwrap_err().to_string();
            assert!(error.contains(&format!("{time} positions")) && error.contains("has 5"), "{error}");
        }
    }

    #[test]
    fn settings_that_nothing_can_be_generated_with_are_named() {
        let config = GenerationConfig::new();
        for (config, name) in [
            (config.clone().with_temperature(f64::NAN), "temperature"),
            (config.clone().with_temperature(-1.0), "temperature"),
            (config.clone().with_top_p(f64::INFINITY), "top_p"),
            (config.clone().with_top_k(Some(0)), "top_k"),
            (config.with_batch_size(0), "batch_size"),
        ] {
            let error = generate(&model(), prompt(1), &[], &config).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
