//! Errors of the structure runs API: `{"type":…,"errors":[{"type","message","path"?}]}`.

use std::collections::BTreeMap;

use crate::transport::rest::json::Json;
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response as Described};

use super::schema::{StructureProblem, StructureRefusal};
use crate::domain::Error;
use crate::transport::rest::error_responses::described;
use crate::transport::rest::http_error::HttpError;

/// An error in the shape of the structure runs API.
#[derive(Debug)]
pub struct ApiError(HttpError);

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
        let kind = match problem.status.as_u16() {
            400 | 422 => "validation_error",
            401 => "authentication_error",
            500.. => "server_error",
            _ => "client_error",
        };
        let error = StructureProblem {
            r#type: problem.reason.to_ascii_lowercase(),
            message: problem.message.clone(),
            path: problem.field.clone(),
        };
        let body = StructureRefusal { r#type: kind.to_owned(), errors: vec![error] };
        (problem.status, problem.headers(), Json(body)).into_response()
    }
}

/// Error responses of all routes, for `/openapi.json`.
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<StructureRefusal>(&[
            ("400", "The path is not UTF-8, or the body is not JSON"),
            ("404", "No such run or event"),
            ("422", "A part of the request is invalid; `path` names it"),
            ("429", "A limit is reached; see Retry-After"),
            ("500", "A defect of the server or damaged data"),
            ("503", "The server cannot serve now; see Retry-After"),
        ])
    }
}

/// Error responses of the routes with a body, in addition to [`Refusals`], for `/openapi.json`.
pub struct BodyRefusals;

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described::<StructureRefusal>(&[
            ("409", "The state of the run does not allow the call, or the key or event id belongs to other content"),
            ("413", "The body is too large"),
            ("415", "The body is not application/json"),
        ])
    }
}
