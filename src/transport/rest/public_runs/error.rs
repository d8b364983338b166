//! Errors of the public runs API: `{"error":"text","reason_code":"snake_case","request_id":"req_…"}`.

use std::collections::BTreeMap;

use crate::transport::rest::json::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response as Described};

use crate::domain::Error;
use crate::transport::rest::error_responses::described;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::request_id;

use super::params::IDEMPOTENCY_KEY;
use super::schema::PublicError;

/// An error in the shape of the public runs API.
#[derive(Debug)]
pub struct ApiError(HttpError);

impl ApiError {
    /// Error of a call with `Idempotency-Key`. The caller knows the key, not the id of the event written under the key.
    pub fn of_keyed(error: Error) -> Self {
        match error {
            Error::EventIdConflict { .. } => {
                let message = format!("this {IDEMPOTENCY_KEY} was used for another request; use a new key");
                Self(HttpError::new(StatusCode::CONFLICT, "IDEMPOTENCY_CONFLICT", message))
            }
            other => other.into(),
        }
    }

    /// Error of a publish: 412 if the last seq of the run differs from `If-Match`.
    pub fn of_publish(error: Error, path: EventPath) -> Self {
        let is_precondition = matches!(error, Error::SeqConflict { .. });
        let mut problem = path.respell(error.into(), |index| index);
        if is_precondition {
            problem.status = StatusCode::PRECONDITION_FAILED;
        }
        Self(problem)
    }
}

impl From<HttpError> for ApiError {
    fn from(problem: HttpError) -> Self {
        Self(problem)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.0;
        let body = PublicError {
            reason_code: problem.reason.to_ascii_lowercase(),
            request_id: request_id::current(),
            error: problem.text(),
        };
        (problem.status, problem.headers(), Json(body)).into_response()
    }
}

/// Error responses of all routes, for `/openapi.json`.
pub struct RefusedCall;

impl IntoResponses for RefusedCall {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<PublicError>(&[
            ("422", "A parameter or member is unknown or invalid; the text names it"),
            ("500", "A defect of the server or damaged data"),
            ("503", "The server cannot serve now; see Retry-After"),
        ])
    }
}

/// Error responses of the routes with a body, in addition to [`RefusedCall`], for `/openapi.json`.
pub struct RefusedBody;

impl IntoResponses for RefusedBody {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<PublicError>(&[
            ("400", "The body is not JSON"),
            ("413", "The body is too large"),
            ("415", "The Content-Type is not JSON, or the Content-Encoding is not supported"),
        ])
    }
}
