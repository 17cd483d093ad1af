use std::collections::HashMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::captions::CaptionOverlap;
use super::{ConversationDataset, ReVision, TokenizedSample};
use crate::Result;
use crate::language::{GenerationConfig, LanguageModel, Tokenizer, generate};

/// How well captions are predicted and written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptionScores {
    /// The mean negative log-likelihood of a labelled token, in nats.
    pub nll: f64,
    /// The mean over samples of [`word_f1`] between written and true caption.
    pub word_f1: f64,
    /// The share of samples whose written caption is the true one.
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

/// Scores, and the captions that were written.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The scores.
    pub scores: CaptionScores,
    /// What the model wrote for each sample.
    pub captions: Vec<String>,
}

/// Measures `model` on `dataset`, `batch_size` samples at a time; captions are written as `generation` says.
///
/// # Errors
///
/// What [`ConversationDataset::check`] refuses.
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
) -> Result<Evaluation> {
    let tokens = dataset.samples().iter().map(TokenizedSample::num_labels).sum();
    let nll = mean_nll(model, dataset, batch_size, device)?;
    let captions = write_captions(model, dataset, tokenizer, generation, batch_size, device)?;
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
    Ok(Evaluation { scores, captions })
}

/// The mean negative log-likelihood of all labelled tokens of `dataset`, in nats: the part of [`evaluate`] that writes
/// nothing. Where the source has noise, it is that of step 0.
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
    let mut items: Vec<usize> = (0..dataset.len()).collect();
    items.sort_by_key(|item| dataset.samples()[*item].tokens.len());
    let (mut sum, mut labels) = (0.0, 0);
    for items in items.chunks(batch_size) {
        let batch = dataset.micro_batch(items, model.num_visual_tokens(), (0, 0), device)?;
        sum += model.loss(&batch).into_scalar::<f64>() * batch.num_labels() as f64;
        labels += batch.num_labels();
    }
    Ok(sum / labels as f64)
}

/// Continues the prompt of every sample. Prompts of one length go through the model together: they need no padding.
fn write_captions<L: LanguageModel>(
    model: &ReVision<L>,
    dataset: &ConversationDataset,
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<String>> {
    let mut groups: HashMap<(usize, bool), Vec<usize>> = HashMap::new();
    for (item, sample) in dataset.samples().iter().enumerate() {
        // A picture that is shown after the first answer is no part of the prompt.
        let shown = sample.image_at.is_some_and(|at| at <= sample.prompt_len());
        groups.entry((sample.prompt_len(), shown)).or_default().push(item);
    }
    let mut captions = vec![String::new(); dataset.len()];
    for ((prompt, has_image), items) in groups {
        let time = prompt + if has_image { model.num_visual_tokens() } else { 0 };
        for items in items.chunks(batch_size) {
            let batch = dataset.micro_batch(items, model.num_visual_tokens(), (0, 0), device)?;
            let embeddings = model.splice(&batch).narrow(1, 0, time);
            let texts = generate(&model.language, embeddings, dataset.stops(), generation);
            for (item, text) in items.iter().zip(texts) {
                captions[*item] = tokenizer.decode(&text);
            }
        }
    }
    Ok(captions)
}

/// The first answer of a sample.
fn answer(sample: &TokenizedSample, end: u32, tokenizer: &Tokenizer) -> String {
    let labelled = sample.tokens.iter().zip(&sample.labelled).skip(sample.prompt_len());
    let tokens: Vec<u32> = labelled
        .take_while(|(token, labelled)| **labelled && **token != end)
        .map(|(token, _)| *token)
        .collect();
    tokenizer.decode(&tokens)
}

/// The F1 score between the words of two texts, counted with multiplicity and without regard to case, punctuation or
/// order; 1 for two texts without words.
///
/// ```
/// use burn_revision::revision::word_f1;
/// assert_eq!(word_f1("A red apple!", "a red pear"), 2.0 / 3.0);
/// ```
pub fn word_f1(written: &str, truth: &str) -> f64 {
    let words = |text: &str| {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        counts
    };
    let (written, truth) = (words(written), words(truth));
    let total: usize = written.values().sum::<usize>() + truth.values().sum::<usize>();
    if total == 0 {
        return 1.0;
    }
    let common: usize = written.iter().map(|(word, count)| *count.min(truth.get(word).unwrap_or(&0))).sum();
    2.0 * common as f64 / total as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_f1_is_one_for_the_same_words_and_zero_for_none_in_common() {
        assert_eq!(word_f1("grinning face", "face, grinning"), 1.0);
        assert_eq!(word_f1("cat", "dog"), 0.0);
        assert_eq!(word_f1("", "dog"), 0.0);
        assert_eq!(word_f1("", ""), 1.0);
    }

    #[test]
    fn repeated_words_count_once_each() {
        assert_eq!(word_f1("flag flag flag", "flag"), 0.5);
    }

    #[test]
    fn word_f1_is_symmetric() {
        let (a, b) = ("woman with red hair", "man with hair");
        assert_eq!(word_f1(a, b), word_f1(b, a));
    }
}
