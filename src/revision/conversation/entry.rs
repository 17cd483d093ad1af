use serde::Deserialize;
use serde_json::Value;

use super::{Conversation, IMAGE_PLACEHOLDER, Role, Turn};

const EXCERPT: usize = 60;

/// The keys of which a conversation has at least one.
pub(super) const KEYS: [&str; 3] = ["conversations", "messages", "caption"];

/// Keys that it may have beside them, of which other objects have some as well. An array under one is none of conversations.
pub(super) const OTHER_KEYS: [&str; 3] = ["id", "image", "images"];

/// The keys under which a part of a content names its picture.
const PICTURE_KEYS: [&str; 3] = ["image", "path", "url"];

/// The keys under which a turn asks for a tool, beside its text.
const CALL_KEYS: [&str; 2] = ["tool_calls", "function_call"];

/// A conversation as in a file.
#[derive(Deserialize)]
pub(super) struct Entry {
    id: Option<Value>,
    image: Option<Value>,
    images: Option<Value>,
    conversations: Option<Value>,
    messages: Option<Value>,
    caption: Option<Value>,
}

/// Why there is no conversation.
pub(super) enum Fault {
    /// The file is not what it should be.
    Format(String),
    /// A conversation that this library has no use for.
    Unusable { id: String, detail: String },
}

/// A fault in a part of an entry.
enum Detail {
    Format(String),
    Unusable(String),
}

impl Detail {
    fn within(self, place: &str) -> Self {
        match self {
            Self::Format(detail) => Self::Format(format!("{place}: {detail}")),
            Self::Unusable(detail) => Self::Unusable(format!("{place}: {detail}")),
        }
    }
}

impl Entry {
    /// The conversation of number `index` in the file named `stem`.
    pub fn read(self, stem: String, index: usize) -> Result<Conversation, Fault> {
        let own = self.id.is_some();
        let id = match &self.id {
            None => format!("{stem}:{index}"),
            Some(id) => name(id).map_err(|found| {
                Fault::Format(format!("\"id\": expected a text or a number, found {found}"))
            })?,
        };
        let content = self.content(own.then_some(&id));
        let (image, turns) = content.map_err(|detail| match detail {
            Detail::Format(detail) => Fault::Format(format!("id {id:?}: {detail}")),
            Detail::Unusable(detail) => Fault::Unusable { id: id.clone(), detail },
        })?;
        Ok(Conversation { id, image, turns })
    }

    fn content(self, id: Option<&String>) -> Result<(Option<String>, Vec<Turn>), Detail> {
        let mut pictures = pictures("image", self.image)?;
        pictures.extend(self::pictures("images", self.images)?);
        let (key, list) = match (self.conversations, self.messages, self.caption) {
            (Some(_), Some(_), _) => {
                let both = "expected \"conversations\" or \"messages\", found both";
                return Err(Detail::Format(both.into()));
            }
            (Some(list), None, _) => ("conversations", list),
            (None, Some(list), _) => ("messages", list),
            (None, None, Some(caption)) => {
                let image = one(pictures)?.or(id.cloned());
                return captioned(image, &caption);
            }
            (None, None, None) => {
                let none = "expected \"conversations\", \"messages\" or \"caption\", found nothing";
                return Err(Detail::Format(none.into()));
            }
        };
        let (turns, shown) = turns(key, &list)?;
        if !pictures.is_empty() && !shown.is_empty() && pictures != shown {
            return Err(Detail::Format(format!(
                "expected one picture in two places, found {pictures:?} beside {key:?} and {shown:?} in it"
            )));
        }
        let image = one(if pictures.is_empty() { shown } else { pictures })?;
        Ok((image, turns))
    }
}

/// A caption about the embedding `image`.
fn captioned(image: Option<String>, caption: &Value) -> Result<(Option<String>, Vec<Turn>), Detail> {
    let Some(caption) = caption.as_str() else {
        return Err(Detail::Format(format!("\"caption\": expected a text, found {}", excerpt(caption))));
    };
    let Some(image) = image else {
        let detail = "a caption is about the embedding of its \"image\" or its own \"id\", found neither";
        return Err(Detail::Format(detail.into()));
    };
    let Conversation { image, turns, .. } = Conversation::caption("", image, caption);
    Ok((image, turns))
}

fn name(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(excerpt(other)),
    }
}

