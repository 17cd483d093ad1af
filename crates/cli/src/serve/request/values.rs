use serde_json::Value;

use crate::serve::error::ApiError;

/// How many stop strings a request may have.
const MAX_STOPS: usize = 16;

/// A value that is not what is expected.
pub(super) fn wrong(place: &str, expected: &str, found: &Value) -> ApiError {
    ApiError::param(place, format!("{place}: expected {expected}, found {}", short(found)))
}

/// A value as an error shows it.
pub(super) fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None if value.is_null() => "none".to_string(),
        None => text,
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}

pub(super) fn flag(key: &str, value: &Value) -> Result<bool, ApiError> {
    value.as_bool().ok_or_else(|| wrong(key, "true or false", value))
}

pub(super) fn number(key: &str, value: &Value, most: f64) -> Result<f64, ApiError> {
    let number = value.as_f64().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| wrong(key, &format!("a number from 0 to {most}"), value))
}

pub(super) fn whole(key: &str, value: &Value) -> Result<u64, ApiError> {
    value.as_u64().ok_or_else(|| wrong(key, "a whole number", value))
}

pub(super) fn tokens(key: &str, value: &Value, limit: usize) -> Result<usize, ApiError> {
    match whole(key, value)? {
        0 => Err(wrong(key, "at least 1", value)),
        asked if asked > limit as u64 => {
            Err(wrong(key, &format!("at most {limit}, the limit of this server"), value))
        }
        asked => Ok(asked as usize),
    }
}

pub(super) fn stops(value: &Value) -> Result<Vec<String>, ApiError> {
    let wrong = || wrong("stop", &format!("a text, or a list of at most {MAX_STOPS}"), value);
    match value {
        Value::String(stop) => Ok(vec![stop.clone()]),
        Value::Array(stops) if stops.len() <= MAX_STOPS => {
            stops.iter().map(|stop| stop.as_str().map(str::to_string).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}
