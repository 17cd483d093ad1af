use std::path::Path;

use serde_json::Map;

use super::Tokenizer;
use super::files::Files;
use super::json::{self, Json};
use crate::language::ChatTemplate;
use crate::{Error, Result};

const EOS_ID: &str = "eos_token_id";

impl Tokenizer {
    /// Reads the tokenizer of a model's folder: `tokenizer.json`, or a `tokenizer.model` of SentencePiece, and in
    /// `tokenizer_config.json`, where it is there, its special tokens and chat template.
    ///
    /// A file `chat_template.jinja` takes precedence over the template of the configuration; of several templates the one
    /// named `default` is taken. `special_tokens_map.json` names special tokens that `tokenizer_config.json` does not.
    /// `generation_config.json` and `config.json` may name further tokens at which an answer ends, and the only one where
    /// the others name none.
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
        let config_path = folder.join("tokenizer_config.json");
        let file = Json::read(config_path.clone())?;
        let has_config = file.is_some();
        let config = file.unwrap_or(Json { path: config_path, values: Map::new() });
        let Files { path, inner, bos: own_bos, eos: own_eos } = Files::read(folder, &config)?;
        let map = Json::read(folder.join("special_tokens_map.json"))?;
        let special = |key: &str| match (config.values.contains_key(key), &map) {
            (false, Some(map)) => map.token(key, &inner),
            _ => config.token(key, &inner),
        };
        // Where no file speaks of it, the tokenizer does.
        let bos = special("bos_token")?.or(own_bos.filter(|_| !has_config));
        let mut stop: Vec<u32> = special("eos_token")?.into_iter().collect();
        for name in ["generation_config.json", "config.json"] {
            let Some(file) = Json::read(folder.join(name))? else { continue };
            for id in file.ids(EOS_ID, &inner)? {
                if !stop.contains(&id) {
                    stop.push(id);
                }
            }
        }
        if stop.is_empty() {
            stop.extend(own_eos);
        }
        let Some(eos) = stop.first() else {
            return Err(config.wrong("eos_token", "the token that ends an answer", "none"));
        };
        let token = |id: u32| inner.id_to_token(id);
        let chat_template = match json::read(folder.join("chat_template.jinja"))? {
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
        Self { inner, bos, stop, chat_template, model_tokens: None, continued: None }
            .checked()
            .map_err(|detail| Error::format(&path, detail))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::language::sentencepiece::tests::{assert_tokens, reference};
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
    fn other_files_speak_where_the_configuration_does_not() {
        let map = ("special_tokens_map.json", r#"{"bos_token": "<bos>", "eos_token": {"content": "<eos>"}}"#);
        let tokenizer = load(&[map]).unwrap();
        assert_eq!(tokenizer.bos(), tokenizer.token("<bos>"));
        assert_eq!(Some(tokenizer.eos()), tokenizer.token("<eos>"));
        let tokenizer = load(&[map, ("tokenizer_config.json", CONFIG)]).unwrap();
        assert_eq!((tokenizer.bos(), tokenizer.token("<|im_end|>")), (None, Some(tokenizer.eos())));
        let only = load(&[("generation_config.json", r#"{"eos_token_id": 1}"#)]).unwrap();
        assert_eq!((only.bos(), only.eos()), (None, 1));
    }

    /// What the tokenizer itself puts before a text is the token at its beginning.
    #[test]
    fn a_tokenizer_alone_knows_the_beginning_of_texts() {
        use tokenizers::processors::template::TemplateProcessing;
        let folder = folder(&[("generation_config.json", r#"{"eos_token_id": 1}"#)]);
        let path = folder.path().join("tokenizer.json");
        let mut inner = tokenizers::Tokenizer::from_file(&path).unwrap();
        let bos = inner.token_to_id("<bos>").unwrap();
        let mut template = TemplateProcessing::builder();
        template.try_single("<bos> $0").unwrap().special_tokens(vec![("<bos>", bos)]);
        let template = template.build().unwrap();
        inner.with_post_processor(Some(template));
        inner.save(&path, false).unwrap();
        assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().bos(), Some(bos));
        fs::write(folder.path().join("tokenizer_config.json"), CONFIG).unwrap();
        assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().bos(), None);
    }

    /// A folder with the vocabulary of SentencePiece and `files`.
    fn sentencepiece(files: &[(&str, &str)]) -> Result<Tokenizer> {
        let folder = tempfile::tempdir().unwrap();
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sentencepiece/tokenizer.model");
        fs::copy(fixture, folder.path().join("tokenizer.model")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Tokenizer::from_folder(folder.path())
    }

    #[test]
    fn a_vocabulary_of_sentencepiece_is_a_tokenizer() {
        let alone = sentencepiece(&[]).unwrap();
        assert_eq!((alone.bos(), alone.eos(), alone.vocab_size()), (Some(1), 2, 420));
        let reference = reference();
        assert_tokens(&alone.inner, &reference.texts);
        assert_tokens(&alone.inner, &reference.special);
        let file = "tokenizer_config.json";
        let legacy =
            sentencepiece(&[(file, r#"{"tokenizer_class": "LlamaTokenizer", "legacy": true}"#)]).unwrap();
        assert_tokens(&legacy.inner, &reference.special);
        assert_eq!((legacy.bos(), legacy.eos()), (None, 2));
        let config = r#"{"legacy": false, "bos_token": "<s>", "eos_token": "</s>"}"#;
        let first = sentencepiece(&[(file, config)]).unwrap();
        assert_tokens(&first.inner, &reference.first);
        assert_eq!(first.bos(), Some(1));
        let bare = sentencepiece(&[(file, r#"{"add_prefix_space": false}"#)]).unwrap();
        assert_tokens(&bare.inner, &reference.bare);
    }

    #[test]
    fn tokens_are_added_to_a_vocabulary_of_sentencepiece() {
        let added = ("added_tokens.json", r#"{"<pad>": 421, "<end>": 420}"#);
        let config = r#"{"added_tokens_decoder": {
            "1": {"content": "<s>", "special": true}, "420": {"content": "<end>", "rstrip": true, "special": true}}}"#;
        let tokenizer = sentencepiece(&[added, ("tokenizer_config.json", config)]).unwrap();
        assert_eq!((tokenizer.token("<end>"), tokenizer.token("<pad>")), (Some(420), Some(421)));
        assert_eq!(tokenizer.encode("a<end>  <pad>"), [&tokenizer.encode("a")[..], &[420, 421]].concat());
        for (files, expected) in [
            (("added_tokens.json", r#"{"<pad>": 422}"#), ["<pad>", "expected 420, found 422"]),
            (("added_tokens.json", r#"{"<pad>": 7}"#), ["<pad>", "found 7"]),
            (("added_tokens.json", r#"{"<pad>": "x"}"#), ["added_tokens.json", "<pad>"]),
            (
                ("tokenizer_config.json", r#"{"added_tokens_decoder": {"x": {}}}"#),
                ["added_tokens_decoder", "x"],
            ),
            (
                ("tokenizer_config.json", r#"{"tokenizer_class": "BaichuanTokenizer"}"#),
                ["LlamaTokenizer", "Baichuan"],
            ),
        ] {
            let error = sentencepiece(&[files]).unwrap_err().to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        }
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
                vec!["eos_token", "</s>", "a token of the tokenizer"],
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
