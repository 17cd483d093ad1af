use tokenizers::SplitDelimiterBehavior::Isolated;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What llama.cpp does with files that name no pre-tokenizer or name it `default`.
const DEFAULT: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];

/// How text is split into words before each is encoded: llama.cpp's `tokenizer.ggml.pre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreTokenizer {
    Default,
    Gpt2,
    Smollm,
    Llama3,
    Qwen2,
}

impl PreTokenizer {
    /// The names that are understood.
    pub(super) const NAMES: &str =
        "\"default\", \"gpt-2\", \"smollm\", \"llama-bpe\" (or \"llama3\", \"llama-v3\") or \"qwen2\"";

    /// The one of a name in the metadata.
    pub(super) fn named(name: Option<&str>) -> Option<Self> {
        Some(match name {
            None | Some("default") => Self::Default,
            Some("gpt-2") => Self::Gpt2,
            Some("smollm") => Self::Smollm,
            Some("llama-bpe" | "llama3" | "llama-v3") => Self::Llama3,
            Some("qwen2") => Self::Qwen2,
            Some(_) => return None,
        })
    }

    /// Whether a word that is a token is taken whole, even where no merges lead there.
    pub(super) fn ignores_merges(self) -> bool {
        self == Self::Llama3
    }

    /// Whether texts begin with the bos token by default.
    pub(super) fn adds_bos(self) -> bool {
        self == Self::Llama3
    }

    /// Splits text, then writes each byte of the words as one character.
    pub(super) fn build(self) -> tokenizers::Result<PreTokenizerWrapper> {
        // The expression of GPT-2 is built into this type.
        let gpt2 = ByteLevel::new(false, true, true);
        let bytes = ByteLevel::new(false, true, false);
        Ok(match self {
            Self::Gpt2 => gpt2.into(),
            Self::Smollm => Sequence::new(vec![Digits::new(true).into(), gpt2.into()]).into(),
            Self::Default => splits(&DEFAULT, bytes)?,
            Self::Llama3 => splits(&[LLAMA3], bytes)?,
            Self::Qwen2 => splits(&[QWEN2], bytes)?,
        })
    }
}

fn splits(patterns: &[&str], bytes: ByteLevel) -> tokenizers::Result<PreTokenizerWrapper> {
    let mut steps = Vec::new();
    for pattern in patterns {
        steps.push(Split::new(SplitPattern::Regex(pattern.to_string()), Isolated, false)?.into());
    }
    steps.push(bytes.into());
    Ok(Sequence::new(steps).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

    /// The words of a text, with spaces as they are.
    fn words(pre: PreTokenizer, text: &str) -> Vec<String> {
        let mut string = PreTokenizedString::from(text);
        pre.build().unwrap().pre_tokenize(&mut string).unwrap();
        let splits = string.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_string()).collect()
    }

    #[test]
    fn each_splits_in_its_own_way() {
        let text = "It's  1234 x=\n\n\"a\"";
        let expected: [(_, &[&str]); 5] = [
            (PreTokenizer::Gpt2, &["It", "'s", " ", " 1234", " x", "=", "\n", "\n", "\"", "a", "\""]),
            (
                PreTokenizer::Smollm,
                &["It", "'s", "  ", "1", "2", "3", "4", " x", "=", "\n", "\n", "\"", "a", "\""],
            ),
            (PreTokenizer::Llama3, &["It", "'s", " ", " ", "123", "4", " x", "=\n\n", "\"a", "\""]),
            (PreTokenizer::Qwen2, &["It", "'s", " ", " ", "1", "2", "3", "4", " x", "=\n\n", "\"a", "\""]),
            (
                PreTokenizer::Default,
                &["It", "'", "s", " ", " ", "123", "4", " x", "=", "\n\n", "\"", "a", "\""],
            ),
        ];
        for (pre, words_expected) in expected {
            assert_eq!(words(pre, text), words_expected, "{pre:?}");
        }
    }
}
