use std::io::Write;
use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, TokenizerImpl};

use crate::{Error, Result, atomic};

const BOS: &str = "<bos>";
const EOS: &str = "<eos>";

/// A Hugging Face tokenizer (`tokenizer.json`) together with the ids of its special tokens.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: u32,
    eos: u32,
}

impl Tokenizer {
    /// Learns a byte-level BPE of at most `vocab_size` tokens, `<bos>` and `<eos>` among them.
    ///
    /// Every byte is a token, so any text can be encoded; below 258 tokens nothing is merged.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] without texts.
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// let tokenizer = Tokenizer::train(&["a red apple", "a green apple"], 280).unwrap();
    /// let tokens = tokenizer.encode("a blue apple");
    /// assert_eq!(tokenizer.decode(&tokens), "a blue apple");
    /// ```
    pub fn train<S: AsRef<str> + Sync>(texts: &[S], vocab_size: usize) -> Result<Self> {
        if texts.is_empty() {
            return Err(Error::TooFewRows {
                what: "texts to learn tokens from".into(),
                needed: 1,
                actual: 0,
            });
        }
        let specials = [BOS, EOS].map(|token| AddedToken::from(token, true));
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size)
            .special_tokens(specials.to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut inner: TokenizerImpl<
            BPE,
            NormalizerWrapper,
            ByteLevel,
            PostProcessorWrapper,
            ByteLevelDecoder,
        > = TokenizerImpl::new(BPE::default());
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevelDecoder::new(false, true, true)));
        inner
            .train(&mut trainer, texts.iter().map(|text| text.as_ref().to_string()))
            .map_err(|source| Error::config("tokenizer", source.to_string()))?;
        Self::with_special_tokens(inner.into(), BOS, EOS).map_err(|detail| Error::config("tokenizer", detail))
    }

    /// Reads a `tokenizer.json` and looks up its special tokens by name.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the file cannot be read or does not know one of the tokens.
    pub fn load(path: impl AsRef<Path>, bos: &str, eos: &str) -> Result<Self> {
        let inner = tokenizers::Tokenizer::from_file(&path)
            .map_err(|source| Error::format(&path, format!("not a tokenizer: {source}")))?;
        Self::with_special_tokens(inner, bos, eos).map_err(|detail| Error::format(&path, detail))
    }

    /// Reads a `tokenizer.json` written by [`save`](Self::save) of a tokenizer made by [`train`](Self::train).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_trained(path: impl AsRef<Path>) -> Result<Self> {
        Self::load(path, BOS, EOS)
    }

    fn with_special_tokens(
        inner: tokenizers::Tokenizer,
        bos: &str,
        eos: &str,
    ) -> std::result::Result<Self, String> {
        let id = |token: &str| inner.token_to_id(token).ok_or_else(|| format!("no special token {token:?}"));
        // Some models refuse what is not in their vocabulary; encoding must not fail in the middle of a run.
        inner
            .encode_fast("\u{1f600} \u{7f}\u{3042}?", false)
            .map_err(|source| format!("cannot encode any text: {source}"))?;
        Ok(Self { bos: id(bos)?, eos: id(eos)?, inner })
    }

    /// Writes `tokenizer.json`, under a temporary name first.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let json = self.inner.to_string(true).map_err(|source| Error::format(&path, source.to_string()))?;
        atomic::write(path.as_ref(), |file| file.write_all(json.as_bytes()))
    }

    /// The tokens of a text, without special tokens around them.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.inner.encode_fast(text, false).expect("byte-level tokens cover any text").get_ids().to_vec()
    }

    /// The text of tokens, without special tokens.
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.inner.decode(tokens, true).expect("decoding joins strings")
    }

    /// The number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token in front of every text.
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// The token after every answer.
    pub fn eos(&self) -> u32 {
        self.eos
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(&["grinning face", "smiling face with open hands", "face with tongue"], 300).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC{0,40}") {
            let tokenizer = tokenizer();
            let tokens = tokenizer.encode(&text);
            prop_assert!(tokens.iter().all(|token| (*token as usize) < tokenizer.vocab_size()));
            // The names of special tokens are read as such, here as in every Hugging Face tokenizer.
            prop_assume!(![BOS, EOS].iter().any(|special| text.contains(special)));
            prop_assert_eq!(tokenizer.decode(&tokens), text);
        }
    }

    #[test]
    fn frequent_words_are_merged() {
        let tokenizer = tokenizer();
        assert!(tokenizer.encode("face").len() < 4);
        assert!(tokenizer.vocab_size() <= 300);
    }

    #[test]
    fn learning_is_deterministic_and_files_round_trip() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokenizer.json");
        let tokenizer = tokenizer();
        tokenizer.save(&path).unwrap();
        let loaded = Tokenizer::load_trained(&path).unwrap();
        for other in [loaded, self::tokenizer()] {
            assert_eq!(other.encode("a smiling hand"), tokenizer.encode("a smiling hand"));
            assert_eq!((other.bos(), other.eos()), (tokenizer.bos(), tokenizer.eos()));
        }
    }

    #[test]
    fn broken_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokenizer.json");
        std::fs::write(&path, "{\"model\":").unwrap();
        assert!(Tokenizer::load_trained(&path).unwrap_err().to_string().contains("tokenizer.json"));
        tokenizer().save(&path).unwrap();
        let error = Tokenizer::load(&path, "<s>", EOS).unwrap_err();
        assert!(error.to_string().contains("<s>"), "{error}");
    }
}
