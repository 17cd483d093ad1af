use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
