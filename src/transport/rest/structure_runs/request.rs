//! What the handlers take from a request's head, checked.

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

/// The one variable of the path.
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

/// The parameters of the query; the handler takes those that it knows and finishes the rest.
pub struct Parameters(pub Query);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(Query::parse(parts.uri.query())))
    }
}

/// A call without parameters.
pub struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::parse(parts.uri.query()).finish()?;
        Ok(Self)
    }
}

/// The run of the path.
pub fn run_id(text: &str) -> Result<RunId, ApiError> {
    RunId::parse(text).map_err(|error| renamed(error, "run_id", "structure_run_id").into())
}

/// The text of a body that must be there.
pub async fn text(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    body::text(request, gateway.service.limits().max_request_bytes).await
}

/// The text of an object that may be left out: no body, or null, is an empty object.
pub async fn optional_object(gateway: &Gateway, request: Request<Body>) -> Result<String, HttpError> {
    let text = text(gateway, request).await?;
    Ok(if matches!(text.trim(), "" | "null") { "{}".to_owned() } else { text })
}

/// Refuses every member of a body that has no meaning.
pub fn no_members(text: &str) -> Result<(), HttpError> {
    Fields::parse(text, "")?.finish()
}

/// The error with the field as this door spells it.
pub fn renamed(error: Error, ours: &str, theirs: &str) -> Error {
    match error {
        Error::InvalidField { field, problem } if field == ours => Error::invalid(theirs, problem),
        other => other,
    }
}

/// JSON text as an answer.
pub fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
