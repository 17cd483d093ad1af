use std::collections::HashMap;

use super::*;
use crate::language::{LlamaConfig, LlamaDecoder, generate, generate_each};
use burn::module::Module;
use burn::tensor::Distribution;

fn model() -> LlamaDecoder {
    let config = LlamaConfig::new(40, 16, 32, 2, 4).with_num_key_value_heads(Some(2));
    config.with_initializer_range(0.5).init(&Device::default()).unwrap()
}

fn prompt(time: usize) -> Tensor<3> {
    Tensor::random([1, time, 16], Distribution::Normal(0.0, 1.0), &Device::default())
}

/// Settings of which every second sequence samples.
fn config(number: u64) -> GenerationConfig {
    let config = GenerationConfig::new().with_max_new_tokens(20 + 3 * number as usize).with_seed(4);
    let config = config.with_first_sequence(number);
    if number % 2 == 1 { config.with_temperature(1.2).with_top_k(Some(10)) } else { config }
}

#[test]
fn texts_that_begin_and_end_at_different_times_are_those_written_alone() {
    let model = model();
    let prompts = [3, 90, 1, 17, 300, 5].map(prompt);
    let alone: Vec<Vec<u32>> = prompts
        .iter()
        .enumerate()
        .map(|(number, prompt)| {
            generate(&model, prompt.clone(), &[7], &config(number as u64)).unwrap().remove(0)
        })
        .collect();
    assert!(alone.iter().any(|text| text.len() > 10));
    let mut batch = BatchDecoder::new(&model);
    let (mut texts, mut ends, mut steps) = (HashMap::<SequenceId, Vec<u32>>::new(), HashMap::new(), 0);
    let mut ids = Vec::new();
    while !batch.is_empty() || ids.len() < prompts.len() {
        // Two at once, and another one every few steps.
        if (steps % 4 == 0 || steps == 1)
            && let Some(prompt) = prompts.get(ids.len())
        {
            ids.push(batch.add(prompt.clone(), &[7], &config(ids.len() as u64)).unwrap());
        }
        for (id, decoded) in batch.step() {
            assert!(!ends.contains_key(&id), "nothing comes behind the end");
            match decoded {
                Decoded::Token(token) => texts.entry(id).or_default().push(token),
                Decoded::End => assert!(ends.insert(id, false).is_none()),
                Decoded::Full => assert!(ends.insert(id, true).is_none()),
                Decoded::Failed(error) => panic!("{error}"),
            }
        }
        steps += 1;
    }
    for (number, (id, alone)) in ids.iter().zip(&alone).enumerate() {
        assert_eq!(texts.get(id).unwrap_or(&vec![]), alone, "text {number}");
        assert_eq!(ends[id], alone.len() == config(number as u64).max_new_tokens, "text {number}");
    }
}

#[test]
fn prompts_of_unlike_lengths_are_continued_together() {
    let model = model();
    let prompts: Vec<Tensor<3>> = [4, 31, 4, 12, 1].into_iter().map(prompt).collect();
    for temperature in [0.0, 1.3] {
        let config =
            GenerationConfig::new().with_temperature(temperature).with_batch_size(3).with_first_sequence(9);
        let together = generate_each(&model, prompts.clone(), &[7], &config).unwrap();
        for (row, (prompt, text)) in prompts.iter().zip(&together).enumerate() {
            let config = config.clone().with_first_sequence(9 + row as u64);
            assert_eq!(*text, generate(&model, prompt.clone(), &[7], &config).unwrap()[0], "prompt {row}");
        }
    }
}

#[test]
fn a_cancelled_text_ends_and_the_others_do_not_notice() {
    let model = model();
    let prompts = [4, 9, 6].map(prompt);
    let config = GenerationConfig::new().with_max_new_tokens(12);
    let alone = prompts.clone().map(|prompt| generate(&model, prompt, &[], &config).unwrap().remove(0));
    let mut batch = BatchDecoder::new(&model);
    let ids = prompts.map(|prompt| batch.add(prompt, &[], &config).unwrap());
    let mut texts: HashMap<SequenceId, Vec<u32>> = HashMap::new();
    for step in 0.. {
        if step == 5 {
            assert!(batch.cancel(ids[1]));
            assert!(!batch.cancel(ids[1]), "it is gone");
        }
        if batch.is_empty() {
            break;
        }
        for (id, decoded) in batch.step() {
            if let Decoded::Token(token) = decoded {
                texts.entry(id).or_default().push(token);
            }
        }
    }
    assert_eq!((&texts[&ids[0]], &texts[&ids[2]]), (&alone[0], &alone[2]));
    assert_eq!(texts[&ids[1]], alone[1][..texts[&ids[1]].len()]);
    assert!(texts[&ids[1]].len() < 6);
    // One that has not begun.
    let waiting = batch.add(prompt(3), &[], &config).unwrap();
    assert!(batch.cancel(waiting) && batch.is_empty() && batch.step().is_empty());
}

/// A prompt of several chunks has the text of one that goes through the model at once.
#[test]
fn prompts_go_through_the_model_in_chunks() {
    let model = model();
    for time in [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 40] {
        let mut sequence = prompt(time);
        let text =
            generate(&model, sequence.clone(), &[], &GenerationConfig::new().with_max_new_tokens(5)).unwrap();
        for token in &text[0] {
            let hidden = model.forward(sequence.clone(), None);
            let last = hidden.dims()[1] - 1;
            let best = model.logits(hidden.narrow(1, last, 1).reshape([1, 16])).argmax(1);
            assert_eq!(
                best.clone().into_data().iter::<i64>().collect::<Vec<_>>(),
                [i64::from(*token)],
                "{time}"
            );
            sequence = Tensor::cat(vec![sequence, model.embed(best)], 1);
        }
    }
}

/// The sum of its inputs in a state of its own, so that it knows nothing of padding.
#[derive(Module, Debug)]
struct Recurrent {
    model: LlamaDecoder,
}

impl LanguageModel for Recurrent {
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
        let cache = cache.expect("decoding gives a cache");
        let sums = embeddings.clone().cumsum(1);
        let sums = match cache.state::<Tensor<3>>() {
            Some(state) => sums + state,
            None => sums,
        };
        let [_, time, _] = embeddings.dims();
        cache.set_state(sums.clone().narrow(1, time - 1, 1), time);
        sums
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.model.logits(hidden)
    }
}

#[test]
fn a_model_without_padding_takes_one_group_after_the_other() {
    let model = Recurrent { model: model() };
    let prompts = [4, 9, 4].map(prompt);
    let config = GenerationConfig::new().with_max_new_tokens(6);
    let alone = prompts.clone().map(|prompt| generate(&model, prompt, &[], &config).unwrap().remove(0));
    assert_eq!(generate_each(&model, prompts.to_vec(), &[], &config).unwrap(), alone);
}
