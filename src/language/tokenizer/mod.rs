mod continued;
mod files;
mod folder;
mod json;

use std::io::Write;
use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, TokenizerImpl};

use self::continued::Continued;
use super::ChatTemplate;
use crate::{Error, Result, atomic};

const BOS: &str = "<bos>";
const EOS: &str = "<eos>";

/// A Hugging Face tokenizer (`tokenizer.json`) together with the ids of its special tokens and its chat template.
///
/// # Example
///
/// ```
/// use burn_revision::language::Tokenizer;
/// let tokenizer = Tokenizer::train(&["a red apple", "a green apple"], 280).unwrap();
/// assert!(tokenizer.vocab_size() <= 280);
/// assert_eq!(tokenizer.decode(&tokenizer.encode("a red apple")), "a red apple");
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos: Option<u32>,
    stop: Vec<u32>,
    chat_template: Option<ChatTemplate>,
    /// The number of tokens that the model knows, where that is known.
    model_tokens: Option<usize>,
    /// Where a space is put before texts.
    continued: Option<Continued>,
}

impl Tokenizer {
    /// Trains a byte-level BPE of at most `vocab_size` tokens, `<bos>` and `<eos>` among them.
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
                what: "texts to train a tokenizer on".into(),
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
    /// Those of [`load`](Self::load).
    pub fn load_trained(path: impl AsRef<Path>) -> Result<Self> {
        Self::load(path, BOS, EOS)
    }

    /// Creates a tokenizer from its parts.
    ///
    /// # Arguments
    ///
    /// * `inner` - What splits texts into tokens.
    /// * `bos` - The token in front of every text, where there is one.
    /// * `eos` - The token after every answer.
    /// * `chat_template` - The Jinja of the chat template.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the tokenizer does not know one of the tokens, or where the chat template is not valid.
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// use tokenizers::models::bpe::BPE;
    /// let mut inner = tokenizers::Tokenizer::new(BPE::default());
    /// inner.add_special_tokens(&[tokenizers::AddedToken::from("</s>", true)]);
    /// let tokenizer = Tokenizer::from_parts(inner, None, 0, None).unwrap();
    /// assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, 0));
    /// ```
    pub fn from_parts(
        inner: tokenizers::Tokenizer,
        bos: Option<u32>,
        eos: u32,
        chat_template: Option<String>,
    ) -> Result<Self> {
        let name = |key: &str, id: u32| {
            inner.id_to_token(id).ok_or_else(|| {
                let known = inner.get_vocab_size(true);
                Error::config(key, format!("token {id}; the tokenizer knows {known} tokens"))
            })
        };
        let bos_token = bos.map(|bos| name("bos token", bos)).transpose()?;
        let eos_token = name("eos token", eos)?;
        let chat_template = chat_template
            .map(|source| ChatTemplate::new(&source, bos_token.as_deref(), Some(&eos_token)))
            .transpose()?;
        let tokenizer =
            Self { inner, bos, stop: vec![eos], chat_template, model_tokens: None, continued: None };
        tokenizer.checked().map_err(|detail| Error::config("tokenizer", detail))
    }

    fn with_special_tokens(
        inner: tokenizers::Tokenizer,
        bos: &str,
        eos: &str,
    ) -> std::result::Result<Self, String> {
        let id = |token: &str| inner.token_to_id(token).ok_or_else(|| format!("no special token {token:?}"));
        let (bos, stop) = (Some(id(bos)?), vec![id(eos)?]);
        Self { bos, stop, chat_template: None, model_tokens: None, continued: None, inner }.checked()
    }

    /// Refuses what would fail in the middle of a run.
    fn checked(mut self) -> std::result::Result<Self, String> {
        // Files may ask for truncation or padding, which the caller decides here.
        self.inner.with_padding(None);
        self.inner.with_truncation(None).map_err(|source| source.to_string())?;
        // Some models refuse what is not in their vocabulary.
        self.inner
            .encode_fast("\u{1f600} \u{7f}\u{3042}?", false)
            .map_err(|source| format!("cannot encode any text: {source}"))?;
        self.continued = Continued::of(&self.inner);
        Ok(self)
    }

