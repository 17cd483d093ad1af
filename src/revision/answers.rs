use std::collections::HashMap;
use std::fmt;

use burn::tensor::Tensor;

use crate::language::{
    BatchDecoder, Decoded, Detokenizer, FinishReason, GenerationConfig, InferenceDecoder, SequenceId,
    Tokenizer,
};
use crate::{Error, Result};

/// Answers that are written side by side, as text: a [`BatchDecoder`] with a [`Detokenizer`] for each, for programs that
/// serve several at once. `Assistant::answers` begins one.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::Device;
/// use burn_revision::language::GenerationConfig;
/// use burn_revision::revision::{AnswerEvent, Assistant};
///
/// # fn main() -> burn_revision::Result<()> {
/// let assistant = Assistant::open("runs/stage2/model".as_ref(), None, &Device::default())?;
/// let picture = assistant.see(&std::fs::read("cat.jpg").unwrap(), "cat.jpg".as_ref())?;
/// let mut answers = assistant.answers();
/// for question in ["What is it?", "What colour is it?"] {
///     let prompt = assistant.prompt(&[assistant.question(Some(question))?], true)?;
///     answers.add(assistant.spliced(&prompt, Some(&picture)), &GenerationConfig::new(), &["\n"])?;
/// }
/// while !answers.is_empty() {
///     for (id, event) in answers.step() {
///         match event {
///             AnswerEvent::Text(piece) => println!("{id:?} goes on: {piece}"),
///             AnswerEvent::Finished { tokens, .. } => println!("{id:?} has {tokens} tokens"),
///             AnswerEvent::Failed(error) => return Err(error),
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Answers<'a> {
    batch: BatchDecoder<'a, InferenceDecoder>,
    tokenizer: &'a Tokenizer,
    end: &'a [u32],
    texts: HashMap<SequenceId, Text<'a>>,
}

/// What became of an answer in a step of [`Answers`].
#[derive(Debug)]
pub enum AnswerEvent {
    /// More of its text.
    Text(String),
    /// It has ended.
    Finished {
        /// How many tokens it has.
        tokens: usize,
        /// Why it ended.
        reason: FinishReason,
    },
    /// It cannot go on: [`Error::Sample`] where no token has finite logits.
    Failed(Error),
}

/// An answer so far.
struct Text<'a> {
    text: Detokenizer<'a>,
    tokens: usize,
}

impl<'a> Answers<'a> {
    #[cfg_attr(not(feature = "image"), allow(dead_code))]
    pub(super) fn new(model: &'a InferenceDecoder, tokenizer: &'a Tokenizer, end: &'a [u32]) -> Self {
        Self { batch: BatchDecoder::new(model), tokenizer, end, texts: HashMap::new() }
    }

    /// Adds the answer to a prompt, `[1, time, width]`, which ends before the first of the strings `stops` to be complete.
    ///
    /// # Errors
    ///
    /// Those of [`BatchDecoder::add`].
    pub fn add<S: AsRef<str>>(
        &mut self,
        prompt: Tensor<3>,
        config: &GenerationConfig,
        stops: &[S],
    ) -> Result<SequenceId> {
        let id = self.batch.add(prompt, self.end, config)?;
        self.texts.insert(id, Text { text: Detokenizer::new(self.tokenizer, stops), tokens: 0 });
        Ok(id)
    }

