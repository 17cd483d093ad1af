use std::collections::HashMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::captions::{CaptionOverlap, word_f1};
use super::dataset::FIXED_DRAW;
use super::{ConversationDataset, ReVision, Sample};
use crate::Result;
use crate::language::{GenerationConfig, LanguageModel, Tokenizer, generate_numbered};

/// How well captions are predicted and written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptionScores {
    /// The mean negative log-likelihood of a labelled token, in nats.
    pub nll: f64,
    /// The mean over samples of the F1 score between the words of generated and true caption, counted with multiplicity
    /// and without regard to case, punctuation or order; 1 for two captions without words.
    pub word_f1: f64,
    /// The share of samples with the true caption generated exactly.
    pub exact_match: f64,
    /// BLEU-4 over all samples together (Papineni et al., ACL 2002), 0 to 1.
    pub bleu_4: f64,
    /// The mean ROUGE-L F1 (Lin, 2004), 0 to 1.
    pub rouge_l: f64,
    /// CIDEr-D (arXiv 1411.5726), 0 to 10, where there are at least two samples.
    pub cider_d: Option<f64>,
    /// The number of samples.
    pub samples: usize,
    /// The number of labelled tokens.
    pub tokens: usize,
}

/// Measures `model` on `dataset`, `batch_size` samples at a time; captions are generated with the settings `generation`.
///
/// # Returns
///
/// The scores, and the generated caption of each sample.
///
/// # Errors
///
/// What [`ConversationDataset::check`] and [`generate`](crate::language::generate) refuse.
///
/// # Panics
///
/// Panics if `batch_size` is zero.
pub fn evaluate<L: LanguageModel>(
    model: &ReVision<L>,
    dataset: &ConversationDataset,
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    batch_size: usize,
    device: &Device,
) -> Result<(CaptionScores, Vec<String>)> {
    let tokens = dataset.samples().iter().map(Sample::num_labels).sum();
    let nll = mean_nll(model, dataset, batch_size, device)?;
    let captions = generate_captions(model, dataset, tokenizer, generation, batch_size, device)?;
    let truths: Vec<String> =
        dataset.samples().iter().map(|sample| answer(sample, dataset.end(), tokenizer)).collect();
    let (mut f1, mut exact) = (0.0, 0);
    for (caption, truth) in captions.iter().zip(&truths) {
        f1 += word_f1(caption, truth);
        exact += usize::from(caption.trim() == truth.trim());
    }
    let samples = dataset.len();
    let overlap = CaptionOverlap::measure(&captions, &truths)?;
    let scores = CaptionScores {
        nll,
        word_f1: f1 / samples as f64,
        exact_match: exact as f64 / samples as f64,
        bleu_4: overlap.bleu_4,
        rouge_l: overlap.rouge_l,
        cider_d: overlap.cider_d,
        samples,
        tokens,
    };
    Ok((scores, captions))
}

/// The mean negative log-likelihood of all labelled tokens of `dataset`, in nats: the part of [`evaluate`] without
/// generation. Where the source adds noise, it is that of step 0.
///
/// # Errors
///
/// What [`ConversationDataset::check`] and [`VisualSource::show`](super::VisualSource::show) refuse.
///
/// # Panics
///
/// Panics if `batch_size` is zero.
pub fn mean_nll<L: LanguageModel>(
    model: &ReVision<L>,
    dataset: &ConversationDataset,
    batch_size: usize,
    device: &Device,
) -> Result<f64> {
    dataset.check(model)?;
    let (mut sum, mut labels) = (0.0, 0);
    for items in dataset.by_length().chunks(batch_size) {
        let batch = dataset.batch(items, model.num_visual_tokens(), FIXED_DRAW, device)?;
        sum += model.loss(&batch).into_scalar::<f64>() * batch.num_labels() as f64;
        labels += batch.num_labels();
    }
    Ok(sum / labels as f64)
}

/// Continues the prompt of every sample. Prompts of equal length go through the model together, without padding.
fn generate_captions<L: LanguageModel>(
    model: &ReVision<L>,
    dataset: &ConversationDataset,
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<String>> {
    let mut groups: HashMap<(usize, bool), Vec<usize>> = HashMap::new();
    for (item, sample) in dataset.samples().iter().enumerate() {
        // A picture after the first answer is no part of the prompt.
        let shown = sample.image_at.is_some_and(|at| at <= sample.prompt_len());
        groups.entry((sample.prompt_len(), shown)).or_default().push(item);
    }
    let mut captions = vec![String::new(); dataset.len()];
    for ((prompt, has_image), items) in groups {
        let time = prompt + if has_image { model.num_visual_tokens() } else { 0 };
        for items in items.chunks(batch_size) {
            let batch = dataset.batch(items, model.num_visual_tokens(), FIXED_DRAW, device)?;
            let embeddings = model.splice(&batch).narrow(1, 0, time);
            // Sampled texts do not depend on who shares a batch.
            let numbers: Vec<u64> =
                items.iter().map(|item| generation.first_sequence + *item as u64).collect();
            let texts =
                generate_numbered(&model.language, embeddings, dataset.stops(), generation, &numbers)?;
            for (item, text) in items.iter().zip(texts) {
                captions[*item] = tokenizer.decode(&text);
            }
        }
    }
    Ok(captions)
}

/// The first answer of a sample, whole: what is written is held against all of it, also where it was cut for training.
fn answer(sample: &Sample, end: u32, tokenizer: &Tokenizer) -> String {
    if let Some(tokens) = &sample.first_answer {
        let tokens: Vec<u32> = tokens.iter().copied().take_while(|token| *token != end).collect();
        return tokenizer.decode(&tokens);
    }
    let labelled = sample.tokens.iter().zip(&sample.labelled).skip(sample.prompt_len());
    let tokens: Vec<u32> = labelled
        .take_while(|(token, labelled)| **labelled && **token != end)
        .map(|(token, _)| *token)
        .collect();
    tokenizer.decode(&tokens)
}
