use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_revision::revision::Role;
use serde_json::Value;

use super::values::wrong;
use crate::serve::error::ApiError;

/// Whose message it is.
pub(super) fn role(place: &str, message: &Value) -> Result<Role, ApiError> {
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
pub(super) fn content(
    place: &str,
    role: Role,
    message: &Value,
) -> Result<(String, Option<Vec<u8>>), ApiError> {
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
