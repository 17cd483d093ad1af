//! `serve`: OpenAI's protocol and the page, over the network.
#![cfg(feature = "serve")]

mod assistant;
mod shell;
mod trainer;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use assistant::{PICTURES, Reply, Server, about, assistant, babbler, base64, captioner, quantised, shown};
use serde_json::{Value, json};

const QUESTION: &str = "What is it?";

/// An answer that takes a while.
const LONG: usize = 15_000;

#[test]
fn answers_are_those_of_ask() {
    let trainer = assistant();
    let server = Server::start(&trainer, "--model two/model --name tiny");
    let listed = server.get("/v1/models").json();
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&"list".into(), &"tiny".into()));
    assert_eq!(server.get("/v1/models/tiny").json(), listed["data"][0]);

    for picture in PICTURES {
        let path = format!("photos/{picture}");
        let mut command = trainer.shell.command("ask --max-new-tokens 1 --model two/model");
        let asked = command.args([&path, QUESTION]).output().unwrap();
        let expected = String::from_utf8(asked.stdout).unwrap();
        let mut request = about(&trainer, &path, QUESTION, 1);
        request["model"] = "tiny".into();
        let whole = server.chat(&request);
        assert_eq!(whole.answer().trim_end(), expected.trim_end());
        let whole = whole.json();
        assert_eq!(whole["object"], "chat.completion");
        assert_eq!(whole["choices"][0]["finish_reason"], "length");
        assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
        let count = |key: &str| whole["usage"][key].as_u64().unwrap();
        assert_eq!(count("completion_tokens"), 1);
        assert_eq!(count("total_tokens"), count("prompt_tokens") + 1);

        request["stream"] = true.into();
        request["stream_options"] = json!({ "include_usage": true });
        let stream = server.chat(&request);
        assert!(stream.header("content-type").unwrap().starts_with("text/event-stream"));
        let mut events = stream.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"])
        );
        let (usage, chunks) = chunks.split_last().unwrap();
        assert_eq!((&usage["usage"], &usage["choices"]), (&whole["usage"], &json!([])));
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "length");
        let pieces = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        assert_eq!(pieces.collect::<String>(), whole["choices"][0]["message"]["content"].as_str().unwrap());
    }
}

