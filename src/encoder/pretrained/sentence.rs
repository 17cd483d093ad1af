use std::path::Path;

use serde_json::{Map, Value};

use crate::encoder::{BertConfig, Pooling};
use crate::{Error, Result};

/// What sentence-transformers writes beside a BERT model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sentence {
    /// The longest text, in tokens.
    pub max_tokens: usize,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
}

impl Sentence {
    /// Reads `modules.json`, `sentence_bert_config.json` and the configuration of the pooling of a folder, as far as they are
    /// there, and puts the pooling into `bert`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] with file and key for what cannot be read, and for modules and poolings other than the
    /// mean or the first token.
    pub fn read(folder: &Path, bert: BertConfig) -> Result<(BertConfig, Self)> {
        let modules = folder.join("modules.json");
        let pooling = match modules.exists() {
            true => {
                let list: Vec<Map<String, Value>> = parsed(&modules)?;
                pooling_folder(&list).map_err(|detail| Error::format(&modules, detail))?
            }
            false => Some("1_Pooling".to_string()),
        };
        let pooling = match pooling.map(|name| folder.join(name).join("config.json")) {
            Some(path) if path.exists() => {
                let config: Map<String, Value> = parsed(&path)?;
                pooling_of(&config).map_err(|detail| Error::format(&path, detail))?
            }
            _ => Pooling::Mean,
        };
        let path = folder.join("sentence_bert_config.json");
        let config: Map<String, Value> = if path.exists() { parsed(&path)? } else { Map::new() };
        let limit = bert.max_tokens();
        let max_tokens = match config.get("max_seq_length").filter(|value| !value.is_null()) {
            None => limit,
            Some(value) => match value.as_u64() {
                Some(length) if length > 2 => limit.min(length as usize),
                _ => {
                    let detail =
                        format!("key \"max_seq_length\": expected more than 2 tokens, found {value}");
                    return Err(Error::format(&path, detail));
                }
            },
        };
        let lower_case = config.get("do_lower_case") == Some(&Value::Bool(true));
        Ok((bert.with_pooling(pooling), Self { max_tokens, lower_case }))
    }
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let json = std::fs::read(path).map_err(|source| Error::io(path, source))?;
    serde_json::from_slice(&json).map_err(|source| Error::format(path, source.to_string()))
}

/// The folder of the pooling in a list of modules.
fn pooling_folder(modules: &[Map<String, Value>]) -> Result<Option<String>, String> {
    let mut pooling = None;
    for (row, module) in modules.iter().enumerate() {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("type").rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let path = text("path");
                // The file comes from the network: it must not lead out of the folder.
                if Path::new(path).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
                    return Err(format!(
                        "module {row}, key \"path\": expected a folder in this one, found {path:?}"
                    ));
                }
                pooling = Some(path.to_string());
            }
            other => {
                return Err(format!(
                    "module {row}: expected Transformer, Pooling or Normalize, found {other:?}"
                ));
            }
        }
    }
    Ok(pooling)
}

fn pooling_of(config: &Map<String, Value>) -> Result<Pooling, String> {
    let known = |name: &str| match name {
        "mean_tokens" | "mean" => Ok(Pooling::Mean),
        "cls_token" | "cls" => Ok(Pooling::Cls),
        other => Err(format!("expected the pooling mean or cls, found {other:?}")),
    };
    if let Some(name) = config.get("pooling_mode").and_then(Value::as_str) {
        return known(name);
    }
    let modes: Vec<&str> = config
        .iter()
        .filter(|(_, value)| **value == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    match modes.as_slice() {
        [] => Ok(Pooling::Mean),
        [mode] => known(mode),
        several => Err(format!("expected one pooling, found {several:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(files: &[(&str, Value)]) -> Result<(BertConfig, Sentence)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content.to_string()).unwrap();
        }
        Sentence::read(folder.path(), BertConfig::new())
    }

    #[test]
    fn files_say_how_texts_are_pooled_and_cut() {
        let (bert, sentence) = read(&[]).unwrap();
        assert_eq!((bert.pooling, sentence.max_tokens, sentence.lower_case), (Pooling::Mean, 512, false));
        let modules = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "pool", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]);
        let limits = json!({"max_seq_length": 256, "do_lower_case": true});
        let pooling = json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
        let files =
            [("modules.json", modules), ("pool/config.json", pooling), ("sentence_bert_config.json", limits)];
        let (bert, sentence) = read(&files).unwrap();
        assert_eq!((bert.pooling, sentence.max_tokens, sentence.lower_case), (Pooling::Cls, 256, true));
        let newer = read(&[("1_Pooling/config.json", json!({"pooling_mode": "cls"}))]).unwrap();
        assert_eq!(newer.0.pooling, Pooling::Cls);
        let longer = read(&[("sentence_bert_config.json", json!({"max_seq_length": 9999}))]).unwrap();
        assert_eq!(longer.1.max_tokens, 512);
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        let module = |path: &str, kind: &str| json!([{"path": path, "type": format!("sentence_transformers.models.{kind}")}]);
        for (file, content, expected) in [
            ("modules.json", module("2_Dense", "Dense"), "\"Dense\""),
            ("modules.json", module("../other", "Pooling"), "../other"),
            ("1_Pooling/config.json", json!({"pooling_mode_max_tokens": true}), "max_tokens"),
            (
                "1_Pooling/config.json",
                json!({"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true}),
                "expected one pooling",
            ),
            ("sentence_bert_config.json", json!({"max_seq_length": 0}), "found 0"),
        ] {
            let error = read(&[(file, content)]).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(file), "{error}");
        }
    }
}
