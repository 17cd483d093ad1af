use std::collections::{BTreeMap, HashMap, HashSet};

use super::words::words;
use crate::{Error, Result};

/// Single words up to sequences of four.
const ORDERS: usize = 4;

/// The width of the Gaussian that punishes other lengths, in words.
const SIGMA: f64 = 6.0;

/// CIDEr-D of captions against the references of each, 0 to 10, Vedantam et al. 2015, arXiv 1411.5726.
///
/// Both are cut into n-grams of one to four words, and the weight of an n-gram is its count times
/// `ln(captions / captions with it in a reference)`. For each order, the score is the cosine between the two vectors,
/// with counts of the caption clipped to those of the reference, times `exp(-(difference in length)^2 / 72)`; these
/// are averaged over orders and references and multiplied by 10.
///
/// Words are runs of letters and digits in lower case. Published numbers come from the PTB tokeniser, which treats
/// some punctuation otherwise; on words that are apart already, this agrees with `pycocoevalcap`. As there, the length
/// of a caption is the number of its word pairs, so that none and one word are equally long.
///
/// # Errors
///
/// [`Error::TooFewRows`] for fewer than two captions, of which every word would be in all; [`Error::Sample`] for a
/// caption without references, named by its index.
pub(super) fn cider_d(captions: &[(&str, &[String])]) -> Result<Vec<f64>> {
    if captions.len() < 2 {
        return Err(Error::TooFewRows {
            what: "captions for CIDEr-D".to_string(),
            needed: 2,
            actual: captions.len(),
        });
    }
    if let Some(index) = captions.iter().position(|(_, references)| references.is_empty()) {
        return Err(Error::sample(index.to_string(), "expected at least one reference, found none"));
    }
    let texts: Vec<(Vec<String>, Vec<Vec<String>>)> = captions
        .iter()
        .map(|(candidate, references)| {
            (words(candidate), references.iter().map(|text| words(text)).collect())
        })
        .collect();
    let mut frequency: HashMap<&[String], usize> = HashMap::new();
    for (_, references) in &texts {
        let seen: HashSet<&[String]> = references.iter().flat_map(|words| ngrams(words)).collect();
        seen.into_iter().for_each(|ngram| *frequency.entry(ngram).or_default() += 1);
    }
    let weight = |ngram: &[String]| {
        // An n-gram in no reference is as rare as one in a single reference.
        let captions_with = frequency.get(ngram).copied().unwrap_or(0).max(1);
        (captions.len() as f64).ln() - (captions_with as f64).ln()
    };
    let scores = texts
        .iter()
        .map(|(candidate, references)| {
            let candidate = Vectors::new(candidate, weight);
            let sum: f64 =
                references.iter().map(|words| candidate.similarity(&Vectors::new(words, weight))).sum();
            10.0 * sum / references.len() as f64
        })
        .collect();
    Ok(scores)
}

/// The mean of scores.
pub(super) fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// All sequences of one to four words.
fn ngrams(words: &[String]) -> impl Iterator<Item = &[String]> {
    (1..=ORDERS).flat_map(|order| words.windows(order))
}

/// A caption as one weighted vector of n-grams for each order.
struct Vectors<'a> {
    /// In the order of the words, so that sums do not depend on anything else.
    orders: [BTreeMap<&'a [String], f64>; ORDERS],
    norms: [f64; ORDERS],
    pairs: usize,
}

impl<'a> Vectors<'a> {
    fn new(words: &'a [String], weight: impl Fn(&[String]) -> f64) -> Self {
        let mut orders: [BTreeMap<&[String], f64>; ORDERS] = Default::default();
        for ngram in ngrams(words) {
            *orders[ngram.len() - 1].entry(ngram).or_default() += 1.0;
        }
        let norms = std::array::from_fn(|order| {
            let vector = &mut orders[order];
            vector.iter_mut().for_each(|(ngram, value)| *value *= weight(ngram));
            vector.values().map(|value| value * value).sum::<f64>().sqrt()
        });
        Self { orders, norms, pairs: words.len().saturating_sub(1) }
    }

