//! Responses with a body of JSON. The text ends with a line break, so that a shell writes its prompt on a line of its own.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;

use crate::domain::Result;

/// A value as JSON.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(text) => JsonText(text).into_response(),
            Err(error) => {
                tracing::error!(%error, "a response is no JSON");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// JSON text that is written already, such as a page of events with their payloads as sent.
pub struct JsonText(pub String);

impl IntoResponse for JsonText {
    fn into_response(mut self) -> Response {
        self.0.push('\n');
        typed(self.0)
    }
}

/// JSON text in parts, each sent when the client has read those before. The response breaks off at an error.
pub fn parted(parts: impl Stream<Item = Result<String>> + Send + 'static) -> Response {
    typed(Body::from_stream(parts.chain(stream::iter([Ok("\n".to_owned())]))))
}

fn typed(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.into()).into_response()
}
