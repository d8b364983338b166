//! Extractors and checks of the path, the query and the body.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::ApiError;
use crate::domain::{Error, RunId};
use crate::transport::rest::fields::Fields;
use crate::transport::rest::query::Query;
use crate::transport::rest::{Gateway, HttpError, body};

/// The single variable of the path.
pub struct Variable(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Variable {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(HttpError::malformed("the path is not UTF-8").into()),
        }
    }
}

/// Query parameters; the handler takes the known parameters and refuses the rest by `finish`.
pub struct Parameters(pub Query);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(Query::parse(parts.uri.query())))
    }
}

/// Extractor of a route without parameters; refuses any.
pub struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::parse(parts.uri.query()).finish()?;
        Ok(Self)
    }
}

/// Run id of the path, checked.
pub fn run_id(text: &str) -> Result<RunId, ApiError> {
    RunId::parse(text).map_err(|error| renamed(error, "run_id", "structure_run_id").into())
}

/// Text of a required body.
pub async fn text(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    body::text(request, gateway.service.limits().max_request_bytes).await
}

/// Text of an optional JSON object; no body and null read as an empty object.
pub async fn optional_object(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    let text = text(gateway, request).await?;
    Ok(if matches!(text.trim(), "" | "null") { "{}".to_owned() } else { text })
}

/// Refuses a body with members, for routes that take none.
pub fn no_members(text: &str) -> Result<(), HttpError> {
    Fields::parse(text, "")?.finish()
}

/// The error with the field `ours` under the name of this API, `theirs`.
pub fn renamed(error: Error, ours: &str, theirs: &str) -> Error {
    match error {
        Error::InvalidField { field, problem } if field == ours => Error::invalid(theirs, problem),
        other => other,
    }
}

/// JSON response with this text.
pub fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
