use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_revision::language::GenerationConfig;
use burn_revision::revision::Role;
use serde_json::{Map, Value};

use super::error::ApiError;

/// What a request may leave out, and how much it may ask for.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// What clients call the model.
    pub name: String,
    pub writing: GenerationConfig,
    pub stops: Vec<String>,
    pub token_limit: usize,
}

/// A request for an answer.
#[derive(Debug)]
pub struct ChatRequest {
    pub messages: Vec<Message>,
    /// The bytes of the picture that one of the messages shows.
    pub picture: Option<Vec<u8>>,
    pub writing: GenerationConfig,
    pub stops: Vec<String>,
    pub is_streamed: bool,
    /// Whether a stream ends with the counts of tokens.
    pub with_usage: bool,
}

/// A message without its picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    pub text: String,
    pub has_picture: bool,
}

/// Keys without influence on an answer.
const IGNORED: [&str; 8] = [
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
];

/// Keys of what is not done here, with the values under which nothing is asked for.
const NEUTRAL: [(&str, &[&str]); 17] = [
    ("audio", &[]),
    ("frequency_penalty", &["0", "0.0"]),
    ("function_call", &["\"none\"", "\"auto\""]),
    ("functions", &["[]"]),
    ("logit_bias", &["{}"]),
    ("logprobs", &["false"]),
    ("modalities", &["[\"text\"]"]),
    ("n", &["1"]),
    ("prediction", &[]),
    ("presence_penalty", &["0", "0.0"]),
    ("reasoning_effort", &["\"none\""]),
    ("response_format", &["{\"type\":\"text\"}"]),
    ("tool_choice", &["\"none\"", "\"auto\""]),
    ("tools", &["[]"]),
    ("top_logprobs", &["0"]),
    ("verbosity", &[]),
    ("web_search_options", &[]),
];

/// How many stop strings a request may have.
const MAX_STOPS: usize = 16;

impl ChatRequest {
    /// Reads the body of a request.
    pub fn parse(body: &[u8], defaults: &Defaults) -> Result<Self, ApiError> {
        let body: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("The body is no JSON object: {error}")))?;
        let mut request = Self {
            messages: Vec::new(),
            picture: None,
            writing: defaults.writing.clone(),
            stops: defaults.stops.clone(),
            is_streamed: false,
            with_usage: false,
        };
        let mut seed = None;
        for (key, value) in body.iter().filter(|(_, value)| !value.is_null()) {
            match key.as_str() {
                "model" | "messages" => {}
                "max_tokens" | "max_completion_tokens" => {
                    request.writing.max_new_tokens = tokens(key, value, defaults.token_limit)?;
                }
                "temperature" => request.writing.temperature = number(key, value, 2.0)?,
                "top_p" => request.writing.top_p = number(key, value, 1.0)?,
                "top_k" => request.writing.top_k = Some(whole(key, value)?.max(1) as usize),
                "seed" => {
                    seed = Some(value.as_i64().ok_or_else(|| wrong(key, "a whole number", value))? as u64)
                }
                "stop" => request.stops = stops(value)?,
                "stream" => request.is_streamed = flag(key, value)?,
                "stream_options" => {
                    let usage = value.get("include_usage").filter(|usage| !usage.is_null());
                    request.with_usage =
                        usage.map_or(Ok(false), |usage| flag("stream_options.include_usage", usage))?;
                }
                key if IGNORED.contains(&key) => {}
                key => match NEUTRAL.iter().find(|(name, _)| *name == key) {
                    Some((_, neutral)) if neutral.contains(&value.to_string().as_str()) => {}
                    Some((_, neutral)) => {
                        let instead = match neutral.first() {
                            Some(value) => format!("leave it out, or send {value}"),
                            None => "leave it out".to_string(),
                        };
                        let message = format!(
                            "{key:?} is not supported by this server, found {}: {instead}",
                            short(value)
                        );
                        return Err(ApiError::param(key, message).with_code("unsupported_parameter"));
                    }
                    None => {
                        let message = format!("Unrecognized request argument supplied: {key}");
                        return Err(ApiError::param(key, message).with_code("unknown_parameter"));
                    }
                },
            }
        }
        match body.get("model") {
            Some(Value::String(model)) if *model == defaults.name => {}
            Some(Value::String(model)) => return Err(ApiError::unknown_model(model, &defaults.name)),
            other => return Err(wrong("model", "the name of the model", other.unwrap_or(&Value::Null))),
        }
        // Without a seed each request draws anew.
        request.writing.seed = seed.unwrap_or_else(|| match request.writing.temperature > 0.0 {
            true => fresh_seed(),
            false => request.writing.seed,
        });
        request.read_messages(body.get("messages").unwrap_or(&Value::Null))?;
        Ok(request)
    }

    fn read_messages(&mut self, messages: &Value) -> Result<(), ApiError> {
        let list = messages.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| wrong("messages", "a list with at least one message", messages))?;
        for (number, message) in list.iter().enumerate() {
            let place = format!("messages[{number}]");
            let role = role(&place, message)?;
            let (text, picture) = content(&place, role, message)?;
            if picture.is_some() && self.picture.is_some() {
                let detail =
                    "one picture a conversation is supported: begin a new conversation for another picture";
                return Err(ApiError::param(format!("{place}.content"), format!("{place}: {detail}")));
            }
            self.messages.push(Message { role, text, has_picture: picture.is_some() });
            self.picture = self.picture.take().or(picture);
        }
        Ok(())
    }
}

