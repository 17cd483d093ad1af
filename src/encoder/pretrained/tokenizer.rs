use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::{Error, Result};

/// The tokenizer of a text tower: texts as rows of tokens of one length.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    length: usize,
    pad: u32,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` of a folder, or makes CLIP's byte-pair encoding of `vocab.json` and `merges.txt`. Rows have
    /// `length` tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without these files; [`Error::Format`] for damaged ones, and for a token of `tokenizer_config.json`
    /// that is none.
    pub(super) fn read(folder: &Path, length: usize) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let config = read_config(&folder.join("tokenizer_config.json"))?;
        let mut inner = match path.exists() {
            true => {
                let bytes = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
                Tokenizer::from_bytes(bytes)
                    .map_err(|source| Error::format(&path, format!("not a tokenizer: {source}")))?
            }
            false if folder.join("vocab.json").exists() => byte_pair_encoding(folder)?,
            false => {
                let detail = match folder.join("spiece.model").exists()
                    || folder.join("tokenizer.model").exists()
                {
                    true => {
                        "expected tokenizer.json beside the SentencePiece model: `AutoTokenizer.from_pretrained(folder)\
                         .save_pretrained(folder)` of transformers writes it"
                    }
                    false => "expected tokenizer.json, or vocab.json and merges.txt",
                };
                return Err(Error::format(folder, detail));
            }
        };
        // Texts are cut and padded here, whatever the file says.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|source| Error::format(&path, source.to_string()))?;
        if config.get("tokenizer_class").and_then(Value::as_str) == Some("Siglip2Tokenizer") {
            lower_cased(&mut inner);
        }
        let pad = match pad_token(&config) {
            None => None,
            Some(text) => Some(inner.token_to_id(text).ok_or_else(|| {
                Error::format(&path, format!("pad_token: expected a token of the tokenizer, found {text:?}"))
            })?),
        };
        let pad = pad.or_else(|| {
            ["<|endoftext|>", "<pad>", "[PAD]", "</s>"].iter().find_map(|text| inner.token_to_id(text))
        });
        Ok(Self { inner, length, pad: pad.unwrap_or(0) })
    }

    /// The number of tokens of a row.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The number of tokens that it knows.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The tokens of a text, padded to [`length`](Self::length), and how many were cut off to fit. The tokens that begin
    /// and end a text stay.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a text that the tokenizer fails on.
    pub fn encode(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        let (mut tokens, cut) = self.encode_alone(text)?;
        tokens.resize(self.length, self.pad);
        Ok((tokens, cut))
    }

    /// The token of padding.
    pub(super) fn pad(&self) -> u32 {
        self.pad
    }

    /// Lets texts be lower-cased first.
    pub(super) fn lower_case(&mut self) {
        lower_cased(&mut self.inner);
    }

    /// As [`encode`](Self::encode), without padding.
    pub(super) fn encode_alone(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        let fail = |source: tokenizers::Error| Error::config("text", format!("{text:?}: {source}"));
        let encoding = self.inner.encode(text, true).map_err(fail)?;
        let mut tokens = encoding.get_ids().to_vec();
        let cut = tokens.len().saturating_sub(self.length);
        if cut > 0 {
            // Those of the text go, from its end; special ones behind them stay.
            let after =
                encoding.get_special_tokens_mask().iter().rev().take_while(|special| **special == 1).count();
            let after = after.min(self.length);
            let end = tokens.len() - after;
            let kept = self.length - after;
            tokens.drain(kept..end);
        }
        Ok((tokens, cut))
    }
}

/// `tokenizer_config.json`, empty where there is none.
fn read_config(path: &Path) -> Result<Map<String, Value>> {
    match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json).map_err(|source| Error::format(path, source.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(Error::io(path, error)),
    }
}

/// The text of the token of padding.
fn pad_token(config: &Map<String, Value>) -> Option<&str> {
    match config.get("pad_token")? {
        Value::String(text) => Some(text),
        token => token.get("content")?.as_str(),
    }
}

/// SigLIP 2 was trained on lower-case text, which its tokenizer file does not say.
fn lower_cased(tokenizer: &mut Tokenizer) {
    use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
    let mut all = vec![NormalizerWrapper::from(Lowercase)];
    all.extend(tokenizer.get_normalizer().cloned());
    tokenizer.with_normalizer(Some(Sequence::new(all)));
}

/// The tokenizer of OpenAI's CLIP as Hugging Face builds it of its vocabulary and merges.
fn byte_pair_encoding(folder: &Path) -> Result<Tokenizer> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let vocab = std::fs::read(&vocab_path).map_err(|source| Error::io(&vocab_path, source))?;
    let vocab: Map<String, Value> =
        serde_json::from_slice(&vocab).map_err(|source| Error::format(&vocab_path, source.to_string()))?;
    let merges = std::fs::read_to_string(&merges_path).map_err(|source| Error::io(&merges_path, source))?;
    let merges: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let special = |text: &str| {
        let id = vocab.get(text).and_then(Value::as_u64);
        id.ok_or_else(|| Error::format(&vocab_path, format!("expected the token {text:?}, found none")))
    };
    let (begin, end) = (special("<|startoftext|>")?, special("<|endoftext|>")?);
    let added = |id: u64, text: &str| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": text == "<|startoftext|>", "special": true})
    };
    let description = json!({
        "version": "1.0",
        "added_tokens": [added(begin, "<|startoftext|>"), added(end, "<|endoftext|>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PIECES}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", end], "cls": ["<|startoftext|>", begin],
            "trim_offsets": false, "add_prefix_space": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocab, "merges": merges},
    });
    Tokenizer::from_bytes(description.to_string())
        .map_err(|source| Error::format(&merges_path, format!("not the merges of the vocabulary: {source}")))
}

/// What is a word to CLIP.
const PIECES: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
