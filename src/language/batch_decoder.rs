use std::collections::VecDeque;
use std::fmt;

use burn::tensor::{DType, Device, Int, Tensor, TensorData, Transaction};
use rand::rngs::Xoshiro256PlusPlus;

use super::sampling::{not_finite, pick};
use super::{GenerationConfig, KvCache, LanguageModel};
use crate::fused::in_awake_pool;
use crate::random::seeded_rng;
use crate::{Error, Result};

/// Texts that are written side by side, of which each begins and ends on its own: what a server needs that answers many.
///
/// Every [`step`](Self::step) takes all texts one token further with one pass through the model, whose weights are then read
/// once for all of them; a prompt that was [added](Self::add) meanwhile goes through the model by itself and joins the others
/// (continuous batching). Each text has its own settings, end tokens and random numbers, and the tokens that it would have
/// alone. [`generate`](super::generate) and [`TokenStream`](super::TokenStream) are batches whose texts begin together.
///
/// A model that does not [allow padding](LanguageModel::allows_padding) finishes the texts that run before it begins others.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::language::{BatchDecoder, Decoded, GenerationConfig, LanguageModel, LlamaConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?;
/// let prompt = |time| model.embed(Tensor::<2, Int>::ones([1, time], &device));
/// let config = GenerationConfig::new().with_max_new_tokens(4);
/// let mut batch = BatchDecoder::new(&model);
/// let first = batch.add(prompt(3), &[2], &config)?;
/// let mut text = Vec::new();
/// while !batch.is_empty() {
///     for (id, decoded) in batch.step() {
///         match decoded {
///             Decoded::Token(token) if id == first => text.push(token),
///             Decoded::Failed(error) => return Err(error),
///             _ => {}
///         }
///     }
///     // Another one, while the first is being written.
///     if text.len() == 1 {
///         batch.add(prompt(7), &[2], &config)?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct BatchDecoder<'a, L> {
    model: &'a L,
    waiting: VecDeque<Group>,
    /// The sequences of the cache, of which some may have ended.
    running: Vec<Sequence>,
    cache: KvCache,
    next_id: u64,
    padded: bool,
    /// That of the prompts.
    device: Device,
}

/// A text of a [`BatchDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(u64);

/// What became of a text in a step of a [`BatchDecoder`].
#[derive(Debug)]
pub enum Decoded {
    /// Its next token.
    Token(u32),
    /// It has ended with an end token, which is no part of it.
    End,
    /// It has as many tokens as were asked for, or as the model has positions.
    Full,
    /// It cannot go on: [`Error::Sample`] where no token has finite logits.
    Failed(Error),
}

/// Prompts of one length that go through the model together.
struct Group {
    prompt: Tensor<3>,
    sequences: Vec<Sequence>,
}

struct Sequence {
    id: SequenceId,
    config: GenerationConfig,
    end: Vec<u32>,
    number: u64,
    draws: Xoshiro256PlusPlus,
    written: usize,
    capacity: usize,
    /// The token that was written last, where there is one to follow.
    last: Option<u32>,
}

/// The positions of a prompt that go through the model at once: enough for its products to be as fast as they get, and few
/// enough for their scores to take little memory.
const CHUNK: usize = 256;

/// New tokens that a cache has room for from the beginning.
const ROOM: usize = 256;

impl<'a, L: LanguageModel> BatchDecoder<'a, L> {
    /// Creates a batch without texts.
    pub fn new(model: &'a L) -> Self {
        Self {
            model,
            waiting: VecDeque::new(),
            running: Vec::new(),
            cache: KvCache::new(),
            next_id: 0,
            padded: model.allows_padding(),
            device: model.devices().into_iter().next().unwrap_or_default(),
        }
    }

    /// Adds a text that continues a prompt; its tokens come from the next [`step`](Self::step) on.
    ///
    /// # Arguments
    ///
    /// * `prompt` - Embeddings, `[1, time, width]`: visual tokens can be part of it.
    /// * `end` - The tokens that end the text, and are no part of it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a prompt that leaves no position of the model to write at, and for settings that
    /// [`GenerationConfig::validate`] refuses.
    ///
    /// # Panics
    ///
    /// Panics if the prompt is empty or several.
    pub fn add(&mut self, prompt: Tensor<3>, end: &[u32], config: &GenerationConfig) -> Result<SequenceId> {
        let dims = prompt.dims();
        assert!(dims[0] == 1, "a text has one prompt, found shape {dims:?}");
        Ok(self.add_group(prompt, end, config, &[config.first_sequence])?[0])
    }

