//! Errors of door B: `{"error":{"code","message","status","details"}}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::domain::Error;
use crate::transport::rest::Problem;

/// A refusal in the shape of door B.
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
        let mut details: Map<String, Value> =
            problem.metadata.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        if let Some(field) = &problem.field {
            details.insert("field".to_owned(), json!(field));
        }
        let body = json!({ "error": {
            "code": problem.reason,
            "message": problem.message,
            "status": problem.status.as_u16(),
            "details": details,
        } });
        (problem.status, problem.headers(), Json(body)).into_response()
    }
}
