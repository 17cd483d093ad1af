mod content;
mod values;

use burn_revision::language::GenerationConfig;
use burn_revision::revision::Role;
use serde_json::{Map, Value};

use super::error::ApiError;
use content::{content, role};
use values::{flag, number, short, stops, tokens, whole, wrong};

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

/// A seed that is another at each call.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) >> 32
}

#[cfg(test)]
mod tests;
