use burn::config::Config;
use burn::tensor::{DType, Int, Tensor, TensorData};
use rand::{Rng, RngExt};

use super::{KvCache, LanguageModel};
use crate::random::seeded_rng;

/// How text is generated.
///
/// The default is greedy; a temperature above zero samples, from the smallest set of tokens whose probability
/// reaches `top_p` (nucleus sampling, arXiv 1904.09751).
///
/// # Example
///
/// ```
/// use burn_revision::language::GenerationConfig;
/// let config = GenerationConfig::new().with_temperature(0.7).with_top_p(0.9).with_seed(1);
/// assert_eq!(config.max_new_tokens, 64);
/// ```
#[derive(Config, Debug)]
pub struct GenerationConfig {
    /// The largest number of tokens to generate.
    #[config(default = 64)]
    pub max_new_tokens: usize,
    /// What scores are divided by before sampling; 0 always takes the best token.
    #[config(default = 0.0)]
    pub temperature: f64,
    /// The probability mass to sample from.
    #[config(default = 1.0)]
    pub top_p: f64,
    /// The seed of the samples.
    #[config(default = 0)]
    pub seed: u64,
    /// The number of the first sequence: each draws from the seed and its own number, so that texts do not depend on how
    /// sequences are divided into batches.
    #[config(default = 0)]
    pub first_sequence: u64,
}

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
/// # Panics
///
/// Panics if the prompt is empty.
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
/// let tokens = generate(&model, prompt, &[], &GenerationConfig::new().with_max_new_tokens(4));
/// assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
/// # Ok(())
/// # }
/// ```
pub fn generate<L: LanguageModel>(
    model: &L,
    prompt: Tensor<3>,
    end: &[u32],
    config: &GenerationConfig,
) -> Vec<Vec<u32>> {
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
) -> Vec<Vec<u32>> {
    let [batch, time, width] = prompt.dims();
    assert!(batch > 0 && time > 0, "generation needs a prompt, found shape [{batch}, {time}, {width}]");
    assert!(!config.temperature.is_nan() && !config.top_p.is_nan(), "generation cannot use {config}");
    let device = prompt.device();
    let capacity = config.max_new_tokens.min(model.max_positions().saturating_sub(time));
    let mut draws: Vec<_> = numbers.iter().map(|number| seeded_rng(config.seed, &[*number])).collect();
    let mut cache = KvCache::new();
    let mut texts = vec![Vec::new(); batch];
    let mut unfinished = vec![true; batch];
    let mut hidden = model.forward(prompt, Some(&mut cache));

    for written in 0..capacity {
        let last = hidden.dims()[1] - 1;
        let scores = model.logits(hidden.narrow(1, last, 1).reshape([batch, width])).cast(DType::F32);
        let scores = scores.into_data().try_to_vec::<f32>().expect("scores were cast to f32");
        let rows = scores.chunks(model.vocab_size()).zip(&mut draws);
        let next: Vec<u32> = rows.map(|(row, rng)| pick(row, config, rng) as u32).collect();
        for ((text, unfinished), token) in texts.iter_mut().zip(&mut unfinished).zip(&next) {
            *unfinished &= !end.contains(token);
            if *unfinished {
                text.push(*token);
            }
        }
        if written + 1 == capacity || !unfinished.contains(&true) {
            break;
        }
        let tokens = TensorData::new(next.iter().map(|token| *token as i64).collect(), [batch, 1]);
        let tokens = Tensor::<2, Int>::from_data(tokens, &device);
        hidden = model.forward(model.embed(tokens), Some(&mut cache));
    }
    texts
}

