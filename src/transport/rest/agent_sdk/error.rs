//! Errors of the agent SDK API: `{"error":{"code","message","status","details"}}`.

use std::collections::BTreeMap;

use crate::transport::rest::json::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Response as Described};
use utoipa::{IntoResponses, ToSchema};

use crate::domain::{Error, RunId};
use crate::transport::rest::error_responses::described;
use crate::transport::rest::http_error::HttpError;

/// An error in the shape of the agent SDK API.
#[derive(Debug)]
pub struct ApiError {
    problem: HttpError,
    partly: Option<Box<Partly>>,
}

/// Outcome of a request for several runs: the run that failed, and the runs with stored events.
#[derive(Debug)]
struct Partly {
    failed: RunId,
    stored: Vec<RunId>,
}

/// Error response of every route.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentError)]
pub struct RefusalBody {
    error: RefusalFacts,
}

/// Code, message and details of an error.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentErrorFacts)]
struct RefusalFacts {
    /// Error code in UPPER_SNAKE; stable.
    #[schema(example = "INVALID_FIELD", pattern = "^[A-Z][A-Z_]*$")]
    code: &'static str,
    /// Text for a person: the field at fault and the correction.
    message: String,
    /// HTTP status of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Details by name. `field`: path of the member, or name of the parameter at fault. `sdk_run_id`: the run of the
    /// error. `stored_sdk_run_ids`, after an array for several runs: the runs with stored events.
    #[schema(value_type = BTreeMap<String, Value>, additional_properties)]
    details: Map<String, Value>,
}

impl ApiError {
    /// 422: an invalid field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        HttpError::field(field, problem).into()
    }

    /// An error about a value of the request, under the name of the value in this API.
    pub fn named(name: impl Into<String>, error: Error) -> Self {
        error.with_field(name).into()
    }

    /// Adds the outcome of a request for several runs; `failed` is the run of the error.
    #[must_use]
    pub fn partly(self, failed: RunId, stored: Vec<RunId>) -> Self {
        Self { partly: Some(Box::new(Partly { failed, stored })), ..self }
    }
}

impl From<HttpError> for ApiError {
    fn from(problem: HttpError) -> Self {
        Self { problem, partly: None }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        HttpError::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { problem, partly } = self;
        let headers = problem.headers();
        let mut details = Map::new();
        for (name, value) in problem.metadata {
            // The run id has another name in this API.
            details.insert(if name == "run_id" { "sdk_run_id" } else { name }.to_owned(), json!(value));
        }
        if let Some(field) = problem.field {
            details.insert("field".to_owned(), json!(field));
        }
        if let Some(Partly { failed, stored }) = partly.as_deref() {
            let stored: Vec<_> = stored.iter().map(RunId::as_str).collect();
            details.insert("sdk_run_id".to_owned(), json!(failed.as_str()));
            details.insert("stored_sdk_run_ids".to_owned(), json!(stored));
        }
        let (status, message) = (problem.status.as_u16(), problem.message);
        let error = RefusalFacts { code: problem.reason, message, status, details };
        (problem.status, headers, Json(RefusalBody { error })).into_response()
    }
}

/// Error responses of all routes.
pub struct OfAnyCall;

/// Error responses of the routes of one run, in addition to [`OfAnyCall`].
pub struct OfARun;

/// Error responses of the routes with a cursor in a run, in addition to [`OfARun`].
pub struct OfACursor;

/// Error responses of the routes with a body, in addition to [`OfAnyCall`].
pub struct OfABody;

impl IntoResponses for OfAnyCall {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<RefusalBody>(&[
            ("422", "A parameter or a member is invalid; `details.field` names it"),
            ("429", "A limit is reached; retry after Retry-After"),
            ("500", "A defect of the server or damaged data; the server's log holds the cause"),
            ("503", "The server is draining, the store is unavailable, or the call took too long"),
        ])
    }
}

impl IntoResponses for OfARun {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<RefusalBody>(&[(
            "404",
            "The run has no events, so it does not exist; a stream waits for it with wait=true",
        )])
    }
}

impl IntoResponses for OfACursor {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<RefusalBody>(&[
            ("409", "The cursor lies beyond the last event; `details.end_cursor` is the end of the run"),
            ("410", "The events after the cursor are not kept any more; those after `details.first_cursor` are"),
        ])
    }
}

impl IntoResponses for OfABody {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<RefusalBody>(&[
            ("400", "The body is not JSON"),
            ("409", "The event_id belongs to an event with other content, or the run has ended (--lifecycle=strict)"),
            ("413", "The body is larger than --max-request-bytes"),
            ("415", "The body is not application/json"),
        ])
    }
}