    /// Adds a text for each prompt, `[batch, time, width]`, which draw by their numbers.
    pub(super) fn add_group(
        &mut self,
        prompt: Tensor<3>,
        end: &[u32],
        config: &GenerationConfig,
        numbers: &[u64],
    ) -> Result<Vec<SequenceId>> {
        config.validate()?;
        let [batch, time, width] = prompt.dims();
        assert!(batch > 0 && time > 0, "generation needs a prompt, found shape [{batch}, {time}, {width}]");
        assert!(batch == numbers.len(), "{batch} prompts need as many numbers, found {}", numbers.len());
        let positions = self.model.max_positions();
        if time >= positions {
            let detail = format!("its {time} positions leave none to write at; the model has {positions}");
            return Err(Error::config("prompt", detail));
        }
        self.device = prompt.device();
        // Padding is for passes without gradients.
        self.padded &= !prompt.is_autodiff();
        let sequences: Vec<Sequence> = numbers
            .iter()
            .map(|number| {
                self.next_id += 1;
                Sequence {
                    id: SequenceId(self.next_id),
                    config: config.clone(),
                    end: end.to_vec(),
                    number: *number,
                    draws: seeded_rng(config.seed, &[*number]),
                    written: 0,
                    capacity: config.max_new_tokens.min(positions - time),
                    last: None,
                }
            })
            .collect();
        let ids = sequences.iter().map(|sequence| sequence.id).collect();
        self.waiting.push_back(Group { prompt, sequences });
        Ok(ids)
    }

    /// Takes every text one token further, and the first of the prompts that wait into the batch.
    ///
    /// # Returns
    ///
    /// What became of each text: at most one token each, and behind it [`Decoded::Full`] where it is the last.
    ///
    /// # Panics
    ///
    /// Panics if the model does not keep a prompt in its cache (see [`check_cache`](super::check_cache)).
    pub fn step(&mut self) -> Vec<(SequenceId, Decoded)> {
        in_awake_pool(&self.device.clone(), || self.step_in_pool())
    }

    fn step_in_pool(&mut self) -> Vec<(SequenceId, Decoded)> {
        self.drop_ended();
        let mut events = Vec::new();
        if !self.running.is_empty() {
            self.go_on(&mut events);
        }
        if self.running.is_empty() || self.padded {
            self.begin(&mut events);
        }
        events
    }

    /// Ends a text without an event. Returns whether it was there.
    pub fn cancel(&mut self, id: SequenceId) -> bool {
        let before = self.len();
        self.running
            .iter_mut()
            .filter(|sequence| sequence.id == id)
            .for_each(|sequence| sequence.last = None);
        for group in &mut self.waiting {
            if let Some(row) = group.sequences.iter().position(|sequence| sequence.id == id) {
                group.sequences.remove(row);
                let rows = group.prompt.dims()[0];
                let others = (0..rows).filter(|other| *other != row);
                let others: Vec<_> = others.map(|row| group.prompt.clone().narrow(0, row, 1)).collect();
                if !others.is_empty() {
                    group.prompt = Tensor::cat(others, 0);
                }
            }
        }
        self.waiting.retain(|group| !group.sequences.is_empty());
        self.len() < before
    }

    /// The number of texts that have not ended, with those whose prompts wait.
    pub fn len(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|group| group.sequences.len()).sum();
        waiting + self.running.iter().filter(|sequence| sequence.last.is_some()).count()
    }

    /// Whether all texts have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees the cache of texts that have ended. It is copied for that, so some stay in it for a while.
    fn drop_ended(&mut self) {
        let rows: Vec<usize> =
            (0..self.running.len()).filter(|row| self.running[*row].last.is_some()).collect();
        if rows.is_empty() {
            self.running.clear();
            self.cache = KvCache::new();
        } else if self.padded && 2 * rows.len() <= self.running.len() {
            self.cache.select(&rows);
            self.running.retain(|sequence| sequence.last.is_some());
        }
    }

    /// The next token of the sequences in the cache.
    fn go_on(&mut self, events: &mut Vec<(SequenceId, Decoded)>) {
        let tokens = self.running.iter().map(|sequence| i64::from(sequence.last.unwrap_or(0))).collect();
        let tokens = TensorData::new(tokens, [self.running.len(), 1]);
        let embeddings = self.model.embed(Tensor::<2, Int>::from_data(tokens, &self.device));
        let scores = scores(self.model, embeddings, &mut self.cache);
        choose(&scores, &mut self.running, events);
    }

    /// Takes the prompts that wait longest through the model.
    fn begin(&mut self, events: &mut Vec<(SequenceId, Decoded)>) {
        let Some(Group { prompt, mut sequences }) = self.waiting.pop_front() else { return };
        let time = prompt.dims()[1];
        let new = sequences.iter().map(|sequence| sequence.capacity).max().unwrap_or(0);
        let mut cache = KvCache::with_capacity(time + new.min(ROOM));
        let [batch, _, width] = prompt.dims();
        let starts: Vec<usize> = (0..time).step_by(CHUNK).collect();
        let mut hidden = None;
        for start in starts {
            let chunk = prompt.clone().narrow(1, start, CHUNK.min(time - start));
            let [_, len, _] = chunk.dims();
            let states = forward(self.model, chunk, &mut cache);
            hidden = Some(states.narrow(1, len - 1, 1).reshape([batch, width]));
        }
        let scores = self.model.logits(hidden.expect("a prompt is not empty")).cast(DType::F32);
        choose(&scores, &mut sequences, events);
        if sequences.iter().all(|sequence| sequence.last.is_none()) {
            return;
        }
        match self.running.is_empty() {
            true => self.cache = cache,
            false => self.cache.join(cache),
        }
        self.running.append(&mut sequences);
    }
}

