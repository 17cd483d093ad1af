use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What the server counts, for `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    /// Requests on their way, from the first byte to the last.
    pub in_flight: Gauge,
    /// Requests in the queue.
    pub waiting: Gauge,
    pub answering: Gauge,
    pub cancelled: Counter,
    pub panics: Counter,
    pub pictures: Counter,
    pub prompt_tokens: Counter,
    pub tokens: Counter,
    first_token: Histogram,
    duration: Histogram,
    /// The milliseconds of an answer, lately.
    typical: AtomicU64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    path: &'static str,
    status: u16,
}

impl Metrics {
    pub fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.01, 2.0, 15));
        let mut registry = Registry::with_prefix("burn_revision");
        let (requests, in_flight) = (Family::<Request, Counter>::default(), Gauge::default());
        let (waiting, answering) = (Gauge::default(), Gauge::default());
        let counters: [Counter; 5] = Default::default();
        let [cancelled, panics, pictures, prompt_tokens, tokens] = counters;
        let (first_token, duration) = (seconds(), seconds());
        registry.register("requests", "Requests that were answered", requests.clone());
        registry.register("requests_in_flight", "Requests on their way", in_flight.clone());
        registry.register("requests_waiting", "Requests in the queue", waiting.clone());
        registry.register("requests_answering", "Requests that the model is answering", answering.clone());
        registry.register(
            "requests_cancelled",
            "Requests whose client went before the end",
            cancelled.clone(),
        );
        registry.register("panics", "Answers that failed by a panic", panics.clone());
        registry.register("pictures", "Pictures that were decoded", pictures.clone());
        registry.register(
            "prompt_tokens",
            "Tokens of prompts, visual ones among them",
            prompt_tokens.clone(),
        );
        registry.register("generated_tokens", "Tokens of answers", tokens.clone());
        let what = "Time from a request to the first text of its answer";
        registry.register_with_unit("time_to_first_token", what, Unit::Seconds, first_token.clone());
        let what = "Time that the model takes for an answer";
        registry.register_with_unit("answer_duration", what, Unit::Seconds, duration.clone());
        let typical = AtomicU64::new(1000);
        Self {
            registry,
            requests,
            in_flight,
            waiting,
            answering,
            cancelled,
            panics,
            pictures,
            prompt_tokens,
            tokens,
            first_token,
            duration,
            typical,
        }
    }

    pub fn request(&self, path: &'static str, status: u16) {
        self.requests.get_or_create(&Request { path, status }).inc();
    }

    pub fn first_token_after(&self, elapsed: Duration) {
        self.first_token.observe(elapsed.as_secs_f64());
    }

    pub fn answered_in(&self, elapsed: Duration) {
        self.duration.observe(elapsed.as_secs_f64());
        let before = self.typical.load(Ordering::Relaxed);
        self.typical.store((before * 3 + elapsed.as_millis() as u64) / 4, Ordering::Relaxed);
    }

    /// The seconds after which `waiting` requests will have been answered, if they are as those lately.
    pub fn seconds_for(&self, waiting: usize) -> u64 {
        (self.typical.load(Ordering::Relaxed) * waiting as u64 / 1000).clamp(1, 60)
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes any text");
        text
    }
}
