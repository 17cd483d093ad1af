use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Tokenizer;
use crate::language::ChatTemplate;
use crate::{Error, Result};

const CHAT_TEMPLATE: &str = "chat_template";
const EOS_ID: &str = "eos_token_id";

impl Tokenizer {
    /// Reads the tokenizer of a model's folder: `tokenizer.json` and, in `tokenizer_config.json`, its special tokens and
    /// chat template.
    ///
    /// A file `chat_template.jinja` takes precedence over the template of the configuration; of several templates the one
    /// named `default` is taken. `generation_config.json` and `config.json` may name further tokens at which an answer
    /// ends, and the only one where `tokenizer_config.json` names none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file, [`Error::Format`] with the file, the key and its value for another fault.
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let folder = tempfile::tempdir()?;
    /// Tokenizer::train(&["a red apple"], 280)?.save(folder.path().join("tokenizer.json"))?;
    /// std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"bos_token": null, "eos_token": "<eos>"}"#)?;
    /// let tokenizer = Tokenizer::from_folder(folder.path())?;
    /// assert_eq!((tokenizer.bos(), tokenizer.token("<eos>")), (None, Some(tokenizer.eos())));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let bytes = fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|source| Error::format(&path, format!("not a tokenizer: {source}")))?;
        let config = Json::required(folder.join("tokenizer_config.json"))?;
        let bos = config.token("bos_token", &inner)?;
        let mut stop: Vec<u32> = config.token("eos_token", &inner)?.into_iter().collect();
        for name in ["generation_config.json", "config.json"] {
            let Some(file) = Json::read(folder.join(name))? else { continue };
            for id in file.ids(EOS_ID, &inner)? {
                if !stop.contains(&id) {
                    stop.push(id);
                }
            }
        }
        let Some(eos) = stop.first() else {
            return Err(config.wrong("eos_token", "the token that ends an answer", "none"));
        };
        let token = |id: u32| inner.id_to_token(id);
        let chat_template = match read(folder.join("chat_template.jinja"))? {
            Some((path, source)) => Some((path, source, "the template")),
            None => {
                let source = config.chat_template()?.map(str::to_string);
                source.map(|source| (config.path.clone(), source, "key \"chat_template\""))
            }
        };
        let chat_template = chat_template
            .map(|(path, source, place)| {
                ChatTemplate::new(&source, bos.and_then(token).as_deref(), token(*eos).as_deref()).map_err(
                    |error| {
                        let detail = match error {
                            Error::Config { detail, .. } => detail,
                            other => other.to_string(),
                        };
                        Error::format(path, format!("{place}: {detail}"))
                    },
                )
            })
            .transpose()?;
        Self { inner, bos, stop, chat_template }.checked().map_err(|detail| Error::format(&path, detail))
    }
}

/// A JSON file that holds keys and values.
struct Json {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Json {
    fn read(path: PathBuf) -> Result<Option<Self>> {
        let Some((path, text)) = read(path)? else { return Ok(None) };
        let values =
            serde_json::from_str(&text).map_err(|source| Error::format(&path, source.to_string()))?;
        Ok(Some(Self { path, values }))
    }

    fn required(path: PathBuf) -> Result<Self> {
        let missing = || Error::io(&path, std::io::Error::from(ErrorKind::NotFound));
        Self::read(path.clone())?.ok_or_else(missing)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(80) {
            found.replace_range(end.., "...");
        }
        Error::format(&self.path, format!("key {key:?}: expected {expected}, found {found}"))
    }

    /// A special token, by its text or by an object with its text.
    fn token(&self, key: &str, inner: &tokenizers::Tokenizer) -> Result<Option<u32>> {
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
        id.map(Some).ok_or_else(|| self.wrong(key, "a token of tokenizer.json", format!("{text:?}")))
    }

    /// Token ids: one, or a list of them.
    fn ids(&self, key: &str, inner: &tokenizers::Tokenizer) -> Result<Vec<u32>> {
        let values = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let known = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.filter(|id| inner.id_to_token(*id).is_some()).ok_or_else(|| {
                let expected = format!("ids of the {} tokens of tokenizer.json", inner.get_vocab_size(true));
                self.wrong(key, &expected, value)
            })
        };
        values.iter().map(known).collect()
    }