fn role(place: &str, message: &Value) -> Result<Role, ApiError> {
    let role = message.get("role").unwrap_or(&Value::Null);
    match role.as_str() {
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::Human),
        Some("assistant") => Ok(Role::Gpt),
        Some("tool" | "function") => {
            let message = format!("{place}.role: the model has no tools, found {role}");
            Err(ApiError::param(format!("{place}.role"), message))
        }
        _ => Err(wrong(&format!("{place}.role"), "system, developer, user or assistant", role)),
    }
}

/// The text of a message, and the bytes of its picture.
fn content(place: &str, role: Role, message: &Value) -> Result<(String, Option<Vec<u8>>), ApiError> {
    let calls =
        message.get("tool_calls").filter(|calls| calls.as_array().is_none_or(|calls| !calls.is_empty()));
    if calls.is_some_and(|calls| !calls.is_null()) {
        let detail = format!("{place}.tool_calls: the model has no tools");
        return Err(ApiError::param(format!("{place}.tool_calls"), detail));
    }
    let place = format!("{place}.content");
    let (mut texts, mut picture) = (Vec::new(), None);
    match message.get("content").unwrap_or(&Value::Null) {
        Value::String(text) => texts.push(text.clone()),
        Value::Null if role == Role::Gpt => {}
        Value::Array(parts) => {
            for (number, part) in parts.iter().enumerate() {
                let place = format!("{place}[{number}]");
                match part.get("type").and_then(Value::as_str) {
                    Some(kind @ ("text" | "refusal")) => {
                        let text = part.get(kind).unwrap_or(&Value::Null);
                        let text =
                            text.as_str().ok_or_else(|| wrong(&format!("{place}.{kind}"), "a text", text))?;
                        texts.push(text.to_string());
                    }
                    Some("image_url") if role != Role::Human => {
                        let detail = format!("{place}: only messages of the user show pictures");
                        return Err(ApiError::param(place, detail));
                    }
                    Some("image_url") if picture.is_some() => {
                        let detail =
                            format!("{place}: one picture a conversation is supported, found another");
                        return Err(ApiError::param(place, detail));
                    }
                    Some("image_url") => picture = Some(data_address(&place, part)?),
                    _ => {
                        let kind = part.get("type").unwrap_or(&Value::Null);
                        return Err(wrong(&format!("{place}.type"), "text or image_url", kind));
                    }
                }
            }
        }
        other => return Err(wrong(&place, "a text, or a list of parts", other)),
    }
    Ok((texts.join("\n"), picture))
}

