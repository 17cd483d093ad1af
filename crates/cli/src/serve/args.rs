use clap::Args;

use crate::ask_args::{AnswerOptions, AssistantOptions};

/// The section of `serve --help` on its protocol.
pub const HELP: &str = "Examples:\n  burn-revision serve --model runs/stage2/model\n  \
    curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d \"{\\\"model\\\": \\\"burn-revision\\\", \
    \\\"messages\\\": [{\\\"role\\\": \\\"user\\\", \\\"content\\\": [{\\\"type\\\": \\\"image_url\\\", \\\"image_url\\\": \
    {\\\"url\\\": \\\"data:image/jpeg;base64,$(base64 -w0 cat.jpg)\\\"}}, {\\\"type\\\": \\\"text\\\", \\\"text\\\": \\\"What is \
    it?\\\"}]}]}\"\n\n\
    /                       a page to ask on\n  \
    /v1/chat/completions    OpenAI's protocol, streaming or not; pictures as data: addresses\n  \
    /v1/models              the model, its settings and limits\n  \
    /health, /metrics       for machines (Prometheus)\n\n\
    A few requests are answered side by side, and others wait. The first Ctrl-C or SIGTERM lets those that were taken on finish, the \
    second does not. The answers to requests that do not say otherwise are written with the settings above.";

#[derive(Args)]
pub struct ServeCommand {
    #[command(flatten)]
    pub model: AssistantOptions,
    /// The address to listen at; 0.0.0.0 is all of the machine's
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen at; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// A name by which the server is reached, such as that of a proxy; may be given several times. By default a server that
    /// only this machine reaches, without a key, answers to localhost and the machine's loopback addresses alone, so that no
    /// page of the web can reach it by a name of its own; another server answers to any name, but to these alone where
    /// there are some
    #[arg(long, value_name = "NAME")]
    pub allowed_host: Vec<String>,
    /// What clients call the model
    #[arg(long, default_value = "burn-revision")]
    pub name: String,
    /// Refuse requests without this key (`Authorization: Bearer KEY`); the page asks for it
    #[arg(long, value_name = "KEY", env = "BURN_REVISION_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Answers that are written side by side, with one pass through the model for a token of each
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch_size: usize,
    /// Requests that may wait for those that are answered; more are told to come back later
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub queue: usize,
    /// The most megabytes of a request
    #[arg(long, value_name = "MB", default_value_t = 20)]
    pub max_body: usize,
    /// The most pixels of a picture: small files may unfold to gigabytes
    #[arg(long, value_name = "N", default_value_t = 40_000_000)]
    pub max_pixels: u64,
    /// The most tokens that a request may ask for
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub token_limit: usize,
    /// The seconds that a request may take, waiting included: its answer ends then
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    #[command(flatten)]
    pub answer: AnswerOptions,
}