/// The hidden states of embeddings that continue the cache.
fn forward<L: LanguageModel>(model: &L, embeddings: Tensor<3>, cache: &mut KvCache) -> Tensor<3> {
    let (before, time) = (cache.len(), embeddings.dims()[1]);
    let hidden = model.forward(embeddings, Some(cache));
    assert_eq!(
        cache.len(),
        before + time,
        "positions of the prompt in the cache after it: the language model must append to its cache or set its state"
    );
    hidden
}

/// The scores of what follows embeddings of one position, `[batch, vocab_size]`.
fn scores<L: LanguageModel>(model: &L, embeddings: Tensor<3>, cache: &mut KvCache) -> Tensor<2> {
    let [batch, _, width] = embeddings.dims();
    model.logits(forward(model, embeddings, cache).reshape([batch, width])).cast(DType::F32)
}

/// Gives each sequence that has not ended its next token.
fn choose(scores: &Tensor<2>, sequences: &mut [Sequence], events: &mut Vec<(SequenceId, Decoded)>) {
    let begins = |sequence: &Sequence| sequence.written == 0 || sequence.last.is_some();
    let active: Vec<usize> = (0..sequences.len()).filter(|row| begins(&sequences[*row])).collect();
    let tokens = if active.iter().all(|row| sequences[*row].config.temperature <= 0.0) {
        best(scores, &active)
    } else {
        vec![None; active.len()]
    };
    let [_, vocabulary] = scores.dims();
    let on_host = tokens.contains(&None).then(|| {
        let scores = scores.clone().into_data();
        scores.try_into_vec::<f32>().expect("scores were cast to f32")
    });
    for (row, token) in active.into_iter().zip(tokens) {
        let sequence = &mut sequences[row];
        let chosen = match (token, &on_host) {
            (Some(token), _) => Ok(token),
            (None, scores) => {
                let scores = scores.as_ref().expect("scores were read for this sequence");
                sequence.pick(&scores[row * vocabulary..(row + 1) * vocabulary])
            }
        };
        sequence.take(chosen, events);
    }
}

/// The tokens with the highest scores of these rows, found where the scores are; `None` where some score is not finite, and
/// has to be looked at.
fn best(scores: &Tensor<2>, rows: &[usize]) -> Vec<Option<u32>> {
    // A sum is finite where all its terms are, save for such as are beyond the range of floats together.
    let read = Transaction::default().register(scores.clone().argmax(1)).register(scores.clone().sum_dim(1));
    let read = read.execute();
    let tokens: Vec<i64> = read[0].iter().collect();
    let sums: Vec<f32> = read[1].iter().collect();
    rows.iter().map(|row| sums[*row].is_finite().then_some(tokens[*row] as u32)).collect()
}

impl Sequence {
    /// The next token by the scores of all.
    fn pick(&mut self, scores: &[f32]) -> Result<u32> {
        match not_finite(scores) {
            None => Ok(pick(scores, &self.config, &mut self.draws) as u32),
            Some(found) => {
                let written = self.written;
                let detail =
                    format!("after {written} new tokens, {found}: are weights and embeddings finite?");
                Err(Error::sample(self.number.to_string(), detail))
            }
        }
    }

    /// Goes on with a token, or ends.
    fn take(&mut self, chosen: Result<u32>, events: &mut Vec<(SequenceId, Decoded)>) {
        self.last = None;
        let token = match chosen {
            Ok(token) => token,
            Err(error) => return events.push((self.id, Decoded::Failed(error))),
        };
        if self.written >= self.capacity {
            return events.push((self.id, Decoded::Full));
        }
        self.written += 1;
        if self.end.contains(&token) {
            return events.push((self.id, Decoded::End));
        }
        events.push((self.id, Decoded::Token(token)));
        if self.written == self.capacity {
            events.push((self.id, Decoded::Full));
        } else {
            self.last = Some(token);
        }
    }
}

impl<L> fmt::Debug for BatchDecoder<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchDecoder")
            .field("waiting", &self.waiting.len())
            .field("running", &self.running.len())
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
