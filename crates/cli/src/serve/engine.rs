use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use burn_revision::encoder::PictureProcessor;
use burn_revision::language::{FinishReason, GenerationConfig, SequenceId};
use burn_revision::revision::{AnswerEvent, Answers, Assistant, Role, Turn};
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
    /// The place among those that are answered or wait, given back when the job is done.
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

/// The thread that has the model, and writes several answers side by side.
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
    pub is_quantized: bool,
}

impl Engine {
    /// Starts the thread, which opens the model, and waits until it has. `side_by_side` answers are written at once.
    pub fn start(
        open: impl FnOnce() -> Result<Assistant> + Send + 'static,
        side_by_side: usize,
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
                    is_quantized: assistant.is_quantized(),
                };
                // Nobody waits where the program has ended meanwhile.
                let _ = ready.send(Ok((assistant.processor().clone(), about)));
                let mut scheduler = Scheduler::new(&assistant, &metrics, side_by_side);
                while scheduler.take(&queue) {
                    scheduler.step();
                }
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

/// Which jobs are answered, and how far they are.
struct Scheduler<'a> {
    assistant: &'a Assistant,
    metrics: &'a Metrics,
    side_by_side: usize,
    answers: Answers<'a>,
    running: HashMap<SequenceId, Running>,
}

/// A job that is answered.
struct Running {
    job: Job,
    begun: Instant,
    counted: usize,
    has_text: bool,
}

impl<'a> Scheduler<'a> {
    fn new(assistant: &'a Assistant, metrics: &'a Metrics, side_by_side: usize) -> Self {
        Self { assistant, metrics, side_by_side, answers: assistant.answers(), running: HashMap::new() }
    }

    /// Takes jobs from the queue as long as there is room, and waits for one where there is nothing else to do. False when
    /// nobody can send any more, and all are answered.
    fn take(&mut self, queue: &Receiver<Job>) -> bool {
        while self.running.len() < self.side_by_side {
            let job = match self.running.is_empty() {
                true => queue.recv().map_err(|_| ()),
                false => queue.try_recv().map_err(|_| ()),
            };
            match job {
                Ok(job) => self.begin(job),
                Err(()) => return !self.running.is_empty(),
            }
        }
        true
    }

    fn begin(&mut self, job: Job) {
        self.metrics.waiting.dec();
        // A client that has gone needs no answer, and one that has waited too long expects none.
        if job.events.is_closed() {
            self.metrics.cancelled.inc();
            return;
        }
        if Instant::now() >= job.deadline {
            let _ = job.events.send(Event::Failed(ApiError::busy(job.seconds)));
            return;
        }
        let begun = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| self.add(&job))) {
            Ok(Ok(id)) => {
                self.running.insert(id, Running { job, begun, counted: 0, has_text: false });
                self.metrics.answering.set(self.running.len() as i64);
            }
            Ok(Err(error)) => drop(job.events.send(Event::Failed(error))),
            Err(_) => {
                self.metrics.panics.inc();
                let _ = job.events.send(Event::Failed(ApiError::internal()));
            }
        }
    }

    /// Adds a job to those that are answered.
    fn add(&mut self, job: &Job) -> Result<SequenceId, ApiError> {
        let turns = turns(self.assistant, &job.messages)?;
        let prompt = self.assistant.prompt(&turns, job.pixels.is_some()).map_err(about_request)?;
        let prompt_tokens = self.assistant.num_positions(&prompt);
        let picture = job.pixels.clone().map(|pixels| self.assistant.embed(pixels));
        let spliced = self.assistant.spliced(&prompt, picture.as_deref());
        let id = self.answers.add(spliced, &job.writing, &job.stops).map_err(about_request)?;
        self.metrics.prompt_tokens.inc_by(prompt_tokens as u64);
        let _ = job.events.send(Event::Begun { prompt_tokens });
        Ok(id)
    }

    /// Takes all answers one token further, but for those that nobody waits for or that have no time left.
    fn step(&mut self) {
        let now = Instant::now();
        let is_over = |running: &Running| running.job.events.is_closed() || now >= running.job.deadline;
        let over: Vec<SequenceId> =
            self.running.iter().filter(|(_, running)| is_over(running)).map(|(id, _)| *id).collect();
        for id in over {
            let tokens = self.answers.cancel(id).unwrap_or(0);
            let is_gone = self.running[&id].job.events.is_closed();
            if is_gone {
                self.metrics.cancelled.inc();
            }
            self.end(id, Event::Done { tokens, finish_reason: FinishReason::Length });
        }
        let Ok(events) = catch_unwind(AssertUnwindSafe(|| self.answers.step())) else {
            // What the others have of the batch may be damaged.
            self.metrics.panics.inc();
            self.answers = self.assistant.answers();
            for id in self.running.keys().copied().collect::<Vec<_>>() {
                self.end(id, Event::Failed(ApiError::internal()));
            }
            return;
        };
        for (id, event) in events {
            match event {
                AnswerEvent::Text(piece) => self.text(id, piece),
                AnswerEvent::Finished { tokens, reason } => {
                    self.count(id, tokens);
                    self.end(id, Event::Done { tokens, finish_reason: reason });
                }
                AnswerEvent::Failed(error) => {
                    eprintln!("error: {error}");
                    self.end(id, Event::Failed(ApiError::internal()));
                }
            }
        }
    }

    fn text(&mut self, id: SequenceId, piece: String) {
        self.count(id, self.answers.num_tokens(id));
        let Some(running) = self.running.get_mut(&id) else { return };
        // Models begin with a space or a new line, as their templates have it.
        let piece = if running.has_text { piece } else { piece.trim_start().to_string() };
        if piece.is_empty() {
            return;
        }
        if !running.has_text {
            self.metrics.first_token_after(running.job.begun.elapsed());
        }
        running.has_text = true;
        // A client that has gone is noticed before the next step.
        let _ = running.job.events.send(Event::Text(piece));
    }

    /// Counts the tokens of an answer that were not counted before.
    fn count(&mut self, id: SequenceId, tokens: usize) {
        if let Some(running) = self.running.get_mut(&id) {
            self.metrics.tokens.inc_by(tokens.saturating_sub(running.counted) as u64);
            running.counted = running.counted.max(tokens);
        }
    }

    fn end(&mut self, id: SequenceId, event: Event) {
        if let Some(Running { job, begun, .. }) = self.running.remove(&id) {
            let _ = job.events.send(event);
            self.metrics.answered_in(begun.elapsed());
            self.metrics.answering.set(self.running.len() as i64);
        }
    }
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
