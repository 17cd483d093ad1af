use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

/// What is read of a body that is refused, and for how long.
const DRAINED: usize = 256 << 20;
const DRAINING: Duration = Duration::from_secs(10);

/// A response of JSON.
pub fn reply(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Reads a body that is refused: where a connection ends before, many a client never reads why.
pub async fn drain(body: Body) {
    let mut frames = body.into_data_stream();
    let mut left = DRAINED;
    let read = async {
        while let Some(Ok(bytes)) = frames.next().await {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // What has not come by then is left.
    let _ = timeout(DRAINING, read).await;
}
