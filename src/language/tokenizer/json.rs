use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::{Error, Result};

const CHAT_TEMPLATE: &str = "chat_template";

/// A JSON file that holds keys and values.
pub(super) struct Json {
    pub(super) path: PathBuf,
    pub(super) values: Map<String, Value>,
}

impl Json {
    pub(super) fn read(path: PathBuf) -> Result<Option<Self>> {
        let Some((path, text)) = read(path)? else { return Ok(None) };
        let values =
            serde_json::from_str(&text).map_err(|source| Error::format(&path, source.to_string()))?;
        Ok(Some(Self { path, values }))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, key: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(80) {
            found.replace_range(end.., "...");
        }
        Error::format(&self.path, format!("key {key:?}: expected {expected}, found {found}"))
    }

    /// A special token, by its text or by an object with its text.
    pub(super) fn token(&self, key: &str, inner: &tokenizers::Tokenizer) -> Result<Option<u32>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = match value {
            Value::String(text) => Some(text.as_str()),
            Value::Object(token) => token.get("content").and_then(Value::as_str),
            _ => None,
        };
        let text = text.ok_or_else(|| {
            self.wrong(key, "the text of a token, or an object with its \"content\"", value)
        })?;
        let id = inner.token_to_id(text);
        id.map(Some).ok_or_else(|| self.wrong(key, "a token of the tokenizer", format!("{text:?}")))
    }

    /// Token ids: one, or a list of them.
    pub(super) fn ids(&self, key: &str, inner: &tokenizers::Tokenizer) -> Result<Vec<u32>> {
        let values = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let known = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.filter(|id| inner.id_to_token(*id).is_some()).ok_or_else(|| {
                let expected = format!("ids of the {} tokens of the tokenizer", inner.get_vocab_size(true));
                self.wrong(key, &expected, value)
            })
        };
        values.iter().map(known).collect()
    }

    pub(super) fn chat_template(&self) -> Result<Option<&str>> {
        let wrong = |found: &Value| {
            Err(self.wrong(
                CHAT_TEMPLATE,
                "a template, or a list of objects with \"name\" and \"template\"",
                found,
            ))
        };
        let named = match self.get(CHAT_TEMPLATE) {
            None => return Ok(None),
            Some(Value::String(template)) => return Ok(Some(template)),
            Some(Value::Array(named)) => named,
            Some(other) => return wrong(other),
        };
        let mut default = None;
        for entry in named {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            match (text("name"), text("template")) {
                (Some("default"), Some(template)) => default = Some(template),
                (Some(_), Some(_)) => {}
                _ => return wrong(entry),
            }
        }
        Ok(default)
    }
}

/// The text of a file, where there is one.
pub(super) fn read(path: PathBuf) -> Result<Option<(PathBuf, String)>> {
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}