    /// Writes `tokenizer.json`; the file is complete or not there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let json = self.inner.to_string(true).map_err(|source| Error::format(&path, source.to_string()))?;
        atomic::write(path.as_ref(), |file| file.write_all(json.as_bytes()))
    }

    /// The tokens of a text, without special tokens around them; those that the text itself names are recognised.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.inner.encode_fast(text, false).expect("byte-level tokens cover any text").get_ids().to_vec()
    }

    /// The tokens of a text that follows another, whose last token is given: some tokenizers put a space before a text as if
    /// a word began there, which only holds for the first.
    pub(crate) fn encode_after(&self, last: Option<u32>, text: &str) -> Vec<u32> {
        match (&self.continued, last) {
            (Some(continued), Some(last)) => continued.encode(&self.inner, last, text),
            _ => self.encode(text),
        }
    }

    /// The text of tokens, without special tokens.
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.inner.decode(tokens, true).expect("decoding joins strings")
    }

    /// The number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token in front of every text, where the model was trained with one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token after every answer.
    pub fn eos(&self) -> u32 {
        self.stop[0]
    }

    /// All tokens at which an answer ends, [`eos`](Self::eos) first.
    ///
    /// ```
    /// let tokenizer = burn_revision::language::Tokenizer::train(&["a red apple"], 280).unwrap();
    /// assert_eq!(tokenizer.stop_tokens(), [tokenizer.eos()]);
    /// ```
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop
    }

    /// The text of a token, as the vocabulary has it.
    pub(super) fn token_text(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }

    /// The id of a token, special ones included.
    ///
    /// ```
    /// let tokenizer = burn_revision::language::Tokenizer::train(&["a red apple"], 280).unwrap();
    /// assert_eq!(tokenizer.token("<eos>"), Some(tokenizer.eos()));
    /// assert_eq!(tokenizer.token("no such token"), None);
    /// ```
    pub fn token(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// The chat template of the model that the tokenizer belongs to, where its files name one.
    ///
    /// ```
    /// let tokenizer = burn_revision::language::Tokenizer::train(&["a red apple"], 280).unwrap();
    /// assert!(tokenizer.chat_template().is_none());
    /// ```
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }

    /// This tokenizer for a model that knows so many tokens; the tokenizer may have a few more.
    pub(super) fn with_model_tokens(self, tokens: usize) -> Self {
        Self { model_tokens: Some(tokens), ..self }
    }

    /// Refuses tokens that the model does not know.
    ///
    /// # Errors
    ///
    /// The first of them, and the sizes of both vocabularies.
    pub(crate) fn check(&self, tokens: &[u32]) -> std::result::Result<(), String> {
        let Some(known) = self.model_tokens else { return Ok(()) };
        match tokens.iter().find(|token| **token as usize >= known) {
            None => Ok(()),
            Some(token) => Err(format!(
                "token {token}, {:?}: the model knows {known} tokens, its tokenizer has {}",
                self.inner.id_to_token(*token).unwrap_or_default(),
                self.vocab_size()
            )),
        }
    }

    /// This tokenizer with more special tokens and a chat template.
    #[cfg(test)]
    pub(crate) fn with_chat(&self, tokens: &[&str], template: Option<&str>) -> Self {
        let mut inner = self.inner.clone();
        inner.add_special_tokens(
            &tokens.iter().map(|token| AddedToken::from(*token, true)).collect::<Vec<_>>(),
        );
        Self::from_parts(inner, self.bos, self.eos(), template.map(str::to_string)).unwrap()
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
    fn training_is_deterministic_and_files_round_trip() {
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
    fn tokens_that_the_model_does_not_know_are_refused_where_they_are_used() {
        let tokenizer = tokenizer().with_chat(&["<more>"], None);
        let size = tokenizer.vocab_size();
        tokenizer.check(&tokenizer.encode("face<more>")).unwrap();
        let tokenizer = tokenizer.with_model_tokens(size - 1);
        tokenizer.check(&tokenizer.encode("face")).unwrap();
        let error = tokenizer.check(&tokenizer.encode("face<more>")).unwrap_err();
        let expected = format!(
            "token {}, \"<more>\": the model knows {} tokens, its tokenizer has {size}",
            size - 1,
            size - 1
        );
        assert_eq!(error, expected);
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
