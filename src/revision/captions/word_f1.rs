use std::collections::HashMap;

use super::words::words;

/// The F1 score between the words of two texts, counted with multiplicity and without regard to case, punctuation or
/// order; 1 for two texts without words.
pub(in crate::revision) fn word_f1(written: &str, truth: &str) -> f64 {
    let count = |text: &str| {
        let mut counts: HashMap<String, usize> = HashMap::new();
        words(text).into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
        counts
    };
    let (written, truth) = (count(written), count(truth));
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
        assert_eq!(word_f1("A red apple!", "a red pear"), 2.0 / 3.0);
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