/// The bytes of a picture that is in its address.
fn data_address(place: &str, part: &Value) -> Result<Vec<u8>, ApiError> {
    let place = format!("{place}.image_url.url");
    let image = part.get("image_url").unwrap_or(&Value::Null);
    let url = image.get("url").unwrap_or(image);
    let url = url.as_str().ok_or_else(|| wrong(&place, "an address that begins with data:image/", url))?;
    let invalid = |detail: &str| {
        ApiError::param(place.clone(), format!("{place}: {detail}")).with_code("invalid_image_url")
    };
    let scheme = url.get(..5).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("data:") {
        return Err(invalid(
            "this server fetches nothing from other places: send the picture itself, as data:image/jpeg;base64,...",
        ));
    }
    let Some((kind, data)) = url[5..].split_once(',') else {
        return Err(invalid("expected data:image/jpeg;base64,..., found no comma"));
    };
    if !kind.to_ascii_lowercase().ends_with(";base64") {
        return Err(invalid("expected a picture in base64, as data:image/jpeg;base64,..."));
    }
    let bytes = match data.contains(char::is_whitespace) {
        true => STANDARD.decode(data.split_whitespace().collect::<String>()),
        false => STANDARD.decode(data),
    };
    match bytes {
        Ok(bytes) if bytes.is_empty() => Err(invalid("the picture has no bytes")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(invalid(&format!("no base64: {error}"))),
    }
}

fn wrong(place: &str, expected: &str, found: &Value) -> ApiError {
    ApiError::param(place, format!("{place}: expected {expected}, found {}", short(found)))
}

/// A value as an error shows it.
fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None if value.is_null() => "none".to_string(),
        None => text,
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}

fn flag(key: &str, value: &Value) -> Result<bool, ApiError> {
    value.as_bool().ok_or_else(|| wrong(key, "true or false", value))
}

fn number(key: &str, value: &Value, most: f64) -> Result<f64, ApiError> {
    let number = value.as_f64().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| wrong(key, &format!("a number from 0 to {most}"), value))
}

fn whole(key: &str, value: &Value) -> Result<u64, ApiError> {
    value.as_u64().ok_or_else(|| wrong(key, "a whole number", value))
}

fn tokens(key: &str, value: &Value, limit: usize) -> Result<usize, ApiError> {
    match whole(key, value)? {
        0 => Err(wrong(key, "at least 1", value)),
        asked if asked > limit as u64 => {
            Err(wrong(key, &format!("at most {limit}, the limit of this server"), value))
        }
        asked => Ok(asked as usize),
    }
}

