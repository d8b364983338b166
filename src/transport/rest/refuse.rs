//! Error responses of paths without a handler, and of the middleware.

use axum::response::{IntoResponse, Response};

use super::http_error::HttpError;
use super::{agent_sdk, public_runs, structure_runs};

/// Error response in the shape of the API that the path belongs to; other paths get the shape of public runs.
pub fn refuse(path: &str, problem: &HttpError) -> Response {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if begins(&["/api/structures", "/api/structure-runs", "/api/events"]) {
        structure_runs::ApiError::from(problem.clone()).into_response()
    } else if begins(&["/api/"]) {
        agent_sdk::ApiError::from(problem.clone()).into_response()
    } else {
        public_runs::ApiError::from(problem.clone()).into_response()
    }
}
