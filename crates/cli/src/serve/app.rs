use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::engine::Engine;
use super::host::Hosts;
use super::metrics::Metrics;
use super::request::Defaults;

/// What all requests share.
pub struct App {
    pub engine: Engine,
    pub metrics: Arc<Metrics>,
    pub defaults: Defaults,
    /// Places for the requests that are answered and those that wait.
    pub places: Arc<Semaphore>,
    pub queue: usize,
    pub decoders: Arc<Semaphore>,
    pub max_body: usize,
    pub max_pixels: u64,
    pub timeout: Duration,
    pub api_key: Option<String>,
    pub hosts: Hosts,
    pub stop: watch::Receiver<bool>,
    /// When the server was started, in seconds since 1970.
    pub started: u64,
    pub answers: AtomicU64,
}

impl App {
    /// A name that no other answer of the server has.
    pub fn next_id(&self) -> String {
        format!("chatcmpl-{:x}-{:x}", self.started, self.answers.fetch_add(1, Ordering::Relaxed))
    }
}
