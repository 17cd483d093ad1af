//! A local server that speaks the protocol of the Hugging Face Hub, for one model, with faults to order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The state of the repository that the server has.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server does otherwise than it should.
#[derive(Clone, Default)]
pub struct Faults {
    /// The first answer with this file ends after so many bytes.
    pub broken: Option<(String, usize)>,
    /// This file is listed with another size.
    pub size: Option<(String, u64)>,
    /// Whole files are sent where the rest of them was asked for.
    pub ignores_ranges: bool,
    /// All requests are refused with this status.
    pub status: Option<u16>,
    /// Requests without this token are refused with 401.
    pub token: Option<String>,
}

/// A running server; it stops when it is dropped.
pub struct Server {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What is served.
struct Model {
    name: String,
    files: BTreeMap<String, Vec<u8>>,
    faults: Mutex<Faults>,
}

impl Server {
    /// Serves the model `name`.
    pub fn start(name: &str, files: BTreeMap<String, Vec<u8>>, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (requests, stopped) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let model = Model { name: name.into(), files, faults: Mutex::new(faults) };
        let (log, stop) = (requests.clone(), stopped.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // A client that hangs up is its own affair.
                let _ = stream.and_then(|stream| model.answer(stream, &log));
            }
        });
        Self { address, requests, stopped, thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, `PATH RANGE`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no request panics").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Model {
    fn answer(&self, mut stream: TcpStream, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let target = request.split(' ').nth(1).unwrap_or_default().to_string();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_string());
        }
        let range = headers.get("range").cloned().unwrap_or_default();
        log.lock().expect("no request panics").push(format!("{target} {range}").trim().to_string());
        let mut faults = self.faults.lock().expect("no request panics");
        let authorised = faults
            .token
            .as_ref()
            .is_none_or(|token| headers.get("authorization") == Some(&format!("Bearer {token}")));
        if !authorised {
            return empty(&mut stream, 401);
        }
        if let Some(status) = faults.status {
            return empty(&mut stream, status);
        }
        let path = target.split('?').next().unwrap_or_default();
        if path == format!("/api/models/{}/revision/main", self.name) {
            return stream.write_all(&with_body("200 OK", "", self.listing(&faults).as_bytes()));
        }
        let file = path.strip_prefix(&format!("/{}/resolve/{COMMIT}/", self.name));
        let Some((name, content)) = file.and_then(|file| self.files.get_key_value(file)) else {
            return empty(&mut stream, 404);
        };
        let (first, last) = bounds(&range, content.len());
        let (first, last) =
            if faults.ignores_ranges && range != "bytes=0-0" { (0, content.len()) } else { (first, last) };
        let part = &content[first.min(content.len())..last];
        let extra = format!(
            "ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {first}-{}/{}\r\n",
            name.replace(['/', '.'], "-"),
            last.saturating_sub(1),
            content.len()
        );
        let mut answer = with_body("206 Partial Content", &extra, part);
        if range != "bytes=0-0" && faults.broken.as_ref().is_some_and(|(broken, _)| broken == name) {
            let (_, bytes) = faults.broken.take().expect("was just looked at");
            answer.truncate(answer.len() - part.len() + bytes);
        }
        stream.write_all(&answer)
    }

    fn listing(&self, faults: &Faults) -> String {
        let sizes = self.files.iter().map(|(name, content)| {
            let size = match &faults.size {
                Some((file, size)) if file == name => *size,
                _ => content.len() as u64,
            };
            format!(r#"{{"rfilename": "{name}", "size": {size}}}"#)
        });
        format!(r#"{{"sha": "{COMMIT}", "siblings": [{}]}}"#, sizes.collect::<Vec<_>>().join(", "))
    }
}

/// The first byte that is asked for, and the one behind the last.
fn bounds(range: &str, len: usize) -> (usize, usize) {
    let (first, last) =
        range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let first = first.parse().unwrap_or(0);
    (first, last.parse().map_or(len, |last: usize| (last + 1).min(len)))
}

fn with_body(status: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn empty(stream: &mut TcpStream, status: u16) -> std::io::Result<()> {
    stream.write_all(&with_body(&format!("{status} Refused"), "", b""))
}
