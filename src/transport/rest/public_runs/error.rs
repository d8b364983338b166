//! Errors of door C: `{"error":"text","reason_code":"snake_case","request_id":"req_…"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::domain::Error;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::{HttpError, request_context};

use super::headers::IDEMPOTENCY_KEY;
use super::schema::PublicError;

/// A refusal in the shape of door C.
#[derive(Debug)]
pub struct ApiError(HttpError);

impl ApiError {
    /// What a call with `Idempotency-Key` was refused with: the caller knows the key, not the event that it became.
    pub fn of_keyed(error: Error) -> Self {
        match error {
            Error::EventIdConflict { .. } => {
                let message = format!("this {IDEMPOTENCY_KEY} was used for another request; use a new key");
                Self(HttpError::new(StatusCode::CONFLICT, "IDEMPOTENCY_CONFLICT", message))
            }
            other => other.into(),
        }
    }

    /// What a publish was refused with: 412 where the run ends elsewhere than `If-Match` says.
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
            request_id: request_context::current_id(),
            error: problem.text(),
        };
        (problem.status, problem.headers(), Json(body)).into_response()
    }
}