fn pictures(key: &str, value: Option<Value>) -> Result<Vec<String>, Detail> {
    let values = match value {
        None => Vec::new(),
        Some(Value::Array(pictures)) => pictures,
        Some(picture) => vec![picture],
    };
    let fail =
        |found| Detail::Format(format!("{key:?}: expected a text, a number or a list of one, found {found}"));
    values.iter().map(|value| name(value).map_err(fail)).collect()
}

fn one(mut pictures: Vec<String>) -> Result<Option<String>, Detail> {
    match pictures.len() {
        0 | 1 => Ok(pictures.pop()),
        count => Err(Detail::Unusable(format!(
            "expected one picture, as one a conversation is supported, found {count}"
        ))),
    }
}

/// The turns, and the pictures that they name.
fn turns(key: &str, list: &Value) -> Result<(Vec<Turn>, Vec<String>), Detail> {
    let Some(list) = list.as_array().filter(|list| !list.is_empty()) else {
        return Err(Detail::Format(format!("{key:?}: expected a list of turns, found {}", excerpt(list))));
    };
    let mut shown = Vec::new();
    let turns = list.iter().enumerate().map(|(index, value)| {
        turn(value, &mut shown).map_err(|detail| detail.within(&format!("turn {index}")))
    });
    Ok((turns.collect::<Result<_, _>>()?, shown))
}

fn turn(value: &Value, shown: &mut Vec<String>) -> Result<Turn, Detail> {
    let (speaker_key, speaker) = either(value, ["from", "role"]);
    let from = match speaker {
        Some(Value::String(speaker)) => {
            // A tool's answer, say.
            Role::deserialize(&Value::String(speaker.clone())).map_err(|_| {
                Detail::Unusable(format!(
                    "{speaker_key:?}: {EXPECTED_ROLES}, found {}",
                    excerpt(&speaker[..].into())
                ))
            })?
        }
        other => {
            let found = other.map_or("nothing".into(), excerpt);
            return Err(Detail::Format(format!("{speaker_key:?}: {EXPECTED_ROLES}, found {found}")));
        }
    };
    let calls = |call: &Value| !call.is_null() && call.as_array().is_none_or(|calls| !calls.is_empty());
    if let Some(key) = CALL_KEYS.into_iter().find(|key| value.get(key).is_some_and(calls)) {
        return Err(Detail::Unusable(format!("{key:?}: expected answers of words, found a call of a tool")));
    }
    let (text_key, text) = either(value, ["value", "content"]);
    let text = match text {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => joined(parts, shown).map_err(|detail| detail.within(text_key))?,
        other => {
            let found = other.map_or("nothing".into(), excerpt);
            return Err(Detail::Format(format!(
                "{text_key:?}: expected a text or a list of parts, found {found}"
            )));
        }
    };
    Ok(Turn::new(from, text))
}

const EXPECTED_ROLES: &str = "expected human, gpt, system, user or assistant";

/// The value of the first of two keys that is there.
fn either<'a>(value: &'a Value, [first, second]: [&'static str; 2]) -> (&'static str, Option<&'a Value>) {
    match (value.get(first), value.get(second)) {
        (None, Some(value)) => (second, Some(value)),
        (value, _) => (first, value),
    }
}

/// The text of a list of parts: pictures become `<image>`, with a text after one on the next line, as LLaVA writes it.
fn joined(parts: &[Value], shown: &mut Vec<String>) -> Result<String, Detail> {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let fail = |key: &str, expected: &str| {
            let found = part.get(key).map_or("nothing".into(), excerpt);
            Detail::Format(format!("part {index}: {key:?}: expected {expected}, found {found}"))
        };
        match part.get("type").and_then(Value::as_str) {
            Some("text") => {
                let words = part.get("text").and_then(Value::as_str).ok_or_else(|| fail("text", "a text"))?;
                if text.ends_with(IMAGE_PLACEHOLDER) {
                    text.push('\n');
                }
                text.push_str(words);
            }
            Some("image") => {
                text.push_str(IMAGE_PLACEHOLDER);
                if let Some(key) =
                    PICTURE_KEYS.into_iter().find(|key| part.get(key).is_some_and(|it| !it.is_null()))
                {
                    shown.push(name(&part[key]).map_err(|_| fail(key, "a text or a number"))?);
                }
            }
            Some(other) => {
                let detail = format!(
                    "part {index}: expected the type text or image, found {}",
                    excerpt(&other.into())
                );
                return Err(Detail::Unusable(detail));
            }
            None => return Err(fail("type", "text or image")),
        }
    }
    Ok(text)
}

fn excerpt(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(EXCERPT) {
        text.replace_range(end.., "...");
    }
    text
}
