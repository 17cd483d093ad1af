use std::collections::HashMap;

use burn::data::dataloader::Progress;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::metric::{
    BleuInput, BleuScore, Metric, MetricMetadata, Numeric, NumericEntry, RougeLInput, RougeLScore,
};

use super::cider::{cider_d, mean};
use super::words::words;
use crate::{Error, Result};

/// The overlap between the words of generated texts and of true ones, one true text for each.
///
/// Words are compared in lower case and without punctuation. BLEU-4 (without smoothing) and ROUGE-L are burn-train's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::revision) struct CaptionOverlap {
    /// BLEU-4 over all texts together, 0 to 1.
    pub bleu_4: f64,
    /// The mean F1 of the longest common subsequence, 0 to 1.
    pub rouge_l: f64,
    /// The mean CIDEr-D, 0 to 10; `None` for fewer than two texts, of which every word would be common to all.
    pub cider_d: Option<f64>,
}

impl CaptionOverlap {
    /// Compares texts one by one.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where there are not as many truths as texts, [`Error::TooFewRows`] for none.
    pub fn measure(written: &[String], truths: &[String]) -> Result<Self> {
        if written.len() != truths.len() {
            return Err(Error::mismatch("true texts for written ones", written.len(), truths.len()));
        }
        if written.is_empty() {
            return Err(Error::TooFewRows { what: "texts to compare".into(), needed: 1, actual: 0 });
        }
        let mut vocabulary = HashMap::new();
        let mut numbered = |texts: &[String]| -> Vec<Vec<i64>> {
            let number = |word: String| {
                // 0 fills the rows.
                let next = vocabulary.len() as i64 + 1;
                *vocabulary.entry(word).or_insert(next)
            };
            let mut number = number;
            texts.iter().map(|text| words(text).into_iter().map(&mut number).collect()).collect()
        };
        let (written_ids, true_ids) = (numbered(written), numbered(truths));
        // burn-train's metrics expect both tensors to have the same width.
        let width = written_ids.iter().chain(&true_ids).map(Vec::len).max().unwrap_or(0).max(1);
        let (outputs, targets) = (table(&written_ids, width), table(&true_ids, width));
        let metadata = MetricMetadata { progress: Progress::new(1, 1, None), iteration: None, lr: None };
        let failed = |error: burn::tensor::TensorReadError| Error::config("overlap", error.to_string());

        // All texts at once: BLEU over a corpus is no mean of parts.
        let mut bleu = BleuScore::new().with_pad_token(0);
        bleu.update(&BleuInput::new(outputs.clone(), targets.clone()), &metadata).map_err(failed)?;
        let mut rouge = RougeLScore::new().with_pad_token(0);
        rouge.update(&RougeLInput::new(outputs, targets), &metadata).map_err(failed)?;
        let share = |entry: NumericEntry| entry.current() / 100.0;
        let cider = if written.len() < 2 {
            None
        } else {
            let captions: Vec<(&str, &[String])> = written
                .iter()
                .zip(truths)
                .map(|(text, truth)| (text.as_str(), std::slice::from_ref(truth)))
                .collect();
            Some(mean(&cider_d(&captions)?))
        };
        Ok(Self { bleu_4: share(bleu.final_value()), rouge_l: share(rouge.final_value()), cider_d: cider })
    }
}

fn table(rows: &[Vec<i64>], width: usize) -> Tensor<2, Int> {
    let mut values = vec![0; rows.len() * width];
    for (row, slots) in rows.iter().zip(values.chunks_mut(width)) {
        slots[..row.len()].copy_from_slice(row);
    }
    Tensor::from_data(TensorData::new(values, [rows.len(), width]), &Device::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(String::from).to_vec()
    }

    #[test]
    fn the_truth_itself_is_one() {
        let truths = texts(["a red apple on the table", "a green pear in a bowl"]);
        let overlap = CaptionOverlap::measure(&truths, &truths).unwrap();
        assert_eq!((overlap.bleu_4, overlap.rouge_l), (1.0, 1.0));
    }

    #[test]
    fn nothing_in_common_is_zero() {
        let overlap =
            CaptionOverlap::measure(&texts(["cat", ""]), &texts(["a big dog", "one two three four five"]));
        let overlap = overlap.unwrap();
        assert_eq!((overlap.bleu_4, overlap.rouge_l, overlap.cider_d), (0.0, 0.0, Some(0.0)));
    }

    #[test]
    fn rouge_is_the_f1_of_the_longest_common_subsequence() {
        // "the cat sat" of 4 and 5 words: precision 3/4, recall 3/5.
        let overlap =
            CaptionOverlap::measure(&texts(["the cat sat down"]), &texts(["the black cat sat there"]))
                .unwrap();
        let (precision, recall) = (3.0 / 4.0, 3.0 / 5.0);
        assert_abs_diff_eq!(overlap.rouge_l, 2.0 * precision * recall / (precision + recall), epsilon = 1e-9);
        assert_eq!(overlap.cider_d, None);
    }

    #[test]
    fn bleu_is_the_geometric_mean_of_the_precisions_of_the_corpus() {
        // Of 6 + 4 words 9 are right, of 5 + 3 pairs 6, of 4 + 2 triples 4, of 3 + 1 quadruples 2; no brevity penalty.
        let written = texts(["a b c d e x", "p q r s"]);
        let truths = texts(["a b c d e f", "p q z r s"]);
        let overlap = CaptionOverlap::measure(&written, &truths).unwrap();
        let precisions = [9.0 / 10.0, 6.0 / 8.0, 3.0 / 6.0, 2.0 / 4.0f64];
        let brevity = (1.0 - 11.0 / 10.0f64).exp();
        let expected = brevity * (precisions.iter().map(|p| p.ln()).sum::<f64>() / 4.0).exp();
        assert_abs_diff_eq!(overlap.bleu_4, expected, epsilon = 1e-6);
    }

    #[test]
    fn case_and_punctuation_do_not_matter() {
        let overlap = CaptionOverlap::measure(&texts(["A Red, apple!"]), &texts(["a red apple"])).unwrap();
        assert_eq!(overlap.rouge_l, 1.0);
    }
}
