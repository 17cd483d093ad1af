use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::rngs::Xoshiro256PlusPlus;

use super::sampling::{not_finite, pick};
use super::{GenerationConfig, KvCache, LanguageModel};
use crate::random::seeded_rng;
use crate::{Error, Result};

/// A batch of sequences that is continued token by token: what [`generate`](super::generate) and
/// [`TokenStream`](super::TokenStream) have in common.
pub(super) struct Decoding<'a, L> {
    model: &'a L,
    end: Vec<u32>,
    config: GenerationConfig,
    device: Device,
    /// The embeddings that have not been through the model.
    next: Option<Tensor<3>>,
    cache: KvCache,
    rows: Vec<Row>,
    written: usize,
    capacity: usize,
}

/// A sequence of the batch.
struct Row {
    number: u64,
    draws: Xoshiro256PlusPlus,
    unfinished: bool,
}

impl<'a, L: LanguageModel> Decoding<'a, L> {
    /// Prepares the continuation of `prompt`, `[batch, time, width]`, whose sequences draw by their `numbers`.
    pub(super) fn new(
        model: &'a L,
        prompt: Tensor<3>,
        end: &[u32],
        config: &GenerationConfig,
        numbers: &[u64],
    ) -> Result<Self> {
        config.validate()?;
        let [batch, time, width] = prompt.dims();
        assert!(batch > 0 && time > 0, "generation needs a prompt, found shape [{batch}, {time}, {width}]");
        let positions = model.max_positions();
        if time >= positions {
            let detail = format!("its {time} positions leave none to write at; the model has {positions}");
            return Err(Error::config("prompt", detail));
        }
        let row = |number: &u64| Row {
            number: *number,
            draws: seeded_rng(config.seed, &[*number]),
            unfinished: true,
        };
        Ok(Self {
            model,
            end: end.to_vec(),
            config: config.clone(),
            device: prompt.device(),
            next: Some(prompt),
            cache: KvCache::new(),
            rows: numbers.iter().map(row).collect(),
            written: 0,
            capacity: config.max_new_tokens.min(positions - time),
        })
    }

    /// The next token of each sequence, `None` for one that has ended; `None` when all have.
    pub(super) fn step(&mut self) -> Result<Option<Vec<Option<u32>>>> {
        if self.written == self.capacity || self.rows.iter().all(|row| !row.unfinished) {
            return Ok(None);
        }
        let next = self.next.take().expect("an unfinished sequence goes on");
        let scores = self.scores(next);
        let chosen = self.choose(&scores)?;
        self.written += 1;
        let tokens = self.rows.iter_mut().zip(&chosen).map(|(row, token)| {
            row.unfinished &= !self.end.contains(token);
            row.unfinished.then_some(*token)
        });
        let tokens = tokens.collect();
        let data = TensorData::new(chosen.iter().map(|token| *token as i64).collect(), [chosen.len(), 1]);
        self.next = Some(self.model.embed(Tensor::<2, Int>::from_data(data, &self.device)));
        Ok(Some(tokens))
    }

    /// The scores of what follows the embeddings, `[batch, vocab_size]`.
    fn scores(&mut self, next: Tensor<3>) -> Tensor<2> {
        let [batch, time, width] = next.dims();
        let before = self.cache.len();
        let hidden = self.model.forward(next, Some(&mut self.cache));
        assert_eq!(
            self.cache.len(),
            before + time,
            "positions of the prompt in the cache after it: the language model must append to its cache or set its state"
        );
        self.model.logits(hidden.narrow(1, time - 1, 1).reshape([batch, width])).cast(DType::F32)
    }

    /// The next token of each sequence.
    fn choose(&mut self, scores: &Tensor<2>) -> Result<Vec<u32>> {
        let scores = scores.clone().into_data().try_to_vec::<f32>().expect("scores were cast to f32");
        let rows = scores.chunks(self.model.vocab_size()).zip(&mut self.rows);
        rows.map(|(scores, row)| match not_finite(scores) {
            None => Ok(pick(scores, &self.config, &mut row.draws) as u32),
            Some(found) => {
                let written = self.written;
                let detail =
                    format!("after {written} new tokens, {found}: are weights and embeddings finite?");
                Err(Error::sample(row.number.to_string(), detail))
            }
        })
        .collect()
    }
}
