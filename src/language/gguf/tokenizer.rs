use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, Tokenizer};

use super::pieces;
use super::pretokenizer::PreTokenizer;
use super::token_types::token_types;
use crate::Result;
use crate::weights::gguf::{Metadata, Strings, excerpt};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";

const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// A tokenizer and what a file says about its use.
#[derive(Clone, Debug)]
pub(crate) struct GgufTokenizer {
    /// The tokenizer; control tokens are special in it, and it puts nothing around a text.
    pub(crate) tokenizer: Tokenizer,
    /// The token at the beginning of a text.
    pub(crate) bos: Option<u32>,
    /// The token at the end of an answer.
    pub(crate) eos: Option<u32>,
    /// How a conversation is written, a Jinja template.
    pub(crate) chat_template: Option<String>,
}

impl GgufTokenizer {
    /// Builds the tokenizer that `tokenizer.ggml.*` describes.
    ///
    /// # Errors
    ///
    /// [`Error::Format`](crate::Error::Format) where keys are missing or contradict each other, or where the file
    /// describes something else than byte-level BPE (`gpt2`) with one of the pre-tokenizers that are known, or the BPE of
    /// SentencePiece (`llama`).
    pub(crate) fn new(metadata: &Metadata) -> Result<Self> {
        let tokens = metadata.required(TOKENS, metadata.texts(TOKENS)?)?;
        let model = metadata.required(MODEL, metadata.text(MODEL)?)?;
        let (tokenizer, adds_bos) = match model {
            "gpt2" => byte_level(metadata, tokens)?,
            "llama" => (pieces::build(metadata, tokens)?, true),
            other => {
                return Err(metadata.wrong(format!(
                    "key {MODEL:?}: expected \"gpt2\" (byte-level BPE) or \"llama\" (SentencePiece), found {:?}",
                    excerpt(other)
                )));
            }
        };
        let id = |name: &str| token_id(metadata, tokens.len(), name);
        let bos = id("bos_token_id")?;
        let add_bos = metadata.boolean("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos);
        if add_bos && bos.is_none() {
            return Err(metadata.wrong(
                "key \"tokenizer.ggml.bos_token_id\": expected a token for the beginning of texts, found none",
            ));
        }
        // Nothing here fills batches with it, but a file that names it wrongly is damaged.
        id("padding_token_id")?;
        Ok(Self {
            tokenizer,
            bos,
            eos: id("eos_token_id")?,
            chat_template: metadata.text("tokenizer.chat_template")?.map(str::to_string),
        })
    }
}

/// A byte-level BPE tokenizer, and whether texts begin with the bos token where the file does not say.
fn byte_level(metadata: &Metadata, tokens: &Strings) -> Result<(Tokenizer, bool)> {
    let pre = metadata.text(PRE)?;
    let pre = PreTokenizer::named(pre).ok_or_else(|| {
        let found = excerpt(pre.unwrap_or_default());
        metadata.wrong(format!("key {PRE:?}: expected {}, found {found:?}", PreTokenizer::NAMES))
    })?;
    let vocabulary = vocabulary(metadata, tokens)?;
    let merges = merges(metadata, &vocabulary)?;
    let failed = |source: tokenizers::Error| metadata.wrong(format!("the tokenizer: {source}"));
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(pre.ignores_merges())
        .build()
        .map_err(failed)?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(pre.build().map_err(failed)?));
    tokenizer.with_decoder(Some(ByteLevelDecoder::new(false, true, true)));
    register_added_tokens(metadata, tokens, &mut tokenizer)?;
    Ok((tokenizer, pre.adds_bos()))
}

fn vocabulary(metadata: &Metadata, tokens: &Strings) -> Result<Vocab> {
    let mut vocabulary = Vocab::default();
    for (id, token) in (0u32..).zip(tokens.iter()) {
        if let Some(first) = vocabulary.insert(token.to_string(), id) {
            return Err(metadata.wrong(format!(
                "key {TOKENS:?}: expected different tokens, found {:?} as {first} and {id}",
                excerpt(token)
            )));
        }
    }
    Ok(vocabulary)
}

/// Pairs of tokens that become one, the most frequent first.
fn merges(metadata: &Metadata, vocabulary: &Vocab) -> Result<Vec<(String, String)>> {
    let mut merges = Vec::new();
    for (index, merge) in metadata.required(MERGES, metadata.texts(MERGES)?)?.iter().enumerate() {
        let wrong = |expected: &str| {
            metadata.wrong(format!(
                "key {MERGES:?}: merge {index}: expected {expected}, found {:?}",
                excerpt(merge)
            ))
        };
        let (left, right) = merge.split_once(' ').ok_or_else(|| wrong("two tokens and a space"))?;
        let whole = format!("{left}{right}");
        if ![left, right, whole.as_str()].iter().all(|token| vocabulary.contains_key(*token)) {
            return Err(wrong("two tokens that make a third of the vocabulary"));
        }
        merges.push((left.to_string(), right.to_string()));
    }
    Ok(merges)
}

/// Control and user-defined tokens are matched in a text before it is split into words.
fn register_added_tokens(metadata: &Metadata, tokens: &Strings, tokenizer: &mut Tokenizer) -> Result<()> {
    let Some(types) = token_types(metadata, tokens)? else { return Ok(()) };
    let mut added = Vec::new();
    for (token, kind) in tokens.iter().zip(types) {
        match *kind {
            CONTROL => added.push(AddedToken::from(token, true)),
            USER_DEFINED => added.push(AddedToken::from(token, false).normalized(false)),
            _ => {}
        }
    }
    tokenizer.add_tokens(&added);
    Ok(())
}

fn token_id(metadata: &Metadata, tokens: usize, name: &str) -> Result<Option<u32>> {
    let key = format!("tokenizer.ggml.{name}");
    match metadata.count(&key)? {
        Some(id) if id >= tokens => {
            Err(metadata.wrong(format!("key {key:?}: expected one of {tokens} tokens, found {id}")))
        }
        Some(id) => Ok(u32::try_from(id).ok()),
        None => Ok(None),
    }
}