    /// Takes every answer one token further. Returns what became of them; an answer may have nothing to show for a token.
    ///
    /// # Panics
    ///
    /// Those of [`BatchDecoder::step`].
    pub fn step(&mut self) -> Vec<(SequenceId, AnswerEvent)> {
        let mut events = Vec::new();
        for (id, decoded) in self.batch.step() {
            let Some(answer) = self.texts.get_mut(&id) else { continue };
            let (piece, ended) = match decoded {
                Decoded::Token(token) => {
                    answer.tokens += 1;
                    let piece = answer.text.push(token);
                    (piece, answer.text.is_stopped().then_some(FinishReason::Stop))
                }
                Decoded::End => (answer.text.finish(), Some(FinishReason::Stop)),
                Decoded::Full => (answer.text.finish(), Some(FinishReason::Length)),
                Decoded::Failed(error) => {
                    self.texts.remove(&id);
                    events.push((id, AnswerEvent::Failed(error)));
                    continue;
                }
            };
            if !piece.is_empty() {
                events.push((id, AnswerEvent::Text(piece)));
            }
            if let Some(reason) = ended {
                let tokens = answer.tokens;
                self.cancel(id);
                events.push((id, AnswerEvent::Finished { tokens, reason }));
            }
        }
        events
    }

    /// Ends an answer. Returns how many tokens it has, where it was there.
    pub fn cancel(&mut self, id: SequenceId) -> Option<usize> {
        self.batch.cancel(id);
        self.texts.remove(&id).map(|answer| answer.tokens)
    }

    /// The number of tokens of an answer so far.
    pub fn num_tokens(&self, id: SequenceId) -> usize {
        self.texts.get(&id).map_or(0, |answer| answer.tokens)
    }

    /// The number of answers that have not ended.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether all answers have ended.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

impl fmt::Debug for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{LanguageModel, LlamaConfig, TextStream, TokenStream};
    use burn::tensor::{Device, Distribution};

    /// Texts, numbers of tokens and reasons, of all that were added.
    type Written = HashMap<SequenceId, (String, usize, Option<FinishReason>)>;

    fn run(answers: &mut Answers, written: &mut Written) {
        for (id, event) in answers.step() {
            let entry = written.entry(id).or_default();
            match event {
                AnswerEvent::Text(piece) => entry.0 += &piece,
                AnswerEvent::Finished { tokens, reason } => (entry.1, entry.2) = (tokens, Some(reason)),
                AnswerEvent::Failed(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn each_answer_is_what_it_would_be_alone() {
        let device = Device::default();
        let tokenizer = Tokenizer::train(&["a red apple"], 270).unwrap();
        let config = LlamaConfig::new(tokenizer.vocab_size(), 16, 32, 2, 2).with_initializer_range(0.5);
        let model = InferenceDecoder::from(config.init(&device).unwrap());
        let end = [tokenizer.eos()];
        let prompt =
            |time| Tensor::<3>::random([1, time, model.width()], Distribution::Normal(0.0, 1.0), &device);
        let draw = |tokens: usize, seed: u64| {
            GenerationConfig::new().with_max_new_tokens(tokens).with_temperature(1.5).with_seed(seed)
        };
        let asked: Vec<(Tensor<3>, GenerationConfig, &[&str])> = vec![
            (prompt(3), draw(20, 1), &[]),
            (prompt(7), draw(40, 2), &["e", "a"]),
            (prompt(2), draw(5, 3), &[]),
        ];
        let mut answers = Answers::new(&model, &tokenizer, &end);
        let mut written = Written::new();
        let mut ids = Vec::new();
        for (prompt, config, stops) in &asked {
            ids.push(answers.add(prompt.clone(), config, stops).unwrap());
            run(&mut answers, &mut written);
        }
        let gone = answers.add(prompt(4), &draw(9, 4), &[""]).unwrap();
        run(&mut answers, &mut written);
        assert_eq!(answers.cancel(gone), Some(1));
        while !answers.is_empty() {
            run(&mut answers, &mut written);
        }
        for (id, (prompt, config, stops)) in ids.iter().zip(asked) {
            let limit = config.max_new_tokens;
            let tokens = TokenStream::new(&model, prompt, &end, &config).unwrap();
            let mut alone = TextStream::new(tokens, &tokenizer, stops, limit);
            let text: String = alone.by_ref().map(Result::unwrap).collect();
            assert_eq!(written[id], (text, alone.num_tokens(), alone.finish_reason()));
        }
    }
}
