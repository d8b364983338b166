//! Errors of door B: `{"error":{"code","message","status","details"}}`.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::domain::{Error, RunId};
use crate::transport::rest::HttpError;

/// A refusal in the shape of door B.
#[derive(Debug)]
pub struct ApiError {
    problem: HttpError,
    partly: Option<Box<Partly>>,
}

/// Of a request for several runs: the run that failed, and those whose events are stored nevertheless.
#[derive(Debug)]
struct Partly {
    failed: RunId,
    stored: Vec<RunId>,
}

/// What every refusal answers.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentError)]
pub struct RefusalBody {
    error: RefusalFacts,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentErrorFacts)]
struct RefusalFacts {
    /// UPPER_SNAKE, stable for ever.
    #[schema(example = "INVALID_FIELD", pattern = "^[A-Z][A-Z_]*$")]
    code: &'static str,
    /// For a person; names the field and says what to do.
    message: String,
    /// The HTTP status again.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The facts by name. `field`: the path of the member or the name of the parameter at fault. `sdk_run_id`: the run
    /// that it is about. `stored_sdk_run_ids`, after an array for several runs: those whose events are stored.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
}

impl ApiError {
    /// 422: a field that is not as it must be.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        HttpError::field(field, problem).into()
    }

    /// An error about a value of the request, under the name that the value has at this door.
    pub fn named(name: impl Into<String>, error: Error) -> Self {
        error.with_field(name).into()
    }

    /// Of a request for several runs: `failed` is the run that the error is about.
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
            // The run has another name at this door.
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

/// The refusals that every call may answer with.
pub struct OfAnyCall;

/// The refusals of a call about one run, besides those of any call.
pub struct OfARun;

/// The refusals of a call that begins at a cursor in a run, besides those of a call about one run.
pub struct OfACursor;

/// The refusals of a call with a body, besides those of any call.
pub struct OfABody;

impl IntoResponses for OfAnyCall {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            (406, "The client takes no JSON (of a stream: no text/event-stream)"),
            (422, "A parameter or a member is not as it must be; `details.field` names it"),
            (429, "Too much at once; Retry-After says when to come again"),
            (500, "A defect, or the store is damaged; the log of the server holds the cause"),
            (503, "The server drains, the store cannot be used, or the call took too long"),
        ])
    }
}

impl IntoResponses for OfARun {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[(404, "No event of this run is known")])
    }
}

impl IntoResponses for OfACursor {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[(409, "The cursor lies beyond the last event; `details.end_cursor` is where the run ends")])
    }
}

impl IntoResponses for OfABody {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            (400, "The body is no JSON"),
            (409, "The event_id is taken by an event with other content, or the run is over (--lifecycle=strict)"),
            (413, "The body is larger than --max-request-bytes"),
            (415, "The body is not application/json"),
        ])
    }
}

fn described(statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<Described>> {
    let body = || ContentBuilder::new().schema(Some(Ref::from_schema_name("AgentError"))).build();
    let response = |description: &str| {
        RefOr::T(ResponseBuilder::new().description(description).content("application/json", body()).build())
    };
    statuses.iter().map(|(status, description)| (status.to_string(), response(description))).collect()
}
