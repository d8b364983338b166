//! Errors of requests, independent of the JSON shapes of the APIs.

use std::time::Duration;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tonic::Status;
use tonic_types::StatusExt;

use crate::domain::Error;
use crate::domain::json::not_json;
use crate::transport::status;

/// An error response: status, reason and details, the same for all APIs.
#[derive(Clone, Debug)]
pub struct HttpError {
    /// Status code of the response.
    pub status: StatusCode,
    /// Reason in UPPER_SNAKE, the same as in gRPC's `ErrorInfo`.
    pub reason: &'static str,
    /// Text for a person: the field at fault and the correction.
    pub message: String,
    /// Path of the member, or name of the parameter or header at fault.
    pub field: Option<String>,
    /// Delay until a retry makes sense, for the header `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Details by name, the same as the metadata of gRPC's `ErrorInfo`.
    pub metadata: Vec<(&'static str, String)>,
}

impl HttpError {
    /// An error without field, delay and details.
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), field: None, retry_after: None, metadata: Vec::new() }
    }

    /// 422: a well-formed request with an invalid field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::invalid(field, problem).into()
    }

    /// 400: a body or path that cannot be decoded.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", message)
    }

    /// 400: a body that is not JSON. The message names the position of the defect and the correction.
    #[must_use]
    pub fn no_json(text: &str, error: &serde_json::Error) -> Self {
        let problem = Self::from(not_json(text, error));
        let message = problem.message.trim_start_matches(": ").to_owned();
        let field = problem.field.filter(|field| !field.is_empty());
        Self { field, ..Self::malformed(message) }
    }

    /// 404: a path without a route.
    #[must_use]
    pub fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NO_SUCH_ROUTE", format!("there is nothing at {path}; see /openapi.json"))
    }

    /// 405: a route without this method.
    #[must_use]
    pub fn method_not_allowed(method: &Method) -> Self {
        let message = format!("{method} is not allowed here; the Allow header lists what is");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    }

    /// 503: no response within `--request-timeout-ms`.
    #[must_use]
    pub fn timed_out(method: &Method) -> Self {
        let (reason, message) = status::timeout(!matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS));
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, message);
        Self { retry_after: status::retry_after_timeout(), ..problem }
    }

    /// Error of a body that was not received completely: 429 if memory for the body ran out, 408 if the client stopped
    /// sending. `None` for other causes.
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

    /// The message with the field in front, for error shapes without a member for the field.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.field {
            Some(field) if !self.message.starts_with(field.as_str()) => format!("{field}: {}", self.message),
            _ => self.message.clone(),
        }
    }

    /// Headers of the response: `Retry-After` if a retry makes sense, `RateLimit` and `RateLimit-Policy` if a limit of the key or
    /// of the address is exceeded, `WWW-Authenticate` (RFC 6750) if the key is at fault.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(delay) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(delay)));
        }
        headers.extend(self.rate_limit().into_iter().flatten());
        if let Some(challenge) = self.challenge().and_then(|challenge| challenge.parse().ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        headers
    }

    /// The exceeded limit in the form of draft-ietf-httpapi-ratelimit-headers.
    fn rate_limit(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let fact = |name: &str| self.metadata.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str());
        let (limit, quota) = (fact("limit")?, fact("quota")?);
        let unit = match limit {
            "bytes" => ";qu=\"content-bytes\"",
            "streams" => ";qu=\"concurrent-requests\"",
            _ => "",
        };
        let window = fact("window_seconds").map(|window| format!(";w={window}")).unwrap_or_default();
        let policy = format!("\"{limit}\";q={quota}{unit}{window}");
        let left = format!("\"{limit}\";r=0;t={}", seconds(self.retry_after?));
        let header = |name, value: String| Some((HeaderName::from_static(name), value.parse().ok()?));
        Some([header("ratelimit-policy", policy)?, header("ratelimit", left)?])
    }

    fn challenge(&self) -> Option<String> {
        const BEARER: &str = "Bearer realm=\"runlog\"";
        match (self.status, self.metadata.iter().find(|(name, _)| *name == "scope")) {
            (StatusCode::UNAUTHORIZED, _) if self.reason == "API_KEY_MISSING" => Some(BEARER.to_owned()),
            (StatusCode::UNAUTHORIZED, _) => Some(format!("{BEARER}, error=\"invalid_token\"")),
            (StatusCode::FORBIDDEN, Some((_, scope))) => {
                Some(format!("{BEARER}, error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            _ => None,
        }
    }
}

/// Whole seconds of a delay, rounded up: a retry at that time may be served.
fn seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1)
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
