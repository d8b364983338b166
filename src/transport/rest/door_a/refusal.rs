//! Errors of door A: `{"type":…,"errors":[{"type","message","path"?}]}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::Error;
use crate::transport::rest::Problem;

/// A refusal in the shape of door A.
#[derive(Debug)]
pub struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = self.0;
        let kind = match problem.status.as_u16() {
            400 | 422 => "validation_error",
            401 => "authentication_error",
            500.. => "server_error",
            _ => "client_error",
        };
        let mut error = json!({ "type": problem.reason.to_ascii_lowercase(), "message": problem.message });
        if let Some(field) = &problem.field {
            error["path"] = json!(field);
        }
        let body = json!({ "type": kind, "errors": [error] });
        (problem.status, problem.headers(), Json(body)).into_response()
    }
}