#[test]
fn settings_seeds_and_history_are_respected() {
    let trainer = babbler();
    let server = Server::start(&trainer, "--model two/model --max-new-tokens 7");
    let plain = about(&trainer, "photos/plain.jpg", QUESTION, 7);
    let with = |key: &str, value: Value| {
        let mut request = plain.clone();
        request[key] = value;
        request
    };
    let mut drawn = with("temperature", 2.into());
    let unseeded: Vec<String> = (0..4).map(|_| server.chat(&drawn).answer()).collect();
    assert!(unseeded.iter().any(|text| *text != unseeded[0]), "each request draws anew: {unseeded:?}");
    drawn["seed"] = 4.into();
    assert_eq!(server.chat(&drawn).answer(), server.chat(&drawn).answer());
    // What a request leaves out is as the server was started.
    let all = server.chat(&with("max_tokens", Value::Null));
    assert_eq!(all.json()["usage"]["completion_tokens"], 7);
    let text = server.chat(&drawn).answer();
    let stop: String = text.chars().skip(2).take(2).collect();
    drawn["stop"] = json!([stop]);
    let stopped = server.chat(&drawn);
    assert_eq!(stopped.answer(), text[..text.find(&stop).unwrap()]);
    assert_eq!(stopped.json()["choices"][0]["finish_reason"], "stop");

    let mut messages = plain["messages"].as_array().unwrap().clone();
    messages.push(json!({ "role": "assistant", "content": "a cat" }));
    messages.push(json!({ "role": "user", "content": QUESTION }));
    let longer = server.chat(&with("messages", json!(messages)));
    let tokens = |reply: &Reply| reply.json()["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens(&longer) > tokens(&all));
    longer.answer();
    // Chat models answer without a picture, as they did before they saw any.
    server.chat(&with("messages", json!([{ "role": "user", "content": "hello" }]))).answer();
}

#[test]
fn what_cannot_be_answered_says_what_to_do() {
    let trainer = assistant();
    let server =
        Server::start(&trainer, "--model two/model --max-body 1 --max-pixels 300000 --token-limit 20000");
    let good = about(&trainer, "photos/plain.jpg", QUESTION, 4);
    let asking = |content: Value| {
        let mut request = good.clone();
        request["messages"] = json!([{ "role": "user", "content": content }]);
        request.to_string()
    };
    let with = |key: &str, value: Value| {
        let mut request = good.clone();
        request[key] = value;
        request.to_string()
    };
    let url = |url: &str| asking(json!([{ "type": "image_url", "image_url": { "url": url } }]));
    let cut_off = &trainer.shell.bytes("photos/plain.jpg")[..600];
    // A black picture of many pixels and few bytes.
    let large = bitmap(1000, 301);
    let role = json!([{ "role": "wizard", "content": "hi" }]);
    let last = json!([{ "role": "user", "content": "hi" }, { "role": "assistant", "content": "hi" }]);
    for (body, status, code, expected) in [
        ("{\"model\": ".to_string(), 400, Value::Null, "no JSON object"),
        ("[]".to_string(), 400, Value::Null, "no JSON object"),
        (with("messages", Value::Null), 400, Value::Null, "at least one message"),
        (
            with("messages", role),
            400,
            Value::Null,
            "messages[0].role: expected system, developer, user or assistant",
        ),
        (with("messages", last), 400, Value::Null, "answer"),
        (with("model", "gpt-4o".into()), 404, "model_not_found".into(), "\"burn-revision\""),
        (with("n", 3.into()), 400, "unsupported_parameter".into(), "\"n\""),
        (with("max_tokens", 30_000.into()), 400, Value::Null, "at most 20000"),
        (url("https://example.com/cat.jpg"), 400, "invalid_image_url".into(), "data:image/"),
        (url("data:image/png;base64,####"), 400, "invalid_image_url".into(), "base64"),
        (asking(json!([shown(b"<html>")])), 400, "invalid_image".into(), "expected a PNG, JPEG"),
        (asking(json!([shown(cut_off)])), 400, "invalid_image".into(), "jpg picture"),
        (asking(json!([shown(&large)])), 400, "invalid_image".into(), "300000 pixels, found 1000 x 301"),
        (asking("a cat ".repeat(20_000).into()), 400, "context_length_exceeded".into(), "shorter question"),
        (asking("what is <image>?".into()), 400, Value::Null, "<image>"),
        (asking(json!([shown(&vec![0; 1 << 20])])), 413, Value::Null, "1048576 bytes"),
    ] {
        let reply = server.post(body.as_bytes());
        let error = reply.json()["error"].clone();
        let message = error["message"].as_str().unwrap();
        let start: String = body.chars().take(200).collect();
        assert_eq!((reply.status, &error["code"]), (status, &code), "{start}: {message}");
        assert!(message.contains(expected), "{start}: {message}");
        assert!(error["type"] == "invalid_request_error" && error.get("param").is_some(), "{error}");
        let folder = trainer.shell.folder.path().to_string_lossy().into_owned();
        assert!(!reply.text().contains(&folder) && !reply.text().contains("photos"), "{}", reply.text());
    }
    let other = |method: &str, path: &str, kind: &str| {
        Reply::read(server.begin(method, path, &[kind], good.to_string().as_bytes()))
    };
    let json = "Content-Type: application/json";
    let form = other("POST", "/v1/chat/completions", "Content-Type: application/x-www-form-urlencoded");
    assert_eq!(form.status, 415);
    assert!(form.json()["error"]["message"].as_str().unwrap().contains("application/json"));
    assert_eq!(other("GET", "/v1/chat/completions", json).status, 405);
    assert_eq!(other("GET", "/v1/completions", json).json()["error"]["code"], "unknown_url");
    assert_eq!(server.get("/v1/models/gpt-4o").status, 404);
    // After all that it answers as before.
    server.chat(&good).answer();
    assert_eq!(server.metric("panics_total"), 0.0);
    assert!(server.metric("generated_tokens_total") > 0.0);
}

#[test]
fn a_model_of_captions_takes_pictures_alone() {
    let trainer = captioner();
    let server = Server::start(&trainer, "--model one/model");
    assert_eq!(server.get("/v1/models").json()["data"][0]["burn_revision"]["takes_questions"], false);
    let mut request = about(&trainer, "photos/plain.jpg", "", 6);
    server.chat(&request).answer();
    request["messages"][0]["content"] = json!([{ "type": "text", "text": QUESTION }]);
    let reply = server.chat(&request);
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("only pictures"), "{}", reply.text());
    let reply = server.chat(&about(&trainer, "photos/plain.jpg", QUESTION, 6));
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("ask without one for a caption"), "{}", reply.text());
}

#[test]
fn a_quantised_model_is_served_as_it_is() {
    let trainer = quantised();
    let ask = |model: &str, options: &str, question: &str, expected: &str| {
        let server = Server::start(&trainer, &format!("--model {model} {options}"));
        let about_model = server.get("/v1/models").json()["data"][0]["burn_revision"].clone();
        assert_eq!(about_model["weights"], expected, "{model} {options}");
        server.chat(&about(&trainer, "photos/plain.jpg", question, 12)).answer()
    };
    let answer = ask("one/model", "", "", "quantized");
    assert!(answer.len() > 2, "{answer:?}");
    assert_eq!(ask("one/model", "--weights float", "", "float"), answer);
    ask("lora/model", "", QUESTION, "float");
}

