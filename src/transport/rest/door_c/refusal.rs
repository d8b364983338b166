//! Errors of door C: `{"error":"text","reason_code":"snake_case","request_id":"req_…"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::Error;
use crate::transport::rest::{Problem, request};

/// A refusal in the shape of door C.
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
        let body = json!({
            "error": problem.message,
            "reason_code": problem.reason.to_ascii_lowercase(),
            "request_id": request::current_id(),
        });
        (problem.status, problem.headers(), Json(body)).into_response()
    }
}
