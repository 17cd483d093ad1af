/// The words of a text: runs of letters and digits, in lower case. All else only separates them, so that `don't` is two
/// words and `well-known` as well.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        assert_eq!(words("A red-haired  man, No. 7!"), ["a", "red", "haired", "man", "no", "7"]);
        assert_eq!(words("GRÜN 緑"), ["grün", "緑"]);
        assert!(words(" .,;\n").is_empty());
    }
}