/// A page of the web whose name leads to this machine all of a sudden says so by the host that it asks for.
#[test]
fn a_local_server_answers_to_its_own_names() {
    let trainer = captioner();
    let body = about(&trainer, "photos/plain.jpg", "", 4).to_string();
    let asked = |server: &Server, path: &str, hosts: &[&str]| {
        let method = if path == "/v1/chat/completions" { "POST" } else { "GET" };
        let headers: Vec<String> = hosts.iter().map(|host| format!("Host: {host}")).collect();
        let mut headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        headers.push("Content-Type: application/json");
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        Reply::read(server.begin_at(method, path, &headers, body))
    };
    let server = Server::start(&trainer, "--model one/model --allowed-host model.example");
    for path in ["/", "/health", "/metrics", "/v1/models", "/v1/chat/completions"] {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80", "model.example:443"] {
            assert_eq!(asked(&server, path, &[host]).status, 200, "{path} {host}");
        }
        for hosts in [&["evil.example"][..], &["localhost.evil.example:8080"], &["localhost", "evil.example"]]
        {
            let reply = asked(&server, path, hosts);
            // Two hosts are no request at all for some servers.
            assert!(
                reply.status == 421 || hosts.len() == 2 && reply.status == 400,
                "{path} {hosts:?}: {}",
                reply.status
            );
            if hosts.len() == 1 {
                let error = reply.json()["error"].clone();
                assert_eq!(
                    (&error["type"], &error["code"]),
                    (&"invalid_request_error".into(), &"host_not_allowed".into())
                );
                let name = hosts[0].split(':').next().unwrap();
                assert!(
                    error["message"].as_str().unwrap().ends_with(&format!("--allowed-host {name}")),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(asked(&server, "http://evil.example/v1/models", &["localhost"]).status, 421);
    assert_eq!(asked(&server, "/v1/models", &[]).status, 421);
    drop(server);
    // With a key, whoever has it may come by any name; so where the server is for others as well.
    for options in ["--api-key secret", "--host 0.0.0.0"] {
        let server = Server::start(&trainer, &format!("--model one/model {options}"));
        assert_eq!(asked(&server, "/health", &["evil.example"]).status, 200, "{options}");
    }
}

#[test]
fn without_the_key_there_is_no_answer() {
    let trainer = captioner();
    let server = Server::start(&trainer, "--model one/model --api-key secret");
    let body = about(&trainer, "photos/plain.jpg", "", 4).to_string();
    let post = |key: &str| {
        let headers = ["Content-Type: application/json", key];
        Reply::read(server.begin("POST", "/v1/chat/completions", &headers, body.as_bytes()))
    };
    for key in
        ["X-None: 1", "Authorization: Bearer", "Authorization: Bearer secre", "Authorization: Basic secret"]
    {
        let reply = post(key);
        assert_eq!(
            (reply.status, reply.json()["error"]["code"].clone()),
            (401, "invalid_api_key".into()),
            "{key}"
        );
    }
    post("Authorization: Bearer secret").answer();
    assert_eq!((server.get("/v1/models").status, server.get("/metrics").status), (401, 401));
    assert_eq!((server.get("/").status, server.get("/health").status), (200, 200));
}

#[test]
fn more_than_may_wait_are_told_to_come_back() {
    let trainer = babbler();
    let server = Server::start(&trainer, "--model two/model --queue 1 --batch-size 1 --token-limit 20000");
    let long = about(&trainer, "photos/plain.jpg", QUESTION, LONG);
    let first = server.begin_chat(&long);
    server.until("requests_answering", |answering| answering == 1.0);
    let second = server.begin_chat(&long);
    server.until("requests_waiting", |waiting| waiting == 1.0);
    let third = server.chat(&about(&trainer, "photos/plain.jpg", QUESTION, 4));
    assert_eq!(third.status, 429, "{}", third.text());
    assert!(third.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Clients that go make room: the one that is answered, and the one that waits.
    drop((first, second));
    server.until("requests_cancelled_total", |cancelled| cancelled == 2.0);
    assert!(server.metric("generated_tokens_total") < LONG as f64);
    server.chat(&about(&trainer, "photos/plain.jpg", QUESTION, 4)).answer();
    server.until("requests_in_flight", |in_flight| in_flight == 1.0);
}

#[test]
fn an_answer_ends_when_its_time_is_over() {
    let trainer = babbler();
    let server = Server::start(&trainer, "--model two/model --token-limit 20000 --timeout 2 --batch-size 1");
    let mut long = about(&trainer, "photos/plain.jpg", QUESTION, LONG);
    let begun = Instant::now();
    let (mut first, mut second) = (server.begin_chat(&long), None);
    server.until("requests_answering", |answering| answering == 1.0);
    second.replace(server.begin_chat(&long));
    let reply = Reply::read(first.try_clone().unwrap());
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "length", "{}", reply.text());
    assert!(reply.json()["usage"]["completion_tokens"].as_u64().unwrap() < LONG as u64);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let _ = first.read(&mut [0]);
    // The turn of the second comes too late, or at the last moment.
    let late = Reply::read(second.unwrap());
    match late.status {
        503 => assert!(late.header("retry-after").is_some() && late.text().contains("2 seconds")),
        _ => assert_eq!(late.json()["choices"][0]["finish_reason"], "length"),
    }
    long["max_tokens"] = 4.into();
    server.chat(&long).answer();
}

#[test]
fn what_was_taken_on_is_finished_before_the_end() {
    let trainer = babbler();
    let server = Server::start(&trainer, "--model two/model --token-limit 20000");
    let mut long = about(&trainer, "photos/plain.jpg", QUESTION, 400);
    long["stream"] = true.into();
    let first = server.begin_chat(&long);
    server.until("requests_answering", |answering| answering == 1.0);
    let mut idle = server.open();
    server.terminate();
    let reply = Reply::read(first);
    assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
    // A connection without a request keeps nobody.
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    let address = server.address.clone();
    let (status, said) = server.wait();
    assert!(status.success(), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn the_page_needs_nothing_else() {
    let trainer = captioner();
    let server = Server::start(&trainer, "--model one/model");
    let page = server.get("/");
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("content-security-policy").unwrap().contains("connect-src 'self'"));
    let text = page.text();
    for outside in ["http://", "https://", "//cdn", "@import", "src=\"/"] {
        let found = text.replace("http://www.w3.org/", "");
        assert!(!found.contains(outside), "{outside}");
    }
    assert_eq!(server.get("/health").json()["status"], "ok");
    let metrics = server.get("/metrics");
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let trainer = captioner();
    let server = Server::start(&trainer, "--model one/model");
    let port = server.address.rsplit(':').next().unwrap();
    trainer.shell.refused(&format!("serve --model one/model --port {port}"), 2, "--port");
    trainer.shell.refused("serve --model nowhere --port 0", 4, "nowhere");
    trainer.shell.refused("serve --model one/model --port 0 --host nowhere.invalid", 4, "nowhere.invalid");
    trainer.shell.refused("serve --model one/model --port 0 --temperature=-1", 2, "temperature");
    assistant::copy(&trainer, "clip", "other");
    trainer.change("other/preprocessor_config.json", "resample", 2.into());
    trainer.shell.refused("serve --model one/model --port 0 --encoder other", 2, "fingerprint");
    std::fs::remove_file(trainer.path("one/model/projector.safetensors")).unwrap();
    trainer.shell.refused("serve --model one/model --port 0", 4, "projector.safetensors");
}

/// A client that sends half a request, or none, keeps nobody from an answer.
#[test]
fn odd_clients_do_no_harm() {
    let trainer = captioner();
    let server = Server::start(&trainer, "--model one/model");
    let body = about(&trainer, "photos/plain.jpg", "", 4).to_string();
    let mut half = server.open();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    half.write_all(format!("{head}Content-Length: 100000\r\n\r\n{{").as_bytes()).unwrap();
    let mut rubbish = server.open();
    rubbish.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    let mut answered = String::new();
    let _ = rubbish.read_to_string(&mut answered);
    assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 400"), "{answered}");
    let mut chunked = server.open();
    let chunk = format!(
        "{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    chunked.write_all(chunk.as_bytes()).unwrap();
    Reply::read(chunked).answer();
    let mut large = server.open();
    large
        .write_all(format!("{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let megabyte = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    while large.write_all(megabyte.as_bytes()).is_ok() {}
    drop(half);
    server.post(body.as_bytes()).answer();
    server.until("requests_in_flight", |in_flight| in_flight == 1.0);
    assert_eq!(base64(b"ab"), "YWI=");
}

/// A black picture.
fn bitmap(width: u32, height: u32) -> Vec<u8> {
    // One bit a pixel, in rows of whole words.
    let row = width.div_ceil(32) * 4;
    let (pixels, offset) = (row * height, 62u32);
    let mut bytes = b"BM".to_vec();
    for value in
        [offset + pixels, 0, offset, 40, width, height, 1 | 1 << 16, 0, pixels, 0, 0, 2, 0, 0, 0x00ff_ffff]
    {
        bytes.extend(value.to_le_bytes());
    }
    bytes.resize((offset + pixels) as usize, 0);
    bytes
}
