//! Errors of the public runs API: `{"error":"text","reason_code":"snake_case","request_id":"req_…"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::domain::Error;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::{HttpError, request_id};

use super::request::IDEMPOTENCY_KEY;
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
