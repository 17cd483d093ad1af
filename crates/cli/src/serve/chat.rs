use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use burn_revision::encoder::decode_picture;
use burn_revision::language::FinishReason;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::app::App;
use super::body::{drain, reply};
use super::engine::{Event, Job};
use super::error::ApiError;
use super::request::ChatRequest;

/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(30);

/// `POST /v1/chat/completions`.
pub async fn completions(State(app): State<Arc<App>>, request: Request) -> Response {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let admitted = admit(&app, &head.headers);
    let place = match admitted {
        Ok(place) => place,
        Err(error) => {
            drain(body).await;
            return error.into_response();
        }
    };
    match answer(&app, body, place, begun).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// A place in the queue, where there is one for such a request.
fn admit(app: &App, headers: &axum::http::HeaderMap) -> Result<tokio::sync::OwnedSemaphorePermit, ApiError> {
    if *app.stop.borrow() {
        return Err(ApiError::stopping());
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // A page of another origin can send other types without being asked for permission.
    let kind = text(header::CONTENT_TYPE);
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::content_type(kind));
    }
    if text(header::CONTENT_LENGTH).parse::<u64>().is_ok_and(|length| length > app.max_body as u64) {
        return Err(ApiError::too_large(app.max_body));
    }
    Arc::clone(&app.places)
        .try_acquire_owned()
        .map_err(|_| ApiError::queue_full(app.queue, app.metrics.seconds_for(app.queue)))
}

async fn answer(
    app: &Arc<App>,
    body: Body,
    place: tokio::sync::OwnedSemaphorePermit,
    begun: Instant,
) -> Result<Response, ApiError> {
    let body = timeout(BODY, Limited::new(body, app.max_body).collect()).await;
    let body = body.map_err(|_| ApiError::slow_body(BODY.as_secs()))?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => ApiError::too_large(app.max_body),
        false => ApiError::invalid("The body broke off"),
    })?;
    let body = body.to_bytes();
    let mut request = ChatRequest::parse(&body, &app.defaults)?;
    drop(body);
    let pixels = match request.picture.take() {
        Some(picture) => Some(processed(app, picture).await?),
        None => None,
    };
    let (events, mut written) = mpsc::unbounded_channel();
    let (is_streamed, with_usage) = (request.is_streamed, request.with_usage);
    app.metrics.waiting.inc();
    app.engine.send(Job {
        messages: request.messages,
        pixels,
        writing: request.writing,
        stops: request.stops,
        _place: place,
        begun,
        deadline: begun + app.timeout,
        seconds: app.timeout.as_secs(),
        events,
    })?;
    let prompt_tokens = match written.recv().await {
        Some(Event::Begun { prompt_tokens }) => prompt_tokens,
        Some(Event::Failed(error)) => return Err(error),
        _ => return Err(ApiError::internal()),
    };
    let completion = Completion::new(app, prompt_tokens);
    match is_streamed {
        true => Ok(completion.stream(written, with_usage)),
        false => completion.whole(written).await,
    }
}

/// The picture as the encoder takes it. A few are decoded at once, since each may unfold to much.
async fn processed(app: &Arc<App>, picture: Vec<u8>) -> Result<Vec<f32>, ApiError> {
    let turn = Arc::clone(&app.decoders).acquire_owned().await.map_err(|_| ApiError::internal())?;
    let app = Arc::clone(app);
    let decode = move || {
        let picture = decode_picture(&picture, "the picture".as_ref(), app.max_pixels);
        let pixels = picture.map(|picture| app.engine.processor.process(&picture));
        app.metrics.pictures.inc();
        drop(turn);
        pixels
    };
    let pixels = tokio::task::spawn_blocking(decode).await.map_err(|_| ApiError::internal())?;
    pixels.map_err(|error| ApiError::param("messages", error.to_string()).with_code("invalid_image"))
}

/// An answer in OpenAI's form.
struct Completion {
    id: String,
    created: u64,
    model: String,
    prompt_tokens: usize,
}

impl Completion {
    fn new(app: &App, prompt_tokens: usize) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { id: app.next_id(), created, model: app.defaults.name.clone(), prompt_tokens }
    }

    fn usage(&self, tokens: usize) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens, "completion_tokens": tokens,
            "total_tokens": self.prompt_tokens + tokens,
        })
    }

    fn object(&self, kind: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": null, "choices": choices,
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<FinishReason>) -> Value {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        self.object("chat.completion.chunk", json!([choice]))
    }

    async fn whole(self, mut written: UnboundedReceiver<Event>) -> Result<Response, ApiError> {
        let mut content = String::new();
        loop {
            match written.recv().await {
                Some(Event::Text(piece)) => content += &piece,
                Some(Event::Done { tokens, finish_reason }) => {
                    let message = json!({ "role": "assistant", "content": content, "refusal": null });
                    let choice = json!({
                        "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason
                    });
                    let mut object = self.object("chat.completion", json!([choice]));
                    object["usage"] = self.usage(tokens);
                    return Ok(reply(&object));
                }
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Begun { .. }) => {}
                None => return Err(ApiError::internal()),
            }
        }
    }

    fn stream(self, written: UnboundedReceiver<Event>, with_usage: bool) -> Response {
        let written = stream::unfold(written, async |mut written| Some((written.recv().await?, written)));
        let events = self.events(written, with_usage);
        let events = events.map(|data| Ok::<_, Infallible>(sse::Event::default().data(data)));
        let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
        // Proxies that gather an answer would show it all at once.
        response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
        response
    }

    /// The texts of the events of a stream.
    fn events(self, written: impl Stream<Item = Event>, with_usage: bool) -> impl Stream<Item = String> {
        let first = self.chunk(&json!({ "role": "assistant", "content": "" }), None);
        let first = stream::iter([first.to_string()]);
        let texts = move |event| match event {
            Event::Begun { .. } => Vec::new(),
            Event::Text(piece) => vec![self.chunk(&json!({ "content": piece }), None).to_string()],
            Event::Done { tokens, finish_reason } => {
                let mut last = vec![self.chunk(&json!({}), Some(finish_reason)).to_string()];
                if with_usage {
                    let mut usage = self.object("chat.completion.chunk", json!([]));
                    usage["usage"] = self.usage(tokens);
                    last.push(usage.to_string());
                }
                last.push("[DONE]".to_string());
                last
            }
            Event::Failed(error) => vec![error.body().to_string()],
        };
        first.chain(written.flat_map(move |event| stream::iter(texts(event))))
    }
}
