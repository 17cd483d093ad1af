use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use burn_revision::encoder::PictureProcessor;
use burn_revision::language::{FinishReason, GenerationConfig};
use burn_revision::revision::{Assistant, Role, Turn};
use burn_revision::{Error, Result};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use super::error::ApiError;
use super::metrics::Metrics;
use super::request::Message;

/// An answer to write.
pub struct Job {
    pub messages: Vec<Message>,
    /// The processed picture that one of the messages shows.
    pub pixels: Option<Vec<f32>>,
    pub writing: GenerationConfig,
    pub stops: Vec<String>,
    /// The place in the queue, given back when the job is done.
    pub _place: OwnedSemaphorePermit,
    pub begun: Instant,
    /// When the answer ends at the latest.
    pub deadline: Instant,
    pub seconds: u64,
    /// Where the answer goes; closed when the client has gone.
    pub events: UnboundedSender<Event>,
}

/// What becomes of a job, in this order: begun, some text, done; or failed, at any time.
#[derive(Debug)]
pub enum Event {
    Begun { prompt_tokens: usize },
    Text(String),
    Done { tokens: usize, finish_reason: FinishReason },
    Failed(ApiError),
}

/// The thread that has the model, which answers one job after the other.
pub struct Engine {
    jobs: Sender<Job>,
    /// What the model wants done to pictures first.
    pub processor: PictureProcessor,
    pub about: About,
}

/// What clients may know of the model.
#[derive(Clone, Debug)]
pub struct About {
    pub takes_questions: bool,
    pub template: String,
    pub max_positions: usize,
}

impl Engine {
    /// Starts the thread, which opens the model, and waits until it has.
    pub fn start(
        open: impl FnOnce() -> Result<Assistant> + Send + 'static,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel();
        let (ready, opened) = mpsc::channel();
        let model = move || match open() {
            Ok(assistant) => {
                let about = About {
                    takes_questions: assistant.takes_questions(),
                    template: assistant.template().to_string(),
                    max_positions: assistant.max_positions(),
                };
                // Nobody waits where the program has ended meanwhile.
                let _ = ready.send(Ok((assistant.processor().clone(), about)));
                answer_all(&assistant, &queue, &metrics);
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("model".into()).spawn(model);
        let thread = thread.map_err(|source| Error::io("a thread for the model", source))?;
        match opened.recv() {
            Ok(Ok((processor, about))) => Ok((Self { jobs, processor, about }, thread)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Worker { detail: "the model could not be opened".into() }),
        }
    }

    /// Puts a job at the end of the queue.
    pub fn send(&self, job: Job) -> Result<(), ApiError> {
        self.jobs.send(job).map_err(|_| ApiError::internal())
    }
}

fn answer_all(assistant: &Assistant, queue: &Receiver<Job>, metrics: &Metrics) {
    for job in queue {
        metrics.waiting.dec();
        // A client that has gone needs no answer, and one that has waited too long expects none.
        if job.events.is_closed() {
            metrics.cancelled.inc();
            continue;
        }
        if Instant::now() >= job.deadline {
            let _ = job.events.send(Event::Failed(ApiError::busy(job.seconds)));
            continue;
        }
        metrics.answering.set(1);
        let begun = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| answer(assistant, &job, metrics)));
        let failed = match done {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => {
                metrics.panics.inc();
                Some(ApiError::internal())
            }
        };
        if let Some(error) = failed {
            let _ = job.events.send(Event::Failed(error));
        }
        metrics.answering.set(0);
        metrics.answered_in(begun.elapsed());
    }
}

/// Writes one answer.
fn answer(assistant: &Assistant, job: &Job, metrics: &Metrics) -> Result<(), ApiError> {
    let turns = turns(assistant, &job.messages)?;
    let prompt = assistant.prompt(&turns, job.pixels.is_some()).map_err(about_request)?;
    let prompt_tokens = assistant.num_positions(&prompt);
    let picture = job.pixels.clone().map(|pixels| assistant.embed(pixels));
    let answer = assistant.answer(&prompt, picture.as_deref(), &job.writing, &job.stops);
    let mut answer = answer.map_err(about_request)?;
    if job.events.send(Event::Begun { prompt_tokens }).is_err() {
        metrics.cancelled.inc();
        return Ok(());
    }
    metrics.prompt_tokens.inc_by(prompt_tokens as u64);
    let (mut is_begun, mut counted, mut is_late) = (false, 0, false);
    while let Some(piece) = answer.next() {
        let piece = piece.map_err(|error| {
            eprintln!("error: {error}");
            ApiError::internal()
        })?;
        if counted == 0 {
            metrics.first_token_after(job.begun.elapsed());
        }
        metrics.tokens.inc_by((answer.num_tokens() - counted) as u64);
        counted = answer.num_tokens();
        // Models begin with a space or a new line, as their templates have it.
        let piece = if is_begun { piece } else { piece.trim_start().to_string() };
        is_begun |= !piece.is_empty();
        if job.events.send(Event::Text(piece)).is_err() {
            metrics.cancelled.inc();
            return Ok(());
        }
        is_late = Instant::now() >= job.deadline;
        if is_late {
            break;
        }
    }
    let finish_reason = match answer.finish_reason() {
        Some(reason) if !is_late => reason,
        _ => FinishReason::Length,
    };
    metrics.tokens.inc_by((answer.num_tokens() - counted) as u64);
    let _ = job.events.send(Event::Done { tokens: answer.num_tokens(), finish_reason });
    Ok(())
}

/// The turns of a conversation, with the picture where the model was trained to see it.
fn turns(assistant: &Assistant, messages: &[Message]) -> Result<Vec<Turn>, ApiError> {
    let turn = |message: &Message| match (message.role, message.has_picture) {
        (Role::Human, true) => assistant.question(Some(&message.text)).map_err(about_request),
        _ => Ok(Turn::new(message.role, &message.text)),
    };
    messages.iter().map(turn).collect()
}

/// What a client did wrong, or what it cannot help.
fn about_request(error: Error) -> ApiError {
    match error {
        Error::Config { key, detail } if key == "prompt" => {
            ApiError::too_long(format!("The conversation is too long: {detail}"))
        }
        Error::Config { key, detail } if key == "question" => ApiError::param("messages", detail),
        Error::Config { key, detail } => ApiError::param("messages", format!("{key}: {detail}")),
        Error::Sample { detail, .. } => ApiError::param("messages", format!("messages: {detail}")),
        other => {
            eprintln!("error: {other}");
            ApiError::internal()
        }
    }
}