/// The index of the next token, from the scores of all.
fn pick(scores: &[f32], config: &GenerationConfig, rng: &mut impl Rng) -> usize {
    let best = |scores: &[f32]| {
        scores.iter().enumerate().fold(0, |best, (i, score)| if *score > scores[best] { i } else { best })
    };
    if config.temperature <= 0.0 {
        return best(scores);
    }
    let top = scores[best(scores)] as f64;
    let mut weights: Vec<(usize, f64)> = scores
        .iter()
        .enumerate()
        .map(|(i, score)| (i, ((*score as f64 - top) / config.temperature).exp()))
        .collect();
    weights.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut mass = 0.0;
    let nucleus = weights.iter().take_while(|(_, weight)| {
        let inside = mass < config.top_p * total;
        mass += weight;
        inside
    });
    // Even a mass of zero leaves the best token.
    let nucleus = nucleus.count().max(1);
    let mass: f64 = weights[..nucleus].iter().map(|(_, weight)| weight).sum();
    let mut draw = rng.random::<f64>() * mass;
    for (token, weight) in &weights[..nucleus] {
        draw -= weight;
        if draw < 0.0 {
            return *token;
        }
    }
    weights[nucleus - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{LlamaConfig, LlamaDecoder};
    use approx::assert_abs_diff_eq;
    use burn::tensor::{Device, Distribution};

    fn model() -> LlamaDecoder {
        LlamaConfig::new(40, 16, 32, 2, 2).with_initializer_range(0.5).init(&Device::default()).unwrap()
    }

    fn prompt(batch: usize) -> Tensor<3> {
        Tensor::random([batch, 3, 16], Distribution::Normal(0.0, 1.0), &Device::default())
    }

    #[test]
    fn greedy_text_is_the_argmax_of_uncached_passes() {
        let (model, prompt) = (model(), prompt(2));
        let config = GenerationConfig::new().with_max_new_tokens(6);
        let texts = generate(&model, prompt.clone(), &[], &config);
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
        let together = generate(&model, prompt.clone(), &[5], &config);
        for (row, text) in together.iter().enumerate() {
            assert_eq!(*text, generate(&model, prompt.clone().narrow(0, row, 1), &[5], &config)[0]);
        }
    }

    #[test]
    fn the_end_token_ends_a_row_and_is_left_out() {
        let (model, prompt) = (model(), prompt(1));
        let config = GenerationConfig::new().with_max_new_tokens(8);
        let free = generate(&model, prompt.clone(), &[], &config).remove(0);
        let end = free[3];
        let first = free.iter().position(|token| *token == end).unwrap();
        assert_eq!(generate(&model, prompt, &[end], &config)[0], free[..first]);
    }

    #[test]
    fn samples_follow_the_softmax_within_the_nucleus() {
        let scores = [2.0f32, 1.0, 0.0, -9.0];
        let share = |config: &GenerationConfig| {
            let mut rng = seeded_rng(1, &[]);
            let mut counts = [0usize; 4];
            (0..20_000).for_each(|_| counts[pick(&scores, config, &mut rng)] += 1);
            counts.map(|count| count as f64 / 20_000.0)
        };
        let sampled = share(&GenerationConfig::new().with_temperature(1.0));
        let total: f64 = scores.iter().map(|s| (*s as f64).exp()).sum();
        for (share, score) in sampled.iter().zip(scores) {
            assert_abs_diff_eq!(*share, (score as f64).exp() / total, epsilon = 0.02);
        }
        let nucleus = share(&GenerationConfig::new().with_temperature(1.0).with_top_p(0.8));
        assert_eq!(nucleus[2..], [0.0, 0.0]);
        assert_eq!(share(&GenerationConfig::new().with_temperature(1.0).with_top_p(0.0))[0], 1.0);
    }

    #[test]
    fn samples_do_not_depend_on_how_sequences_are_divided_into_batches() {
        let (model, prompt) = (model(), prompt(5));
        let config = GenerationConfig::new().with_temperature(1.5).with_seed(3).with_max_new_tokens(12);
        let whole = generate(&model, prompt.clone(), &[], &config);
        for size in [1, 2, 4] {
            let parts = (0..5).step_by(size).flat_map(|first| {
                let part = prompt.clone().narrow(0, first, size.min(5 - first));
                generate(&model, part, &[], &config.clone().with_first_sequence(first as u64))
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
            generate(&model, prompt.clone(), &[], &config)
        };
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