    fn chat_template(&self) -> Result<Option<&str>> {
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
fn read(path: PathBuf) -> Result<Option<(PathBuf, String)>> {
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{Message, MessageRole};

    const CONFIG: &str = r#"{"bos_token": null, "eos_token": "<|im_end|>"}"#;

    /// A folder with a tokenizer and `files`.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::train(&["red apple"], 270).unwrap().with_chat(&["<|im_end|>"], None);
        tokenizer.save(folder.path().join("tokenizer.json")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn load(files: &[(&str, &str)]) -> Result<Tokenizer> {
        Tokenizer::from_folder(folder(files).path())
    }

    fn config(text: &str) -> Result<Tokenizer> {
        load(&[("tokenizer_config.json", text)])
    }

    fn hello(tokenizer: &Tokenizer) -> String {
        let template = tokenizer.chat_template().unwrap();
        template.render(&[Message::new(MessageRole::User, "hi")], false).unwrap()
    }

    #[test]
    fn special_tokens_are_texts_or_objects_or_not_there() {
        let tokenizer =
            config(r#"{"bos_token": "<bos>", "eos_token": {"content": "<eos>", "lstrip": false}}"#).unwrap();
        assert_eq!(tokenizer.bos(), tokenizer.token("<bos>"));
        assert_eq!(Some(tokenizer.eos()), tokenizer.token("<eos>"));
        assert!(tokenizer.chat_template().is_none());
        assert_eq!(config(CONFIG).unwrap().bos(), None);
        assert_eq!(config(r#"{"eos_token": "<eos>"}"#).unwrap().bos(), None);
    }

    #[test]
    fn special_tokens_in_a_text_are_recognised_and_none_is_added() {
        let tokenizer = config(CONFIG).unwrap();
        let tokens = tokenizer.encode("red<|im_end|>\n");
        assert_eq!(tokens.iter().filter(|token| **token == tokenizer.eos()).count(), 1);
        assert!(tokenizer.encode("").is_empty());
    }

    #[test]
    fn other_files_name_further_ends_of_an_answer() {
        let file = ("tokenizer_config.json", CONFIG);
        let tokenizer = load(&[
            file,
            ("generation_config.json", r#"{"eos_token_id": [1, 265]}"#),
            ("config.json", r#"{"eos_token_id": 0}"#),
        ])
        .unwrap();
        let end = tokenizer.token("<|im_end|>").unwrap();
        assert_eq!((tokenizer.eos(), tokenizer.stop_tokens()), (end, [end, 1, 0].as_slice()));
        let only =
            load(&[("tokenizer_config.json", "{}"), ("config.json", r#"{"eos_token_id": 1}"#)]).unwrap();
        assert_eq!((only.eos(), only.stop_tokens()), (1, [1].as_slice()));
    }

    #[test]
    fn the_template_is_a_text_or_the_default_of_a_list_or_a_file() {
        let one = r#"{"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}"#;
        assert_eq!(hello(&config(one).unwrap()), "<bos>hi<eos>");
        let list = r#"{"eos_token": "<eos>", "chat_template":
            [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(hello(&config(list).unwrap()), "d");
        let file = load(&[("tokenizer_config.json", list), ("chat_template.jinja", "j")]).unwrap();
        assert_eq!(hello(&file), "j");
        let other = r#"{"eos_token": "<eos>", "chat_template": [{"name": "tools", "template": "t"}]}"#;
        assert!(config(other).unwrap().chat_template().is_none());
    }

    #[test]
    fn errors_name_the_file_the_key_and_both_values() {
        let long = format!(r#"{{"eos_token": ["{}"]}}"#, "x".repeat(1000));
        for (files, expected) in [
            (vec![], vec!["tokenizer_config.json"]),
            (vec![("tokenizer_config.json", "[1]")], vec!["tokenizer_config.json", "map"]),
            (vec![("tokenizer_config.json", "{}")], vec!["tokenizer_config.json", "eos_token", "none"]),
            (vec![("tokenizer_config.json", &long)], vec!["eos_token", "xxx..."]),
            (
                vec![("tokenizer_config.json", r#"{"eos_token": "</s>"}"#)],
                vec!["eos_token", "</s>", "tokenizer.json"],
            ),
            (
                vec![("tokenizer_config.json", r#"{"eos_token": "<eos>", "chat_template": 3}"#)],
                vec!["tokenizer_config.json", "chat_template", "found 3"],
            ),
            (
                vec![("tokenizer_config.json", r#"{"eos_token": "<eos>", "chat_template": "\n{% for %}"}"#)],
                vec!["tokenizer_config.json", "chat_template", "line 2"],
            ),
            (
                vec![("tokenizer_config.json", CONFIG), ("chat_template.jinja", "{{")],
                vec!["chat_template.jinja", "line 1"],
            ),
            (
                vec![("tokenizer_config.json", CONFIG), ("config.json", r#"{"eos_token_id": [1, 99999]}"#)],
                vec!["config.json", "eos_token_id", "266", "99999"],
            ),
            (
                vec![
                    ("tokenizer_config.json", CONFIG),
                    ("generation_config.json", r#"{"eos_token_id": "x"}"#),
                ],
                vec!["generation_config.json", "eos_token_id", "\"x\""],
            ),
        ] {
            let error = load(&files).unwrap_err().to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
            assert!(error.len() < 400, "{error}");
        }
        let empty = tempfile::tempdir().unwrap();
        let error = Tokenizer::from_folder(empty.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }
}