fn stops(value: &Value) -> Result<Vec<String>, ApiError> {
    let wrong = || wrong("stop", &format!("a text, or a list of at most {MAX_STOPS}"), value);
    match value {
        Value::String(stop) => Ok(vec![stop.clone()]),
        Value::Array(stops) if stops.len() <= MAX_STOPS => {
            stops.iter().map(|stop| stop.as_str().map(str::to_string).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

/// A seed that is another at each call.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaults() -> Defaults {
        let writing = GenerationConfig::new().with_max_new_tokens(50);
        Defaults { name: "m".into(), writing, stops: vec!["END".into()], token_limit: 100 }
    }

    fn parse(body: Value) -> Result<ChatRequest, ApiError> {
        ChatRequest::parse(body.to_string().as_bytes(), &defaults())
    }

    fn with(key: &str, value: Value) -> Result<ChatRequest, ApiError> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        body[key] = value;
        parse(body)
    }

    fn picture() -> Value {
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{}", STANDARD.encode("bytes")) } })
    }

    #[test]
    fn a_conversation_about_a_picture_is_read() {
        let request = parse(json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true },
            "max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["a", "b"], "n": 1, "user": "x",
            "messages": [
                { "role": "developer", "content": "be brief" },
                { "role": "user", "content": [{ "type": "text", "text": "one" }, picture(), { "type": "text", "text": "two" }] },
                { "role": "assistant", "content": "an answer" },
                { "role": "user", "content": "more" },
            ]}))
        .unwrap();
        let message = |role, text: &str, has_picture| Message { role, text: text.into(), has_picture };
        assert_eq!(
            request.messages,
            [
                message(Role::System, "be brief", false),
                message(Role::Human, "one\ntwo", true),
                message(Role::Gpt, "an answer", false),
                message(Role::Human, "more", false),
            ]
        );
        assert_eq!(request.picture.as_deref(), Some(&b"bytes"[..]));
        assert_eq!((request.writing.max_new_tokens, request.writing.seed), (7, 3));
        assert_eq!((request.writing.temperature, request.writing.top_p), (0.5, 0.9));
        assert_eq!(request.stops, ["a", "b"]);
        assert!(request.is_streamed && request.with_usage);
    }

    #[test]
    fn what_is_left_out_is_as_the_server_was_started() {
        let request = with("seed", Value::Null).unwrap();
        assert_eq!((request.writing.max_new_tokens, request.stops), (50, vec!["END".to_string()]));
        let seed = |request: ChatRequest| request.writing.seed;
        let drawn = [0, 1].map(|_| seed(with("temperature", json!(1)).unwrap()));
        assert_ne!(drawn[0], drawn[1]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (key, value, expected) in [
            ("temperature", json!(3), "from 0 to 2, found 3"),
            ("top_p", json!("a"), "from 0 to 1, found \"a\""),
            ("max_tokens", json!(0), "at least 1"),
            ("max_tokens", json!(101), "at most 100"),
            ("max_tokens", json!(-1), "a whole number"),
            ("seed", json!(0.5), "a whole number"),
            ("stop", json!([1]), "a text"),
            ("stream", json!("yes"), "true or false"),
            ("n", json!(2), "send 1"),
            ("tools", json!([{}]), "not supported"),
            ("response_format", json!({"type": "json_object"}), "not supported"),
            ("frequency_penalty", json!(0.5), "not supported"),
            ("temprature", json!(1), "Unrecognized request argument supplied: temprature"),
            ("messages", json!([]), "at least one message"),
            ("messages", json!([{ "role": "wizard", "content": "" }]), "messages[0].role: expected system"),
            ("messages", json!([{ "role": "tool", "content": "" }]), "no tools"),
            ("messages", json!([{ "role": "user", "content": 3 }]), "messages[0].content: expected a text"),
            ("messages", json!([{ "role": "user" }]), "found none"),
            (
                "messages",
                json!([{ "role": "user", "content": [{ "type": "video" }] }]),
                "[0].type: expected text or image_url",
            ),
            ("messages", json!([{ "role": "system", "content": [picture()] }]), "only messages of the user"),
            ("messages", json!([{ "role": "user", "content": [picture(), picture()] }]), "one picture"),
            (
                "messages",
                json!([{ "role": "user", "content": [picture()] }, { "role": "user", "content": [picture()] }]),
                "begin a new conversation",
            ),
        ] {
            let error = with(key, value.clone()).unwrap_err();
            assert_eq!(error.status, 400, "{key} {value}");
            assert!(error.message.contains(expected), "{key} {value}: {}", error.message);
        }
        let error = with("model", json!("gpt")).unwrap_err();
        assert_eq!(error.status, 404);
        assert!(error.message.contains("\"m\""), "{}", error.message);
    }

    #[test]
    fn addresses_of_pictures_are_data() {
        for (url, expected) in [
            ("https://example.com/cat.jpg", "fetches nothing"),
            ("file:///etc/passwd", "fetches nothing"),
            ("é", "fetches nothing"),
            ("data:image/png;base64", "no comma"),
            ("data:image/png,abc", "in base64"),
            ("data:image/png;base64,a!", "no base64"),
            ("data:image/png;base64,", "no bytes"),
        ] {
            let part = json!({ "type": "image_url", "image_url": { "url": url } });
            let error = with("messages", json!([{ "role": "user", "content": [part] }])).unwrap_err();
            assert!(error.message.contains(expected), "{url}: {}", error.message);
        }
    }
}
