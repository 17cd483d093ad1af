use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::AddedToken;

use super::json::Json;
use crate::language::sentencepiece::{Pieces, SpacePrefix};
use crate::{Error, Result};

const CLASS: &str = "tokenizer_class";
const DECODER: &str = "added_tokens_decoder";

/// The tokenizer of a folder, and what it says of special tokens itself.
pub(super) struct Files {
    /// Where it came from.
    pub(super) path: PathBuf,
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
}

impl Files {
    /// Reads `tokenizer.json`, or without it `tokenizer.model`. `config` is `tokenizer_config.json`.
    pub(super) fn read(folder: &Path, config: &Json) -> Result<Self> {
        let (json, model) = (folder.join("tokenizer.json"), folder.join("tokenizer.model"));
        if json.exists() {
            return Self::from_json(json);
        }
        if model.exists() {
            return Self::from_pieces(model, folder, config);
        }
        Err(Error::format(
            folder,
            "expected tokenizer.json or tokenizer.model, found neither; `AutoTokenizer.from_pretrained(folder)\
             .save_pretrained(folder)` of `transformers` writes the first",
        ))
    }

    fn from_json(path: PathBuf) -> Result<Self> {
        let bytes = fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|source| Error::format(&path, format!("not a tokenizer: {source}")))?;
        let bos = leading_token(&inner);
        Ok(Self { path, inner, bos, eos: None })
    }

    fn from_pieces(path: PathBuf, folder: &Path, config: &Json) -> Result<Self> {
        // What others add to SentencePiece is in their code.
        if let Some(class) = config.get(CLASS) {
            let name = class.as_str().unwrap_or_default().trim_end_matches("Fast");
            if !["LlamaTokenizer", "GemmaTokenizer"].contains(&name) {
                return Err(config.wrong(
                    CLASS,
                    "LlamaTokenizer or GemmaTokenizer without a tokenizer.json",
                    class,
                ));
            }
        }
        let mut pieces = Pieces::read(&path)?;
        let flag = |key: &str| config.get(key).and_then(Value::as_bool);
        pieces.prefix = match pieces.prefix {
            _ if flag("add_prefix_space") == Some(false) => SpacePrefix::Never,
            SpacePrefix::Always if flag("legacy") == Some(false) => SpacePrefix::First,
            prefix => prefix,
        };
        let mut inner = pieces.build().map_err(|detail| Error::format(&path, detail))?;
        let file = Json::read(folder.join("added_tokens.json"))?;
        for (id, (token, source)) in added_tokens(file.as_ref(), config)? {
            let text = token.content.clone();
            // A piece keeps its number, others follow behind the last.
            let expected = inner.token_to_id(&text).unwrap_or(inner.get_vocab_size(true) as u32);
            if id != expected {
                return Err(source.wrong(&text, &expected.to_string(), id));
            }
            inner.add_tokens(&[token]);
        }
        Ok(Self { path, inner, bos: pieces.bos, eos: pieces.eos })
    }
}

/// The tokens that `added_tokens.json` and `tokenizer_config.json` add, by their numbers, each with its file.
fn added_tokens<'a>(
    file: Option<&'a Json>,
    config: &'a Json,
) -> Result<BTreeMap<u32, (AddedToken, &'a Json)>> {
    let mut added = BTreeMap::new();
    for (file, text, id) in
        file.into_iter().flat_map(|file| file.values.iter().map(move |(text, id)| (file, text, id)))
    {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let number = number.ok_or_else(|| file.wrong(text, "the number of a token", id))?;
        added.insert(number, (AddedToken::from(text.clone(), true).normalized(false), file));
    }
    let Some(decoder) = config.get(DECODER) else { return Ok(added) };
    let wrong = |found: &dyn std::fmt::Display| {
        config.wrong(DECODER, "objects with \"content\" under the numbers of tokens", found)
    };
    for (id, token) in decoder.as_object().ok_or_else(|| wrong(decoder))? {
        let number = id.parse().map_err(|_| wrong(id))?;
        let text = token["content"].as_str().filter(|text| !text.is_empty()).ok_or_else(|| wrong(token))?;
        let flag = |key: &str| token[key].as_bool().unwrap_or(false);
        let token = AddedToken::from(text, flag("special"))
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"))
            .single_word(flag("single_word"))
            .normalized(flag("normalized"));
        added.insert(number, (token, config));
    }
    Ok(added)
}

/// The one token that a tokenizer puts before a text.
fn leading_token(inner: &tokenizers::Tokenizer) -> Option<u32> {
    let tokens =
        |special: bool| inner.encode_fast("a", special).ok().map(|encoding| encoding.get_ids().to_vec());
    let (bare, whole) = (tokens(false)?, tokens(true)?);
    let (first, rest) = whole.split_first()?;
    (!bare.is_empty() && !whole.starts_with(&bare) && rest.starts_with(&bare)).then_some(*first)
}