    /// The mean over the orders of the clipped and length-punished cosines.
    fn similarity(&self, reference: &Self) -> f64 {
        let difference = self.pairs.abs_diff(reference.pairs) as f64;
        let length = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
        let cosine = |order: usize| {
            let norms = self.norms[order] * reference.norms[order];
            // No n-gram of this order, or none that tells samples apart.
            if norms == 0.0 {
                return 0.0;
            }
            let theirs = &reference.orders[order];
            let common =
                self.orders[order].iter().filter_map(|(ngram, value)| Some((value, theirs.get(ngram)?)));
            common.map(|(value, theirs)| value.min(*theirs) * theirs).sum::<f64>() / norms
        };
        length * (0..ORDERS).map(cosine).sum::<f64>() / ORDERS as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use proptest::prelude::*;

    #[derive(serde::Deserialize)]
    struct Corpus {
        samples: Vec<Captioned>,
        scores: Vec<f64>,
        mean: f64,
    }

    #[derive(Clone, Debug, serde::Deserialize)]
    struct Captioned {
        candidate: String,
        references: Vec<String>,
    }

    fn score(samples: &[Captioned]) -> Vec<f64> {
        let samples: Vec<_> =
            samples.iter().map(|sample| (sample.candidate.as_str(), sample.references.as_slice())).collect();
        cider_d(&samples).unwrap()
    }

    fn sample(candidate: &str, references: &[&str]) -> Captioned {
        let references = references.iter().map(|text| text.to_string()).collect();
        Captioned { candidate: candidate.to_string(), references }
    }

    /// `tests/reference/make_cider_fixture.py` has made the captions and scored them with `pycocoevalcap`.
    #[test]
    fn scores_are_those_of_pycocoevalcap() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/cider.json");
        let corpora: Vec<Corpus> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for Corpus { samples, scores, mean } in &corpora {
            let found = score(samples);
            assert_abs_diff_eq!(found.as_slice(), scores.as_slice(), epsilon = 1e-9);
            assert_abs_diff_eq!(super::mean(&found), *mean, epsilon = 1e-9);
        }
    }

    #[test]
    fn perfect_captions_of_a_distinct_corpus_score_ten() {
        let texts = ["one two three four", "five six seven eight nine", "Ten, eleven: twelve-thirteen!"];
        let found = score(&texts.map(|text| sample(text, &[text])));
        assert_abs_diff_eq!(found.as_slice(), [10.0; 3].as_slice(), epsilon = 1e-12);
        assert_abs_diff_eq!(mean(&found), 10.0, epsilon = 1e-12);
    }

    #[test]
    fn captions_without_common_words_score_zero() {
        let samples = [sample("a b c d", &["e f g h"]), sample("", &["i j k l"]), sample("m n", &["", "?"])];
        assert_eq!(score(&samples), [0.0; 3]);
    }

    #[test]
    fn words_of_every_sample_count_for_nothing_and_length_is_punished() {
        let common = [sample("the end", &["the end"]), sample("the end", &["the end of it"])];
        assert_eq!(score(&common), [0.0, 0.0]);
        let text = "one two three four five";
        // Repeating a caption changes no count that is not clipped, but its length.
        let repeated = format!("{text} {text}");
        let long = score(&[sample(&repeated, &[text]), sample("x", &["y"])])[0];
        assert!(0.0 < long && long < 10.0 * (-25.0_f64 / 72.0).exp(), "{long}");
    }

    #[test]
    fn corpora_that_say_nothing_are_errors() {
        let references = ["a".to_string()];
        let error = cider_d(&[("a", &references)]).unwrap_err().to_string();
        assert_eq!(error, "captions for CIDEr-D: needs at least 2 rows, found 1");
        let error = cider_d(&[("a", &references), ("b", &[])]).unwrap_err().to_string();
        assert_eq!(error, "sample \"1\": expected at least one reference, found none");
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-e]", 0..8).prop_map(|words| words.join(" "))
    }

    fn corpora() -> impl Strategy<Value = Vec<Captioned>> {
        let sample = (text(), proptest::collection::vec(text(), 1..4))
            .prop_map(|(candidate, references)| Captioned { candidate, references });
        proptest::collection::vec(sample, 2..7)
    }

    proptest! {
        #[test]
        fn the_order_of_the_samples_is_irrelevant(samples in corpora(), seed: usize) {
            let mut turned = samples.clone();
            turned.rotate_left(seed % samples.len());
            let mut expected = score(&samples);
            expected.rotate_left(seed % samples.len());
            prop_assert_eq!(score(&turned), expected);
        }

        #[test]
        fn scores_lie_between_zero_and_ten(samples in corpora()) {
            let found = score(&samples);
            prop_assert!(found.iter().all(|score| (0.0..=10.0 + 1e-9).contains(score)), "{:?}", found);
        }

        #[test]
        fn case_and_punctuation_change_nothing(samples in corpora()) {
            let shouted = |text: &String| text.to_uppercase().replace(' ', ", ");
            let others: Vec<_> = samples.iter().map(|sample| Captioned {
                candidate: shouted(&sample.candidate),
                references: sample.references.iter().map(shouted).collect(),
            }).collect();
            prop_assert_eq!(score(&others), score(&samples));
        }
    }
}
