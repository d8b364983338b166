//! What is wrong with a request, before a door gives it its shape.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use tonic::Status;
use tonic_types::StatusExt;

use crate::domain::Error;
use crate::domain::json::not_json;
use crate::transport::status;

/// A refusal: the same facts for every door.
#[derive(Clone, Debug)]
pub struct HttpError {
    /// The HTTP status.
    pub status: StatusCode,
    /// UPPER_SNAKE, as in gRPC's `ErrorInfo`.
    pub reason: &'static str,
    /// For a person; names the field and says what to do.
    pub message: String,
    /// The path of the field at fault.
    pub field: Option<String>,
    /// When a retry makes sense.
    pub retry_after: Option<Duration>,
    /// The facts by name.
    pub metadata: Vec<(&'static str, String)>,
}

impl HttpError {
    /// A refusal without a field.
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), field: None, retry_after: None, metadata: Vec::new() }
    }

    /// 422: a well-formed request with a field that is not as it must be.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::invalid(field, problem).into()
    }

    /// 400: no JSON.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", message)
    }

    /// 400: a body that is no JSON, with the place in it and what to send instead.
    #[must_use]
    pub fn no_json(text: &str, error: &serde_json::Error) -> Self {
        let problem = Self::from(not_json(text, error));
        let message = problem.message.trim_start_matches(": ").to_owned();
        let field = problem.field.filter(|field| !field.is_empty());
        Self { field, ..Self::malformed(message) }
    }

    /// 404: no such route.
    #[must_use]
    pub fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NO_SUCH_ROUTE", format!("there is nothing at {path}; see /openapi.json"))
    }

    /// 405: another method.
    #[must_use]
    pub fn method_not_allowed(method: &Method) -> Self {
        let message = format!("{method} is not allowed here; the Allow header lists what is");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    }

    /// 503: given up after `--request-timeout-ms`.
    #[must_use]
    pub fn timed_out(method: &Method) -> Self {
        let (reason, message) = status::timeout(!matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS));
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, message);
        Self { retry_after: status::retry_after_timeout(), ..problem }
    }

    /// A body that was given up while it came: 429 where there was no room for it, 408 where nothing more of it came.
    #[must_use]
    pub fn of_intake(status: &Status) -> Option<Self> {
        let (http, reason) = match status.code() {
            tonic::Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "OVERLOADED"),
            tonic::Code::Unavailable => (StatusCode::REQUEST_TIMEOUT, status::REQUEST_TIMEOUT),
            _ => return None,
        };
        let retry_after = status.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
        Some(Self { retry_after, ..Self::new(http, reason, status.message()) })
    }

    /// The message, which begins with the field where there is one: for shapes that have no place of its own for it.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.field {
            Some(field) if !self.message.starts_with(field.as_str()) => format!("{field}: {}", self.message),
            _ => self.message.clone(),
        }
    }

    /// The headers that go with it.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(delay) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
        }
        headers
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self {
            status: status::http(&error),
            reason: error.reason(),
            message: error.to_string(),
            field: error.field().map(Into::into),
            retry_after: error.retry_after(),
            metadata: error.metadata(),
        }
    }
}
