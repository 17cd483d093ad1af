//! A folder with a tiny model that sees through a tiny encoder, and a server of it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use burn_revision::revision::{Conversation, Role, Turn};
use serde_json::{Value, json};

use crate::trainer::{CAPTIONS, Trainer};

/// Pictures with captions of their own, in the order of [`CAPTIONS`].
pub const PICTURES: [&str; 4] = ["plain.jpg", "small.png", "turned.jpg", "grey.png"];

/// Copies the files of a folder of fixtures.
pub fn copy(trainer: &Trainer, from: &str, to: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoder").join(from);
    fs::create_dir_all(trainer.path(to)).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, trainer.path(to).join(path.file_name().unwrap())).unwrap();
    }
}

/// Embeddings of pictures in `seen.npy`, and stage 1 about them with the template `plain`, in `one/model`.
pub fn captioner() -> Trainer {
    let trainer = Trainer::new();
    trainer.change("lm/config.json", "max_position_embeddings", 20_000.into());
    with_stage_1(trainer, "lm")
}

/// The same with a language model in a GGUF file of four bits; behind it stage 2 with adapters, in `lora/model`, and with all
/// weights, in `tuned/model`.
pub fn quantised() -> Trainer {
    let trainer = Trainer::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/gguf/language.gguf");
    fs::copy(file, trainer.path("language.gguf")).unwrap();
    let trainer = with_stage_1(trainer, "language.gguf");
    for (name, trainable) in [("lora", "projector-and-lora"), ("tuned", "projector-and-language")] {
        let stage = format!("max_steps = 2\nlearning_rate = 0.01\ntrainable = '{trainable}'");
        trainer.stage_2(name, "one", &stage);
        trainer.run(&format!("train --config {name}.toml --quiet"));
    }
    trainer
}

fn with_stage_1(trainer: Trainer, language_model: &str) -> Trainer {
    copy(&trainer, "clip", "clip");
    copy(&trainer, "pictures", "photos");
    fs::remove_file(trainer.path("photos/pictures.safetensors")).unwrap();
    trainer.run("embed --encoder clip --images photos --output seen.npy --overwrite");
    let about = |question: &str| -> Vec<Conversation> {
        let turns = |caption: &str| vec![Turn::new(Role::Human, question), Turn::new(Role::Gpt, caption)];
        let conversation = |(picture, caption): (&&str, &&str)| Conversation {
            id: format!("about {picture}"),
            image: Some(picture.to_string()),
            turns: turns(caption),
        };
        PICTURES.iter().zip(&CAPTIONS).map(conversation).collect()
    };
    trainer.conversations("captions.jsonl", &about("<image>"));
    trainer.conversations("chat.jsonl", &about("<image>\nWhat is it?"));
    trainer.stage_1("one", "", "max_steps = 2\nlearning_rate = 0.01");
    let text = String::from_utf8(trainer.shell.bytes("one.toml")).unwrap();
    let named = format!("language_model = '{language_model}'");
    trainer.write("one.toml", &text.replace("language_model = 'lm'", &named));
    trainer.run("train --config one.toml --quiet");
    trainer
}

/// That of [`captioner`] with stage 2 on questions, with the chat template of the language model, in `two/model`: it has learned by heart
/// what the pictures are.
pub fn assistant() -> Trainer {
    let trainer = captioner();
    let stage =
        "preset = 'finetune'\ntrainable = 'projector-and-language'\nmax_steps = 150\nlearning_rate = 0.01";
    trainer.stage_2("two", "one", stage);
    trainer.run("train --config two.toml --quiet");
    trainer
}

/// That of [`captioner`] with a language model that never ends an answer of its own accord.
pub fn babbler() -> Trainer {
    let trainer = captioner();
    let mut file = trainer.shell.bytes("lm/model.safetensors");
    let (place, row) = {
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let head = tensors.tensor("lm_head.weight").unwrap();
        (head.data().as_ptr() as usize - file.as_ptr() as usize, head.shape()[1] * size_of::<f32>())
    };
    // A score of zero is never the best of so many. `<eos>` is the token after `<bos>`.
    file[place + row..place + 2 * row].fill(0);
    fs::write(trainer.path("lm/model.safetensors"), file).unwrap();
    trainer.stage_2("two", "one", "max_steps = 1\nlearning_rate = 1e-6\ntrainable = 'projector-and-lora'");
    trainer.run("train --config two.toml --quiet");
    trainer
}

pub struct Server {
    child: Child,
    /// Host and port.
    pub address: String,
}

impl Server {
    pub fn start(trainer: &Trainer, options: &str) -> Self {
        let line = format!("serve --port 0 --json {options}");
        let mut command = trainer.shell.command(&line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        let Ok(started) = serde_json::from_str::<Value>(&first) else {
            let output = child.wait_with_output().unwrap();
            panic!("{line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let address = started["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_string();
        Self { child, address }
    }

    /// SIGTERM, as an operating system ends a program.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// What became of it, and what it said.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }

    pub fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }

    /// Sends a request, without waiting for its answer.
    pub fn begin(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        let host = format!("Host: {}", self.address);
        self.begin_at(method, path, &[&[&host[..]], headers].concat(), body)
    }

    /// The same, for a host that is among the headers.
    pub fn begin_at(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = self.open();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for header in headers {
            head += &format!("{header}\r\n");
        }
        if method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server may answer before it has read everything.
        let _ = stream.write_all(body);
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        Reply::read(self.begin("GET", path, &[], b""))
    }

    pub fn post(&self, body: &[u8]) -> Reply {
        Reply::read(self.begin("POST", "/v1/chat/completions", &["Content-Type: application/json"], body))
    }

    pub fn chat(&self, body: &Value) -> Reply {
        self.post(body.to_string().as_bytes())
    }

    pub fn begin_chat(&self, body: &Value) -> TcpStream {
        let kind = ["Content-Type: application/json"];
        self.begin("POST", "/v1/chat/completions", &kind, body.to_string().as_bytes())
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("burn_revision_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub fn until(&self, name: &str, expected: impl Fn(f64) -> bool) {
        let begun = Instant::now();
        while !expected(self.metric(name)) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} is {}", self.metric(name));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut body = bytes[end..].to_vec();
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            body = without_chunks(&body);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The data of the events of a stream.
    pub fn events(&self) -> Vec<String> {
        self.text()
            .split("\n\n")
            .filter_map(|event| Some(event.strip_prefix("data: ")?.to_string()))
            .collect()
    }

    /// The text of an answer.
    #[track_caller]
    pub fn answer(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["choices"][0]["message"]["content"].as_str().unwrap().to_string()
    }
}

fn without_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let Some(chunk) = bytes.get(end + 2..end + 2 + size).filter(|chunk| !chunk.is_empty()) else { break };
        whole.extend(chunk);
        bytes = &bytes[end + 2 + size + 2..];
    }
    whole
}

/// A picture as a part of a message.
pub fn shown(bytes: &[u8]) -> Value {
    let url = format!("data:image/jpeg;base64,{}", base64(bytes));
    json!({ "type": "image_url", "image_url": { "url": url } })
}

/// A request for an answer about a picture.
pub fn about(trainer: &Trainer, picture: &str, question: &str, tokens: usize) -> Value {
    let content = json!([{ "type": "text", "text": question }, shown(&trainer.shell.bytes(picture))]);
    json!({ "model": "burn-revision", "max_tokens": tokens, "messages": [{ "role": "user", "content": content }] })
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = number >> (18 - 6 * digit) & 63;
            text.push(if digit > three.len() { '=' } else { DIGITS[value as usize] as char });
        }
    }
    text
}
