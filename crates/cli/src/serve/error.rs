use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What is wrong with a request, or with the server, as OpenAI's protocol says it.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    pub message: String,
    /// The seconds after which it is worth another try.
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code: None, param: None, message: message.into(), retry_after: None }
    }

    /// A request that cannot be answered as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A value of a request that cannot be used.
    pub fn param(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::invalid(message) }
    }

    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub fn too_long(message: impl Into<String>) -> Self {
        Self::param("messages", message).with_code("context_length_exceeded")
    }

    pub fn unknown_model(asked: &str, name: &str) -> Self {
        let message = format!("The model {asked:?} does not exist; this server has {name:?}");
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { param: Some("model".into()), ..error }.with_code("model_not_found")
    }

    pub fn not_found(path: &str) -> Self {
        let message = format!(
            "Nothing is at {path}: there are /v1/chat/completions, /v1/models, /health, /metrics and the page at /"
        );
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message).with_code("unknown_url")
    }

    pub fn method(method: &str, allowed: &str) -> Self {
        let message = format!("Expected the method {allowed} here, found {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
    }

    pub fn key() -> Self {
        let message = "The API key is missing or wrong: send the one that the server was started with as \
            `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message).with_code("invalid_api_key")
    }

    /// A name that this server does not have.
    pub fn host(asked: &str) -> Self {
        let message = format!(
            "This server does not answer to the host {asked:?}: if the name is meant to lead here, start the server with \
             --allowed-host {}",
            asked.rsplit_once(':').map_or(asked, |(name, _)| name)
        );
        Self::new(StatusCode::MISDIRECTED_REQUEST, "invalid_request_error", message)
            .with_code("host_not_allowed")
    }

    pub fn content_type(found: &str) -> Self {
        let message = format!("Expected a body of type application/json, found {found:?}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", message)
    }

    pub fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than {limit} bytes: send a smaller picture");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    pub fn slow_body(seconds: u64) -> Self {
        let message = format!("The body did not arrive within {seconds} seconds");
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", message)
    }

    /// More requests than may wait.
    pub fn queue_full(waiting: usize, retry_after: u64) -> Self {
        let message = format!("{waiting} requests are waiting already: try again in {retry_after} s");
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { retry_after: Some(retry_after), ..error }.with_code("queue_full")
    }

    /// A request whose turn did not come in time.
    pub fn busy(seconds: u64) -> Self {
        let message = format!(
            "No answer could be begun within {seconds} seconds, for the requests before it: try again later"
        );
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
        Self { retry_after: Some(seconds.clamp(1, 60)), ..error }.with_code("overloaded")
    }

    pub fn stopping() -> Self {
        let message = "The server is stopping";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
        Self { retry_after: Some(30), ..error }
    }

    /// What a client cannot help; the log of the server says more.
    pub fn internal() -> Self {
        let message = "The server failed to answer; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The error object.
    pub fn body(&self) -> Value {
        json!({ "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
