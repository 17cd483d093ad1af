use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::app::App;
use super::body::{drain, reply};
use super::chat;
use super::error::ApiError;
use super::host::check_host;

/// The page, which needs nothing else.
const PAGE: &str = include_str!("page.html");

/// What the page may do: nothing but talk to this server.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything that the server answers.
pub fn router(app: &Arc<App>) -> Router {
    let wrong_method =
        |allowed: &'static str| async move |method: Method| ApiError::method(method.as_str(), allowed);
    let with_key = Router::new()
        .route("/v1/chat/completions", post(chat::completions).fallback(wrong_method("POST")))
        .route("/v1/models", get(models).fallback(wrong_method("GET")))
        .route("/v1/models/{*name}", get(model).fallback(wrong_method("GET")))
        .route("/metrics", get(metrics).fallback(wrong_method("GET")))
        .layer(middleware::from_fn_with_state(Arc::clone(app), check_key));
    Router::new()
        .merge(with_key)
        .route("/", get(page).fallback(wrong_method("GET")))
        .route("/health", get(health).fallback(wrong_method("GET")))
        .fallback(async |request: Request| ApiError::not_found(request.uri().path()))
        .layer(middleware::from_fn_with_state(app.hosts.clone(), check_host))
        .layer(middleware::from_fn_with_state(Arc::clone(app), watched))
        .with_state(Arc::clone(app))
}

async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE).into_response()
}

async fn health(State(app): State<Arc<App>>) -> Response {
    match *app.stop.borrow() {
        true => ApiError::stopping().into_response(),
        false => reply(&json!({ "status": "ok" })),
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}

async fn models(State(app): State<Arc<App>>) -> Response {
    reply(&json!({ "object": "list", "data": [about(&app)] }))
}

async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    match name == app.defaults.name {
        true => reply(&about(&app)),
        false => ApiError::unknown_model(&name, &app.defaults.name).into_response(),
    }
}

/// The model as OpenAI's protocol lists it, with what the page wants to know besides.
fn about(app: &App) -> Value {
    let (about, writing) = (&app.engine.about, &app.defaults.writing);
    json!({
        "id": app.defaults.name, "object": "model", "created": app.started, "owned_by": "burn-revision",
        "burn_revision": {
            "template": about.template, "takes_questions": about.takes_questions,
            "max_positions": about.max_positions,
            "weights": if about.is_quantized { "quantized" } else { "float" }, "max_tokens": writing.max_new_tokens,
            "token_limit": app.defaults.token_limit, "temperature": writing.temperature, "top_p": writing.top_p,
            "max_body": app.max_body, "max_pixels": app.max_pixels,
        },
    })
}

async fn check_key(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(key) = &app.api_key else { return next.run(request).await };
    let found = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let found = match found.split_at_checked("Bearer ".len()) {
        Some((scheme, found)) if scheme.eq_ignore_ascii_case(b"Bearer ") => found,
        _ => b"",
    };
    match is_same(found, key.as_bytes()) {
        true => next.run(request).await,
        false => {
            drain(request.into_body()).await;
            ApiError::key().into_response()
        }
    }
}

/// Whether two texts are the same, in a time that does not depend on where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences =
        one.iter().zip(other).fold(0, |all, (one, other)| std::hint::black_box(all | (one ^ other)));
    one.len() == other.len() && differences == 0
}

/// Counts a request, and gives its response what all have.
async fn watched(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = match request.uri().path() {
        "/" => "/",
        "/health" => "/health",
        "/metrics" => "/metrics",
        "/v1/chat/completions" => "/v1/chat/completions",
        path if path.starts_with("/v1/models") => "/v1/models",
        _ => "other",
    };
    let in_flight = InFlight::new(&app);
    let mut response = next.run(request).await;
    app.metrics.request(path, response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&app.next_id()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    // A stream is on its way until its last byte.
    response.map(|body| Body::new(Held { body, _in_flight: in_flight }))
}

/// Counts a request for as long as it lives.
struct InFlight(Arc<App>);

impl InFlight {
    fn new(app: &Arc<App>) -> Self {
        app.metrics.in_flight.inc();
        Self(Arc::clone(app))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

/// A body that is counted until it has been sent.
struct Held {
    body: Body,
    _in_flight: InFlight,
}

impl hyper::body::Body for Held {
    type Data = <Body as hyper::body::Body>::Data;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
